import os
import subprocess
import sys

import pytest
from support.mounts import mounted

from clipes.tasks.storage.files import (
    check_place,
    check_writable,
    create_file,
    free_bytes,
    move,
    on_local_disk,
    read_file,
    remove,
    write_atomically,
    write_file,
)
from clipes.tasks.storage.listing import find_file, find_files, list_below, list_names, list_paths_below, list_prefix
from clipes_core.errors import StorageError


@pytest.mark.parametrize("place", ["{folder}/x/y/a", "file://{folder}/x/y/a", "memory://{folder}/a"])
def test_a_file_can_be_written_moved_and_removed(tmp_path, place):
    uri = place.format(folder=tmp_path)
    with write_atomically(uri) as temporary:
        temporary.write_bytes(b"1")
        with pytest.raises(FileNotFoundError):
            read_file(uri)
    assert read_file(uri) == b"1"

    move(uri, f"{uri}.old/a")
    assert read_file(f"{uri}.old/a") == b"1"

    for _ in range(2):
        remove(f"{uri}.old/a")
    with pytest.raises(FileNotFoundError):
        read_file(f"{uri}.old/a")


@pytest.mark.parametrize("name", ["a*", "a[bc]", "**", "a?"])
def test_a_name_is_never_a_pattern(place, name):
    if place.startswith("memory:"):
        name = name.replace("?", "*")  # such a URI may not contain ?
    own, other = f"{place}/{name}", f"{place}/ab"  # each name, read as a pattern, fits ab
    for uri in (f"{other}/x", f"{other}/old/x", f"{other}/new"):
        write_file(uri, b"other")
    write_file(f"{own}/x", b"own")

    assert (list_names(own), list_paths_below(own)) == (["x"], ["x"])
    assert [file.uri for file in (*list_below(own), *list_prefix(own, "x"), find_file(f"{own}/x"))] == [f"{own}/x"] * 3
    assert list(find_files([f"{own}/x", f"{own}/new"])) == [f"{own}/x"]
    with on_local_disk(f"{own}/x") as path:
        assert path.read_bytes() == b"own"
    move(f"{own}/x", f"{own}/old/x")
    assert create_file(f"{own}/new", b"own")
    assert [read_file(uri) for uri in (f"{own}/old/x", f"{own}/new")] == [b"own"] * 2
    remove(f"{own}/old/x")
    remove(f"{own}/new")

    assert list_below(own) == []
    assert [read_file(file.uri) for file in list_below(place)] == [b"other"] * 3


@pytest.mark.parametrize("place", ["{folder}/a", "file://{folder}/a", "memory://{folder}/a"])
def test_on_local_disk_yields_a_local_path_with_the_content(tmp_path, place):
    uri = place.format(folder=tmp_path)
    write_file(uri, b"1")
    with on_local_disk(uri) as path:
        assert path.read_bytes() == b"1"
    assert path.exists() == (path == tmp_path / "a")  # only a copy is deleted
    assert read_file(uri) == b"1"
    with pytest.raises(FileNotFoundError), on_local_disk(f"{uri}-other") as path:
        path.read_bytes()


def test_an_error_in_the_block_is_raised_and_leaves_no_file(tmp_path):
    def write_half():
        with write_atomically(f"{tmp_path}/a") as temporary:
            temporary.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_a_place_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError, match=r"/file/a/b cannot be used \(.*Not a directory"),
        write_atomically(f"{tmp_path}/file/a/b"),
    ):
        pass


@pytest.mark.parametrize("place", ["file", "file/a/b", "link", "link/a"])
@pytest.mark.parametrize("protocol", ["", "file://"])
def test_a_folder_in_whose_place_a_file_or_broken_link_is_cannot_be_written(tmp_path, place, protocol):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for check in (check_place, check_writable):
        with pytest.raises(StorageError, match=rf"^{protocol}{tmp_path}/{place} cannot .*a file is where a folder"):
            check(f"{protocol}{tmp_path}/{place}")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}


@pytest.mark.parametrize("place", ["{folder}", "{folder}/a/b", "file://{folder}/a/", "memory://{folder}/a"])
def test_the_check_of_a_folder_leaves_nothing(tmp_path, place):
    check_place(place.format(folder=tmp_path))
    check_writable(place.format(folder=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["{folder}/a", "file://{folder}/a", "memory://{folder}/a"])
def test_a_part_of_a_file_is_read(tmp_path, place):
    uri = place.format(folder=tmp_path)
    write_file(uri, b"0123456789")
    assert read_file(uri, 2, 5) == b"234"


def test_a_folder_in_place_of_the_file_is_kept_and_no_file_is_left(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(StorageError, match="/a cannot be used"):
        write_file(f"{tmp_path}/a", b"1")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_devices_and_pipes_are_refused_because_they_may_never_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in ("/dev/zero", "file:///dev/zero", f"{tmp_path}/pipe"):
        with pytest.raises(StorageError, match="is a device, a pipe or a socket: copy its content to a file"):
            read_file(place)


WRITE_TOO_MUCH = """
import resource, sys
from clipes.tasks.storage.files import write_file

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_file(sys.argv[1], bytes(2000))
"""


def test_a_file_above_the_limit_of_the_process_is_named_with_the_limit(tmp_path):
    program = [sys.executable, "-c", WRITE_TOO_MUCH, f"{tmp_path}/a"]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"clipes_core.errors.StorageError: {tmp_path}/a: a file exceeds the limit of this process")
    assert "ulimit -f" in last
    assert list(tmp_path.iterdir()) == []


def test_the_free_space_is_that_of_the_disk_of_a_folder_that_may_not_exist_yet(tmp_path):
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as small:
        assert free_bytes(f"{small}/new/store") == 1 << 20
        (small / "file").write_bytes(bytes(1 << 19))
        assert free_bytes(str(small)) <= 1 << 19
    assert free_bytes("memory://store") is None
