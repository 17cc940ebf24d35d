"""Photos in Parquet files: row groups, keys, and files that hold no photos."""

import os

import pytest
from support.archives import parquet

from clipes.tasks.inputs.sources import parquet as module
from clipes.tasks.inputs.sources.parquet import RowGroups
from clipes.tasks.inputs.sources.source import UNKNOWN
from clipes.tasks.inputs.sources.table import find_files, read_listed
from clipes.tasks.storage.files import write_file
from clipes_core.errors import ErrorKind, PhotoError

PHOTOS = {f"{number:03}": os.urandom(1000 + number) for number in range(25)}


def write(folder, content, name="0.parquet"):
    write_file(f"{folder}/{name}", content)
    return f"{folder}/{name}"


def fault(uri) -> str:
    """Return why a photo cannot be looked up."""
    failure = find_files([uri]).failures[uri]
    assert isinstance(failure, PhotoError)
    assert failure.kind is ErrorKind.UNREADABLE
    return failure.reason


@pytest.fixture(params=["local", "s3"])
def folder(request, tmp_path) -> str:
    """Return the URI of a folder on the local disk and on S3."""
    return request.getfixturevalue("s3_folder") if request.param == "s3" else str(tmp_path)


def test_photos_are_found_by_key_and_read_from_their_row_group(folder):
    archive = write(folder, parquet(PHOTOS, rows_per_group=10))
    uris = [f"{archive}/{key}.jpg" for key in PHOTOS]
    found = find_files([*uris, f"{archive}/none.jpg", f"{archive}/000.png", f"{folder}/1.parquet/000.jpg"])
    assert list(found.files) == uris
    assert found.failures == {}
    assert found.files[uris[17]].fingerprint.startswith("parquet:1.7.jpg@")
    assert [read_listed(uri, found.files[uri].fingerprint) for uri in uris] == list(PHOTOS.values())
    assert read_listed(uris[3], UNKNOWN) == PHOTOS["003"]


def test_a_photo_of_a_changed_file_is_refused(folder):
    archive = write(folder, parquet(PHOTOS))
    uri = f"{archive}/000.jpg"
    before = find_files([uri]).files[uri].fingerprint
    write(folder, parquet({**PHOTOS, "000": b"new"}))
    with pytest.raises(PhotoError, match=r"0.parquet has changed since the run listed it: run again$"):
        read_listed(uri, before)
    assert read_listed(uri, find_files([uri]).files[uri].fingerprint) == b"new"


def test_photos_of_a_file_without_a_plausible_time_are_identified_by_their_content(tmp_path):
    archive = write(tmp_path, parquet(PHOTOS))
    os.utime(archive, (0, 0))
    uri = f"{archive}/000.jpg"
    before = find_files([uri]).files[uri].fingerprint
    assert read_listed(uri, before) == PHOTOS["000"]
    write(tmp_path, parquet({**PHOTOS, "000": b"new"}))
    with pytest.raises(PhotoError, match="has changed since the run listed it"):
        read_listed(uri, before)


def test_a_key_that_occurs_more_than_once_is_refused(tmp_path):
    archive = write(tmp_path, parquet([("a", b"1"), ("b", b"2"), ("a", b"3")], rows_per_group=2))
    assert fault(f"{archive}/a.jpg").endswith("occurs more than once in its archive: give each row its own key")
    assert read_listed(f"{archive}/b.jpg", UNKNOWN) == b"2"


def test_a_row_without_a_photo_is_missing(tmp_path):
    archive = write(tmp_path, parquet({"a": None, "b": b"2"}))
    uri = f"{archive}/a.jpg"
    with pytest.raises(PhotoError, match="the row has no photo in its column jpg: it was not downloaded") as caught:
        read_listed(uri, find_files([uri]).files[uri].fingerprint)
    assert caught.value.kind is ErrorKind.MISSING


ADVICE = "write a file with a column key, and a column of encoded photos such as jpg, as img2dataset does"


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"id": ["a"], "jpg": [b"1"]}, f"has no column key; its columns are id, jpg: {ADVICE}"),
        ({"key": ["a"], "txt": ["b"]}, f"has no column of bytes; its columns are key, txt: {ADVICE}"),
        (
            {"image": [{"bytes": b"1", "path": "a.jpg"}], "label": [1]},
            f"has no column key; its columns are image, label: {ADVICE}",
        ),
    ],
)
def test_files_without_keys_or_photos_say_what_they_have(tmp_path, caplog, columns, reason):
    archives = [write(tmp_path, parquet(columns=columns), name) for name in ("0.parquet", "1.parquet")]
    assert fault(f"{archives[0]}/a.jpg") == f"no file at {archives[0]}/a.jpg; the archive {reason}"
    find_files(f"{archive}/a.jpg" for archive in archives)
    assert caplog.messages == [
        f"the archive {archives[0]} cannot be used completely: it {reason}",
        f"2 archives cannot be used completely; the first is {archives[0]}: it {reason}",
    ]


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", parquet(PHOTOS)[:-30]])
def test_a_file_that_is_not_parquet_is_reported(tmp_path, content):
    archive = write(tmp_path, content)
    reason = fault(f"{archive}/000.jpg")
    assert reason.startswith(f"no file at {archive}/000.jpg; the archive is not a readable Parquet file (")
    assert reason.endswith("): download or write it again")


def test_a_damaged_row_group_costs_only_its_photos(tmp_path):
    content = bytearray(parquet(PHOTOS, rows_per_group=10))
    place = content.index(PHOTOS["013"])
    content[place] ^= 1
    archive = write(tmp_path, bytes(content))
    found = find_files([f"{archive}/{key}.jpg" for key in PHOTOS]).files
    assert read_listed(f"{archive}/003.jpg", found[f"{archive}/003.jpg"].fingerprint) == PHOTOS["003"]
    with pytest.raises(PhotoError, match="is not a readable Parquet file") as caught:
        read_listed(f"{archive}/013.jpg", found[f"{archive}/013.jpg"].fingerprint)
    assert caught.value.kind is ErrorKind.UNREADABLE


def test_a_row_group_that_would_fill_the_memory_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_GROUP", 20_000)
    archive = write(tmp_path, parquet(PHOTOS))
    with pytest.raises(PhotoError, match=r"a row group has photos of \d+ bytes: write it with smaller row groups"):
        read_listed(f"{archive}/000.jpg", UNKNOWN)


class Values:
    """Values of a row group."""

    nbytes = 10


def test_the_row_groups_used_last_are_kept():
    groups, loaded = RowGroups(30), []

    def get(key):
        return groups.get(key, lambda: loaded.append(key) or Values())

    for key in (1, 2, 3, 1, 4, 1, 2):
        get(key)
    assert loaded == [1, 2, 3, 4, 2]
    assert groups.size_bytes == 30
    small = RowGroups(5)
    assert [small.get(1, Values), small.size_bytes] == [small.get(1, list), 10]  # the last one is always kept


def test_on_s3_only_the_keys_and_the_needed_row_group_are_fetched_once(s3_folder, counted):
    photos = {f"{number:03}": os.urandom(50_000) for number in range(40)}
    archive = write(s3_folder, parquet(photos, rows_per_group=4))
    uris = [f"{archive}/{key}.jpg" for key in photos]

    counted.received = 0
    found = find_files(uris).files
    for_index = counted.received
    counted.received = 0
    assert [read_listed(uri, found[uri].fingerprint) for uri in uris[8:12]] == list(photos.values())[8:12]

    assert for_index < 100_000  # pyarrow reads the last 64 KiB to find the footer
    assert 200_000 < counted.received < 275_000  # the footer again, and four photos
