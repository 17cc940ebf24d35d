"""The files of a folder, and the photos that a path may mean."""

import os
import unicodedata

import pytest
from support.own_photos import write_photos

from clipes.tasks.commands.init.photo_folder import BROKEN_LINKS, NOT_UTF_8, read_folder
from clipes_core.errors import UsageError


def test_files_are_divided_into_photos_masks_and_others(photos):
    write_photos(photos, ["a.jpg", "x/b.PNG", "masks/a.png", "mask/face.jpg", ".hidden/c.jpg", "clipes-store/d.png"])
    (photos / "notes.txt").touch()
    (photos / "c.HEIC").touch()
    folder = read_folder(photos)
    assert folder.photos == ("a.jpg", "mask/face.jpg", "x/b.PNG")
    assert folder.masks == ("masks/a.png",)
    assert folder.others == ("c.HEIC", "notes.txt")
    assert folder.refused == ("c.HEIC",)


def test_linked_folders_are_followed_once(photos, tmp_path):
    write_photos(tmp_path / "elsewhere", ["a.jpg"])
    (photos / "link").symlink_to(tmp_path / "elsewhere")
    (photos / "loop").symlink_to(photos)
    assert read_folder(photos).photos == ("link/a.jpg",)


def test_files_that_cannot_be_named_or_opened_are_left_out(photos):
    write_photos(photos, ["a.jpg"])
    name = os.fsdecode(b"b\xe4r.jpg")
    (photos / name).write_bytes((photos / "a.jpg").read_bytes())
    (photos / "labels.csv").symlink_to(photos / "gone.csv")
    folder = read_folder(photos)
    assert (folder.photos, folder.others) == (("a.jpg",), ())
    assert folder.left_out == {NOT_UTF_8: (name,), BROKEN_LINKS: ("labels.csv",)}


def test_a_path_means_the_photo_that_fits_best(photos):
    write_photos(photos, ["x/a.jpg", "y/a.jpg", "y/Äpfel.JPG", "b.png"])
    folder = read_folder(photos)
    assert folder.find_exactly("a.jpg", "x") == "x/a.jpg"
    assert folder.find_exactly("./x/../y/a.jpg") == "y/a.jpg"
    assert folder.find_exactly(str(photos / "b.png")) == "b.png"
    assert folder.find_exactly("a.jpg") is None
    assert folder.find_similar("C:\\data\\Y\\A.JPG") == ("y/a.jpg",)
    assert folder.find_similar("a.jpg") == ("x/a.jpg", "y/a.jpg")
    assert folder.find_similar(unicodedata.normalize("NFD", "äpfel.jpg")) == ("y/Äpfel.JPG",)
    assert folder.find_similar("b.jpg") == ("b.png",)
    assert folder.find_similar("b") == ("b.png",)
    assert folder.find_similar("c.jpg") == ()


def test_a_missing_folder_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"FOLDER: no folder .*/gone; give the folder of your photos"):
        read_folder(tmp_path / "gone")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can list every folder")
def test_folders_that_cannot_be_listed_are_named(photos):
    write_photos(photos, ["a.jpg", "secret/b.jpg"])
    (photos / "secret").chmod(0)
    found = read_folder(photos)
    (photos / "secret").chmod(0o755)
    assert (found.photos, found.unreadable) == (("a.jpg",), (str(photos / "secret"),))
