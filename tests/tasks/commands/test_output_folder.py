"""The folder for the files of a command, in which no file of the user is ever replaced."""

import os
from pathlib import Path

import fsspec
import pytest
from PIL import Image
from support.mounts import fill, mounted
from support.noisy_pictures import encoded, pixels_of

from clipes.tasks.commands.output_folder import OutputFolder
from clipes_core.errors import DatasetError, StorageError, UsageError

FOREIGN = "exists and has no valid mark of clipes: clipes did not write it, or it was changed since"


@pytest.mark.parametrize("place", ["local", "memory", "s3"])
def test_own_files_are_replaced_and_files_of_the_user_are_not(place, tmp_path, request):
    uri = {"local": str(tmp_path), "memory": f"memory:/{tmp_path}"}.get(place) or request.getfixturevalue("s3_folder")
    fs = fsspec.filesystem("file" if place == "local" else place)
    users = encoded("PNG", seed=9)
    fs.makedirs(f"{uri}/x", exist_ok=True)
    fs.pipe_file(f"{uri}/x/user.png", users)

    for seed in (1, 2):
        output = OutputFolder(f"{uri}/x")
        output.check(["a.png", "b/c.jpg"])
        output.write("a.png", encoded("PNG", seed))
        output.write("b/c.jpg", encoded("JPEG", seed))
    assert (pixels_of(fs.cat_file(f"{uri}/x/a.png")) == pixels_of(encoded("PNG", 2))).all()

    output = OutputFolder(f"{uri}/x")
    with pytest.raises(
        UsageError, match=rf"^--to: nothing was written: .*/x/user\.png {FOREIGN}; name another folder$"
    ):
        output.check(["a.png", "user.png", "new.png"])
    with pytest.raises(UsageError, match=rf"^--to: .*/x/user\.png {FOREIGN}"):
        OutputFolder(f"{uri}/x").write("user.png", encoded("PNG"))
    assert fs.cat_file(f"{uri}/x/user.png") == users
    assert not fs.exists(f"{uri}/x/new.png")


def test_a_file_without_a_mark_is_only_replaced_by_the_same_content(tmp_path):
    for _ in range(2):
        OutputFolder(str(tmp_path)).write("masks.txt", b"a\n")
    with pytest.raises(UsageError, match=FOREIGN):
        OutputFolder(str(tmp_path)).write("masks.txt", b"b\n")
    assert (tmp_path / "masks.txt").read_bytes() == b"a\n"


def test_a_mask_that_the_user_corrected_is_kept(tmp_path):
    OutputFolder(str(tmp_path)).write("a.png", encoded("PNG"))
    path = tmp_path / "a.png"
    Image.open(path).rotate(180).save(path)
    corrected = path.read_bytes()
    with pytest.raises(UsageError, match=FOREIGN):
        OutputFolder(str(tmp_path)).check(["a.png"])
    assert path.read_bytes() == corrected


def test_an_input_is_kept_even_if_clipes_wrote_it(tmp_path):
    """The true masks of a run may be the exported masks of an earlier run."""
    OutputFolder(str(tmp_path / "truth")).write("a.png", encoded("PNG"))
    (tmp_path / "link").symlink_to("truth")
    for target in ("truth", "link", "x/../truth"):
        output = OutputFolder(str(tmp_path / target), lambda: [str(tmp_path / "truth" / "a.png")])
        with pytest.raises(UsageError, match=r"a\.png is one of the photos or true masks"):
            output.check(["a.png"])


def link_to(target, path):
    path.symlink_to(target)


def hard_link_to(target, path):
    os.link(target, path)


@pytest.mark.parametrize("alias", ["s3a://clipes/{}", "s3://clipes/{}//", "s3a://clipes//{}"])
def test_an_input_is_kept_whatever_uri_names_it(s3_folder, alias):
    name = s3_folder.rpartition("/")[2]
    OutputFolder(s3_folder).write("a.png", encoded("PNG"))
    for input_uri, target in ((s3_folder, alias.format(name)), (alias.format(name), s3_folder)):
        output = OutputFolder(target, lambda uri=input_uri: [f"{uri}/a.png"])
        for act in (lambda to: to.check(["a.png"]), lambda to: to.write("a.png", encoded("PNG", seed=1))):
            with pytest.raises(UsageError, match=r"a\.png is one of the photos or true masks"):
                act(output)


@pytest.mark.parametrize("link", [link_to, hard_link_to])
def test_a_file_of_the_user_is_kept_whatever_link_leads_to_it(tmp_path, link):
    users = tmp_path / "photo.png"
    users.write_bytes(encoded("PNG"))
    (tmp_path / "out").mkdir()
    link(users, tmp_path / "out" / "a.png")
    with pytest.raises(UsageError, match=FOREIGN):
        OutputFolder(str(tmp_path / "out")).check(["a.png"])
    assert users.read_bytes() == encoded("PNG")
    assert (tmp_path / "out" / "a.png").read_bytes() == encoded("PNG")


def test_a_broken_link_and_a_folder_are_kept(tmp_path):
    (tmp_path / "a.png").symlink_to("nowhere")
    (tmp_path / "b.png").mkdir()
    for name in ("a.png", "b.png"):
        with pytest.raises(UsageError, match=rf"{name} is a folder or a broken link"):
            OutputFolder(str(tmp_path)).write(name, encoded("PNG"))
    assert (tmp_path / "a.png").readlink() == Path("nowhere")


