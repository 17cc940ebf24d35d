"""Photos whose names differ from the list, and folders that cannot be listed."""

import os
import unicodedata
from pathlib import Path

import pytest
from support.free_ports import free_ports
from support.permissions import unprivileged

from clipes.tasks.inputs.datasets.listing import SIMILAR_PHOTO, SIMILAR_TRUTH, read_dataset
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import DatasetError, ErrorKind, TransientError


def read(folder, vocabulary, **settings):
    return read_dataset(DatasetConfig(format="list", split=f"{folder.uri}/list.csv", **settings), vocabulary)


def write(folder, lines, files):
    folder.write({"list.csv": "image,labels,truth\n" + "\n".join(lines), **dict.fromkeys(files, "file")})


@pytest.mark.parametrize(
    ("listed", "name"),
    [
        ("IMG_1.jpg", "IMG_1.JPG"),
        ("img_1.jpg", "IMG_1.jpg"),
        ("Images/a.jpg", "images/A.jpg"),
        (unicodedata.normalize("NFC", "poļe/träd.jpg"), unicodedata.normalize("NFD", "poļe/träd.jpg")),
        (unicodedata.normalize("NFD", "Ä.jpg"), unicodedata.normalize("NFC", "ä.JPG")),
    ],
)
def test_the_only_file_with_the_same_letters_is_used(folder, animals, listed, name):
    write(folder, [f"{listed},dog,", "b.jpg,cat,"], [name, "b.jpg"])

    listing = read(folder, animals)

    image_id = listed.removesuffix(".jpg")
    assert [(photo.image_id, photo.uri) for photo in listing.photos] == [
        (image_id, f"{folder.uri}/{name}"),
        ("b", f"{folder.uri}/b.jpg"),
    ]
    assert listing.notes == (f"{SIMILAR_PHOTO}: 1 (the first is {image_id})",)


def test_the_exact_name_comes_first(local, animals):
    write(local, ["a.jpg,dog,", "A.jpg,cat,"], ["a.jpg", "A.jpg", "A.JPG"])
    listing = read(local, animals)
    assert [photo.uri for photo in listing.photos] == [f"{local.uri}/a.jpg", f"{local.uri}/A.jpg"]
    assert listing.notes == ()


def test_a_name_that_several_files_have_is_missing(local, animals):
    write(local, ["a.jpg,dog,", "b.jpg,dog,", "c.jpg,dog,"], ["a.JPG", "A.jpg", "b.png", "c.jpg"])

    listing = read(local, animals)

    assert [photo.image_id for photo in listing.photos] == ["c"]
    first, second = listing.rejects
    assert first.reason.startswith(f"no file at {local.uri}/a.jpg; a similar name is ")
    assert sorted(first.reason.removesuffix(": correct the name").split(" is ")[1].split(" or ")) == ["A.jpg", "a.JPG"]
    assert second.reason == f"no file at {local.uri}/b.jpg; a similar name is b.png: correct the name"


def test_a_file_is_never_used_for_two_photos(local, animals):
    write(local, ["a.jpg,dog,", "A.JPG,cat,", "B.jpg,dog,", "b.JPG,cat,"], ["a.jpg", "b.jpg"])

    listing = read(local, animals)

    assert [photo.image_id for photo in listing.photos] == ["a"]
    assert [(reject.image_id, reject.kind) for reject in listing.rejects] == [
        ("A", ErrorKind.MISSING),
        ("B", ErrorKind.MISSING),
        ("b", ErrorKind.MISSING),
    ]


def test_the_only_true_mask_with_the_same_letters_is_used(local, animals):
    write(local, ["a.jpg,dog,", "b.jpg,dog,masks/B.png"], ["a.jpg", "b.jpg", "truth/A.PNG", "masks/b.png"])

    listing = read(local, animals, truth=f"{local.uri}/truth")

    assert [photo.truth_uri for photo in listing.photos] == [f"{local.uri}/truth/A.PNG", f"{local.uri}/masks/b.png"]
    assert all(photo.truth_fingerprint for photo in listing.photos)
    assert listing.notes == (f"{SIMILAR_TRUTH}: 2 (the first is a)",)


def test_a_deep_path_that_does_not_exist_is_missing(local, animals):
    write(local, [f"{'a/' * 1500}b.jpg,dog,", "c.jpg,dog,"], ["c.jpg"])
    assert [reject.kind for reject in read(local, animals).rejects] == [ErrorKind.MISSING]


