import pytest
from support.s3_server import write_marker

from clipes.tasks.storage.listing import (
    find_file,
    find_files,
    list_below,
    list_names,
    list_paths_below,
    list_prefix,
)
from clipes.tasks.storage.user_files import write_bytes
from clipes_core.errors import StorageError


@pytest.fixture
def folder(place):
    return place


def test_all_listings_return_equal_facts_about_a_file(folder):
    uri = f"{folder}/a b"
    write_bytes(uri, b"four")

    (below,), (starting,) = list_below(folder), list_prefix(folder, "a")
    facts = find_file(uri)

    assert (facts.uri, facts.name, facts.size_bytes) == (uri, "a b", 4)
    assert facts.modified > 1_600_000_000
    assert below == starting == find_files([uri])[uri]
    assert facts.modified == pytest.approx(below.modified)
    if not uri.startswith("memory:"):  # lists times as datetimes, looks them up as floats
        assert facts == below


def test_all_files_below_a_folder_are_listed(folder):
    uris = [f"{folder}/{name}" for name in ("a", "b/c", "b/d/e")]
    for uri in uris:
        write_bytes(uri, b"1")

    assert sorted(file.uri for file in list_below(folder)) == uris
    assert [file.uri for file in list_below(f"{folder}/b/d")] == uris[2:]
    assert list_names(folder) == ["a", "b"]


def test_a_prefix_selects_only_files_directly_in_the_folder(folder):
    for name in ("007-a", "007-b", "0070-a", "008-a", "007-c/007-d"):
        write_bytes(f"{folder}/{name}/file" if "/" in name else f"{folder}/{name}", b"1")

    found = {file.name for file in list_prefix(folder, "007-")}
    assert {"007-a", "007-b"} <= found <= {"007-a", "007-b", "007-c"}  # a local disk also lists folder 007-c


def test_a_folder_that_does_not_exist_has_no_files(folder):
    assert list_below(folder) == list_prefix(folder, "a") == []
    assert find_files([f"{folder}/a"]) == {}
    assert list_names(folder) is None
    assert find_file(folder) is None


def test_the_markers_of_folders_are_not_listed(s3, s3_folder):
    folder = f"{s3_folder}/photos"
    for place in ("", "/photos", "/empty"):
        write_marker(s3, f"{folder}{place}")
    assert (list_below(folder), list_paths_below(folder), list_names(f"{folder}/empty")) == ([], [], [])
    assert find_files([f"{folder}/photos"]) == {}

    write_bytes(f"{folder}/photos/a", b"1")
    assert list_names(folder) == ["empty", "photos"]
    assert list_names(f"{folder}/photos") == list_paths_below(f"{folder}/photos") == ["a"]
    assert [file.uri for file in list_below(folder)] == [f"{folder}/photos/a"]
    assert list_prefix(folder, "e") == list_prefix(f"{folder}/photos", "p") == []
    assert list(find_files([f"{folder}/photos", f"{folder}/photos/a"])) == [f"{folder}/photos/a"]


def test_a_place_below_a_file_is_a_refusal(tmp_path):
    (tmp_path / "file").touch()
    for look in (find_file, lambda uri: list_prefix(uri, "a")):
        with pytest.raises(StorageError, match=r"/file/a cannot be used \(.*Not a directory"):
            look(f"{tmp_path}/file/a")


def test_only_files_with_the_prefix_are_accessed(tmp_path):
    for name in ("007-a", "008-a"):
        (tmp_path / name).symlink_to(tmp_path / name)  # accessing this link is an error
    (tmp_path / "009-a").touch()
    assert [file.name for file in list_prefix(str(tmp_path), "009-")] == ["009-a"]
    with pytest.raises(StorageError, match="symbolic links"):
        list_prefix(str(tmp_path), "007-")


def test_broken_links_are_left_out(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "nothing")
    assert list_below(str(tmp_path)) == list_prefix(str(tmp_path), "a") == []