def test_two_names_of_one_file_are_refused(tmp_path):
    """A hard link stands for what a disk does that does not distinguish upper and lower case."""
    output = OutputFolder(str(tmp_path))
    output.write("a.png", encoded("PNG", 1))
    os.link(tmp_path / "a.png", tmp_path / "A.png")
    with pytest.raises(UsageError, match=r"A\.png is the same file as .*a\.png on this disk"):
        output.write("A.png", encoded("PNG", 2))
    assert (pixels_of((tmp_path / "a.png").read_bytes()) == pixels_of(encoded("PNG", 1))).all()


def test_two_names_of_one_existing_file_are_found_before_anything_is_written(tmp_path):
    OutputFolder(str(tmp_path)).write("a.png", encoded("PNG", 1))
    (tmp_path / "b.png").symlink_to("a.png")
    with pytest.raises(UsageError, match=r"nothing was written: .*b\.png is the same file as .*a\.png on this disk"):
        OutputFolder(str(tmp_path)).check(["a.png", "b.png"])


def test_a_file_that_appears_after_the_check_is_kept_in_an_object_store(s3_folder):
    output = OutputFolder(s3_folder)
    output.check(["a.png"])
    fsspec.filesystem("s3").pipe_file(f"{s3_folder}/a.png", b"mine")
    with pytest.raises(UsageError, match=r"a\.png has just been written by another program; name another folder"):
        output.write("a.png", encoded("PNG"))
    assert fsspec.filesystem("s3").cat_file(f"{s3_folder}/a.png") == b"mine"


def test_many_files_in_the_way_are_counted(tmp_path):
    for name in "abcde":
        (tmp_path / f"{name}.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"a\.png .*; .*b\.png .*; .*c\.png .* \(2 more\); name another folder$"):
        OutputFolder(str(tmp_path)).check([f"{name}.png" for name in "abcdef"])


def test_a_full_disk_is_a_failure_and_the_files_written_before_are_counted(tmp_path):
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=64k", "tmpfs") as target:
        output = OutputFolder(str(target))
        output.write("a.png", encoded("PNG"))
        fill(target)
        message = rf"^{target}/b\.png: the disk is full \(.+\); free .* rerun \(files written to {target} before: 1\)$"
        with pytest.raises(StorageError, match=message):
            output.write("b.png", encoded("PNG"))
        with pytest.raises(StorageError, match=r"free space on it and rerun$"):
            OutputFolder(str(target)).write("b.png", encoded("PNG"))
        assert sorted(path.name for path in target.iterdir()) == ["a.png", "filler"]


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "out").write_text("in the way")
    output = OutputFolder(str(tmp_path / "out"))
    output.check(["a.png"])
    with pytest.raises(DatasetError, match=r"out/a\.png cannot be used \(.*\); a file is where a folder must be"):
        output.write("a.png", encoded("PNG"))


@pytest.mark.parametrize("place", ["local", "s3"])
def test_listed_files_of_any_format_are_replaced_until_somebody_changes_them(place, tmp_path, request):
    uri = str(tmp_path / "out") if place == "local" else request.getfixturevalue("s3_folder")
    fs = fsspec.filesystem("file" if place == "local" else place)
    for content in (b"1", b"2"):
        output = OutputFolder(uri, marker="done.json")
        output.check(["a.txt", "big.bin", "done.json"])
        with output.digests_saved():
            output.write("a.txt", content)
            assert not fs.exists(f"{uri}/done.json")
            with output.open("big.bin") as file:
                file.write(content * 3)
                assert not fs.exists(f"{uri}/big.bin") or fs.cat_file(f"{uri}/big.bin") == b"111"
            output.write("done.json", content)
    assert [fs.cat_file(f"{uri}/{name}") for name in ("a.txt", "big.bin", "done.json")] == [b"2", b"222", b"2"]
    fs.pipe_file(f"{uri}/big.bin", b"mine")
    with pytest.raises(UsageError, match=rf"nothing was written: .*big\.bin {FOREIGN}"):
        OutputFolder(uri, marker="done.json").check(["a.txt", "big.bin"])
    output = OutputFolder(uri, marker="done.json")
    with pytest.raises(UsageError, match=FOREIGN), output.open("big.bin") as file:
        file.write(b"new")
    assert fs.cat_file(f"{uri}/big.bin") == b"mine"


def test_a_failed_export_keeps_what_it_wrote_and_no_half_file(tmp_path):
    def fail(output):
        with output.digests_saved():
            output.write("a.txt", b"1")
            with output.open("big.bin") as file:
                file.write(b"half")
                raise KeyError

    with pytest.raises(KeyError):
        fail(OutputFolder(str(tmp_path), marker="done.json"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["SHA256SUMS", "a.txt"]
    OutputFolder(str(tmp_path), marker="done.json").check(["a.txt", "big.bin"])


def test_two_files_of_one_name_are_refused(tmp_path):
    with pytest.raises(UsageError, match=rf"nothing was written: two different files would be {tmp_path}/a\.txt$"):
        OutputFolder(str(tmp_path)).check(["a.txt", "b.txt", "a.txt"])