def unusable_uris():
    """Return URIs at which no photo can be found, each for another reason."""
    (port,) = free_ports(1)
    return {
        f"http://127.0.0.1:{port}/a.jpg": ErrorKind.NETWORK,
        f"http://127.0.0.1:{port}": ErrorKind.MISSING,
        "http://": ErrorKind.MISSING,
        "http://[::1/a.jpg": ErrorKind.NOT_PERMITTED,
        "zip://a.jpg": ErrorKind.MISSING,
        "zip://a.jpg::/none.zip": ErrorKind.NOT_PERMITTED,
        "tar://a.jpg": ErrorKind.MISSING,
        "reference://a.jpg": ErrorKind.MISSING,
        "data://x": ErrorKind.UNREADABLE,
        "gopher://host/a.jpg": ErrorKind.MISSING,
        "://c.jpg": ErrorKind.NOT_PERMITTED,
        "simplecache::zip://a.jpg": ErrorKind.NOT_PERMITTED,
    }


@pytest.mark.usefixtures("impatient")
def test_a_line_that_cannot_be_opened_costs_no_other_photo(local, animals):
    uris = unusable_uris()
    write(local, ["a.jpg,dog,", *(f"{uri},dog," for uri in uris), "b.jpg,cat,"], ["a.jpg", "b.jpg"])

    listing = read(local, animals, reach=("/", "http://", "zip://", "tar://", "reference://", "data://", "gopher://"))

    assert [photo.image_id for photo in listing.photos] == ["a", "b"]
    assert [reject.kind for reject in listing.rejects] == list(uris.values())
    assert all(reject.reason and "\n" not in reject.reason for reject in listing.rejects)


@pytest.mark.usefixtures("impatient")
def test_a_true_mask_that_cannot_be_opened_rejects_its_photo(local, animals):
    (port,) = free_ports(1)
    write(
        local,
        [f"a.jpg,dog,http://127.0.0.1:{port}/a.png", "b.jpg,dog,zip://b.png", "c.jpg,dog,"],
        ["a.jpg", "b.jpg", "c.jpg"],
    )

    listing = read(local, animals)

    assert [photo.image_id for photo in listing.photos] == ["c"]
    assert [(reject.image_id, reject.kind) for reject in listing.rejects] == [
        ("a", ErrorKind.BAD_TRUTH),
        ("b", ErrorKind.BAD_TRUTH),
    ]


@pytest.mark.usefixtures("impatient")
def test_the_failure_of_the_store_of_all_photos_is_an_error(local, animals):
    (port,) = free_ports(1)
    dead = f"http://127.0.0.1:{port}"
    write(local, [f"{dead}/a.jpg,dog,", f"{dead}/x/b.jpg,dog,"], [])
    with pytest.raises(TransientError, match=f"{dead}/"):
        read(local, animals, reach=("http://",))
    write(local, ["a.jpg,dog,", f"{local.uri}/c.jpg,dog,"], ["c.jpg"])
    with pytest.raises(TransientError, match=f"{dead}/"):
        read(local, animals, root=dead)


def test_a_folder_without_permission_costs_only_its_photos(local, animals):
    write(local, ["secret/a.jpg,dog,", "b.jpg,cat,"], ["secret/a.jpg", "b.jpg"])
    folder = Path(local.uri)
    (folder / "secret").chmod(0)
    with unprivileged(folder):
        listing = read(local, animals)
    (folder / "secret").chmod(0o700)

    assert [photo.image_id for photo in listing.photos] == ["b"]
    assert [(reject.image_id, reject.kind) for reject in listing.rejects] == [("secret/a", ErrorKind.UNREADABLE)]
    assert "no permission" in listing.rejects[0].reason


def test_a_folder_of_true_masks_without_permission_is_an_error(local, animals):
    write(local, ["a.jpg,dog,"], ["a.jpg", "truth/a.png"])
    folder = Path(local.uri)
    (folder / "truth").chmod(0)
    with unprivileged(folder), pytest.raises(DatasetError, match="/truth/: no permission"):
        read(local, animals, truth=f"{local.uri}/truth")
    (folder / "truth").chmod(0o700)


def test_names_with_two_colons_are_found_on_s3(s3_data, animals):
    write(s3_data, ["a::b.jpg,dog,", "x::y/c.jpg,cat,"], ["a::b.jpg", "x::y/c.jpg"])
    listing = read(s3_data, animals)
    assert [photo.image_id for photo in listing.photos] == ["a::b", "x::y/c"]


def test_photos_and_true_masks_without_a_plausible_time_are_told_apart_by_their_content(tmp_path, animals):
    listings = []
    for content in ("one", "two"):
        root = tmp_path / content
        root.mkdir()
        (root / "list.csv").write_text("image,labels,truth\na.jpg,dog,a.png\n")
        for name in ("A.jpg", "a.png"):  # the list spells the name of the photo in another case
            (root / name).write_text(content)
            os.utime(root / name, (1, 1))
        config = DatasetConfig(format="list", root=str(root), split=str(root / "list.csv"))
        listings.append(read_dataset(config, animals).photos[0])
    one, two = listings
    assert one.fingerprint == one.truth_fingerprint != two.fingerprint == two.truth_fingerprint
