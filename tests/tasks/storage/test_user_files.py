import hashlib
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from clipes.tasks.storage.user_files import (
    absolute,
    canonical,
    exists,
    find_files,
    find_files_by_folder,
    is_below,
    join,
    list_names,
    parent,
    read_bytes,
    read_lines,
    read_text,
    write_bytes,
)
from clipes_core.errors import DatasetError, TransientError


class TaggedFileSystem(MemoryFileSystem):
    """An object store with ETags. Folders named secret deny access, and those named flaky and odd have faults."""

    protocol = "tagged"
    store = {}  # noqa: RUF012
    listed = []  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("tagged://", "memory://"))

    def ls(self, path, detail=True, **kwargs):
        self.listed.append(path)
        if "secret" in path:
            raise PermissionError("Access Denied")
        if "flaky" in path:
            raise ConnectionResetError("the store hung up")
        if "odd" in path:
            raise RuntimeError("odd")
        return [entry | {"ETag": '"5d41"'} for entry in super().ls(path, detail=True)]


class MemoryFolder:
    uri = "memory://folders"

    def write(self, files):
        fsspec.filesystem("memory").pipe({f"{self.uri}/{path}": text.encode() for path, text in files.items()})


@pytest.fixture
def memory_root():
    yield MemoryFolder()
    fsspec.filesystem("memory").rm("/folders", recursive=True)


@pytest.fixture
def tagged():
    fsspec.register_implementation("tagged", TaggedFileSystem, clobber=True)
    TaggedFileSystem.store.clear()
    TaggedFileSystem.listed.clear()
    return TaggedFileSystem


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s3://b/x/y", "s3a://b/x/y"),
        ("s3://b/x/y", "s3://b//x/./z/../y/"),
        ("memory://x/y", "memory:///x/y"),
        ("file:///x/y", "/x/y"),
        ("local:///x/y", "/x//y/"),
    ],
)
def test_all_names_of_a_place_have_the_same_canonical_form(one, other):
    assert canonical(one) == canonical(other)
    assert len({canonical(uri) for uri in (one, f"{one}/z", f"{one}z", one.replace("/x", "/X"))}) == 4


def test_links_are_resolved_in_the_canonical_form(tmp_path):
    (tmp_path / "link").symlink_to("x")
    assert canonical(f"{tmp_path}/link/a") == canonical(f"{tmp_path}/x/a")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/b/", "/a/b"),
        ("/a/./c/../b", "/a/b"),
        ("file:///a/b", "/a/b"),
        ("s3://bucket/x/", "s3://bucket/x"),
        ("memory://", "memory://"),
    ],
)
def test_absolute_normalises_paths_and_uris(path, expected):
    assert absolute(path) == expected


def test_absolute_resolves_paths_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("photos/a.jpg") == f"{tmp_path}/photos/a.jpg"


def test_join_and_parent_keep_the_slashes_of_a_uri():
    assert join("memory://", "a.jpg") == "memory://a.jpg"
    assert join("/data", "x/a.jpg") == "/data/x/a.jpg"
    assert parent("memory://a.jpg") == "memory://"
    assert parent("s3://bucket/x/a.jpg") == "s3://bucket/x"
    assert parent("/a.jpg") == "/"


def test_local_files_are_found_with_size_and_time(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.jpg").write_bytes(b"four")
    os.utime(tmp_path / "x" / "a.jpg", ns=(0, 1_690_000_000_123_456_789))
    (tmp_path / "x" / "folder.jpg").mkdir()

    places = [f"{tmp_path}/x/{name}" for name in ("a.jpg", "folder.jpg", "none.jpg")]
    found = find_files([*places, f"{tmp_path}/no/a.jpg", f"{tmp_path}/x/a.jpg/b.jpg"])

    assert list(found) == places[:1]
    assert found[places[0]].size_bytes == 4
    assert found[places[0]].fingerprint == "4-1690000000123456789"


def test_a_fingerprint_changes_when_the_file_does(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"four")
    before = find_files([str(path)])
    path.write_bytes(b"ruof")
    os.utime(path, ns=(0, 1))
    assert find_files([str(path)]) != before


def test_links_have_the_size_and_time_of_their_targets(tmp_path):
    (tmp_path / "real.jpg").write_bytes(b"four")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "real.jpg")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "none.jpg")

    found = find_files([f"{tmp_path}/link.jpg", f"{tmp_path}/real.jpg", f"{tmp_path}/broken.jpg"])

    assert sorted(found) == [f"{tmp_path}/link.jpg", f"{tmp_path}/real.jpg"]
    assert len({facts.fingerprint for facts in found.values()}) == 1


def test_files_at_a_uri_are_found_and_their_changes_detected(memory_root):
    memory_root.write({"x/a.jpg": "four"})
    uri = f"{memory_root.uri}/x/a.jpg"

    before = find_files([uri, f"{memory_root.uri}/y/a.jpg"])
    memory_root.write({"x/a.jpg": "ruof"})

    assert list(before) == [uri]
    assert before[uri].fingerprint.startswith("4-1")
    assert find_files([uri]) != before


def test_the_etag_is_the_fingerprint_if_there_is_one(tagged):
    fsspec.filesystem("tagged").pipe("/b/a.jpg", b"four")
    assert find_files(["tagged://b/a.jpg"])["tagged://b/a.jpg"].fingerprint == "etag:5d41"


def test_each_folder_is_listed_only_once(tagged):
    names = [f"/b/{folder}/{number}.jpg" for folder in "xy" for number in range(50)]
    fsspec.filesystem("tagged").pipe(dict.fromkeys(names, b"1"))

    assert len(find_files(f"tagged:/{name}" for name in names)) == 100
    assert sorted(tagged.listed) == ["/b/x", "/b/y"]


def test_a_missing_permission_is_an_error_and_a_network_fault_is_transient(tagged):
    with pytest.raises(DatasetError, match=r"tagged://secret/: no permission \(Access Denied\); check its permissions"):
        find_files(["tagged://secret/a.jpg"])
    with pytest.raises(DatasetError, match=r"tagged://secret: no permission \(Access Denied\)"):
        list_names("tagged://secret")
    with pytest.raises(TransientError, match="tagged://flaky/: the store hung up; check the address, the network and"):
        find_files(["tagged://flaky/a.jpg"])


def test_files_on_s3_are_found_and_their_changes_detected_by_etag(s3_folder):
    fs, path = fsspec.core.url_to_fs(s3_folder)
    fs.pipe({f"{path}/x/a b.jpg": b"four", f"{path}/x/deeper/c.jpg": b"1"})
    uri = f"{s3_folder}/x/a b.jpg"

    before = find_files([uri, f"{s3_folder}/x/none.jpg", f"{s3_folder}/x/deeper", f"{s3_folder}/y/a.jpg"])
    write_bytes(uri, b"ruof")

    assert list(before) == [uri]
    assert (before[uri].size_bytes, before[uri].fingerprint) == (4, f"etag:{hashlib.md5(b'four').hexdigest()}")
    assert find_files([uri])[uri].fingerprint == f"etag:{hashlib.md5(b'ruof').hexdigest()}"
    assert list_names(f"{s3_folder}/x") == ["a b.jpg", "deeper"]
    assert list_names(f"{s3_folder}/y") is None
    assert read_bytes(uri) == b"ruof"
    for nothing in (f"{s3_folder}/x", f"{s3_folder}/y"):
        with pytest.raises(FileNotFoundError):
            read_bytes(nothing)


def test_only_names_of_folders_are_listed(tmp_path, memory_root):
    (tmp_path / "b").mkdir()
    (tmp_path / "a.txt").touch()
    memory_root.write({"b/c.txt": "", "a.txt": ""})

    assert list_names(str(tmp_path)) == ["a.txt", "b"] == list_names(memory_root.uri)
    assert list_names(f"{tmp_path}/b") == []
    for nothing in (
        f"{tmp_path}/none",
        f"{tmp_path}/a.txt",
        f"{memory_root.uri}/none",
        f"{memory_root.uri}/a.txt",
    ):
        assert list_names(nothing) is None


def test_lines_with_any_line_end_are_read_without_blank_ones(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa\r\n\r\n  \nb\x0cc\rd \t")
    assert list(read_lines(f"{tmp_path}/list.txt")) == [(1, "a"), (4, "b\x0cc"), (5, "d \t")]


def test_missing_files_and_folders_are_not_found(tmp_path, memory_root):
    memory_root.write({"x/a": ""})
    for nothing in (f"{tmp_path}/none", str(tmp_path), f"{memory_root.uri}/none", f"{memory_root.uri}/x"):
        with pytest.raises(FileNotFoundError):
            read_bytes(nothing)


def test_the_failure_of_a_folder_costs_no_other_folder(tagged):
    fsspec.filesystem("tagged").pipe("/b/a.jpg", b"four")
    uris = ["tagged://secret/a.jpg", "tagged://odd/a.jpg", "tagged://b/a.jpg", "tagged://flaky/a.jpg", "gopher://x/a"]

    found, failures = find_files_by_folder(uris)

    assert list(found) == ["tagged://b/a.jpg"]
    assert {folder: type(failure) for folder, failure in failures.items()} == {
        "tagged://secret/": DatasetError,
        "tagged://odd/": DatasetError,
        "tagged://flaky/": TransientError,
        "gopher://x/": DatasetError,
    }
    assert str(failures["tagged://odd/"]) == (
        "tagged://odd/: cannot be listed (RuntimeError: odd); use a path or URI that clipes can list"
    )


def test_a_folder_is_below_itself_and_its_parents():
    assert is_below("/a/b", "/a")
    assert is_below("s3://a/b/", "s3://a/b")
    assert not is_below("/ab", "/a")
    assert not is_below("/a", "/a/b")


def test_files_and_folders_exist(tmp_path):
    assert exists(str(tmp_path))
    assert not exists(f"{tmp_path}/none")


def test_text_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "list.txt").write_bytes("dög".encode("utf-16"))
    with pytest.raises(DatasetError, match=r"list.txt: not UTF-8 text .*; save the file as UTF-8"):
        read_text(f"{tmp_path}/list.txt")


def test_unknown_protocols_are_refused():
    with pytest.raises(DatasetError, match=r"gopher://x/: Protocol not known: gopher; use a path or a URI"):
        find_files(["gopher://x/a.jpg"])


class Site(SimpleHTTPRequestHandler):
    """A request handler that lists folders as pages of links and answers 500 to paths that contain "fails"."""

    def do_GET(self):
        if "fails" in self.path:
            self.send_error(500)
        else:
            super().do_GET()

    def log_message(self, *_):
        """Log nothing."""


@pytest.fixture
def site(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_files_of_a_web_server_are_found(tmp_path, site):
    (tmp_path / "a.jpg").write_bytes(b"four")
    found = find_files([f"{site}/a.jpg", f"{site}/none.jpg"])
    assert {uri: facts.size_bytes for uri, facts in found.items()} == {f"{site}/a.jpg": 4}


def test_the_error_for_a_failing_server_gives_its_answer(site):
    with pytest.raises(TransientError, match=rf"{site}/fails.txt: 500.*; check the address, the network and"):
        read_text(f"{site}/fails.txt")


def test_an_invalid_file_name_is_a_refusal():
    with pytest.raises(DatasetError, match="embedded null byte; use a valid path or URI"):
        list_names("/tmp/a\0b")
