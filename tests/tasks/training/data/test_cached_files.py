import hashlib
import logging
import multiprocessing
import pickle
import resource
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
from support.damage import flip
from support.permissions import unprivileged

from clipes.tasks.training.data import cached_files
from clipes.tasks.training.data.cached_files import GB, CachedFiles
from clipes_core.errors import StorageError, TransientError

FILE_BYTES = 100_000


def content(number):
    return bytes([number]) * FILE_BYTES


class Counted(BaseHTTPRequestHandler):
    """A request handler that serves `/NUMBER` and counts requests; it answers the first `busy` requests with 503."""

    def do_GET(self):
        with self.server.lock:
            self.server.asked.append(self.path)
            busy, self.server.busy = self.server.busy > 0, self.server.busy - 1
        known = self.path.strip("/").isdigit()
        body = content(int(self.path.strip("/"))) if known and not busy else b""
        self.send_response(503 if busy else 200 if known else int(self.path.partition("status")[2]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Log nothing."""


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Counted) as server:
        server.lock, server.asked, server.busy = threading.Lock(), [], 0
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def files(tmp_path):
    return CachedFiles(tmp_path / "cache", 0.01)


def sources(files, uris, version="1"):
    found = []
    for uri in uris:
        data, read = files.read(uri, version)
        assert (len(data), read.size_bytes) == (FILE_BYTES, FILE_BYTES)
        assert read.seconds >= 0
        found.append(read.source)
    return found


def test_a_file_is_fetched_only_once(server, files):
    uris = [f"{server.url}/{number}" for number in range(3)]
    assert sources(files, uris) == ["fetched"] * 3
    assert sources(files, uris) == ["hit"] * 3
    assert sources(pickle.loads(pickle.dumps(files)), uris) == ["hit"] * 3
    assert files.read(uris[2], "1")[0] == content(2)
    assert len(server.asked) == 3


def test_a_new_version_of_a_file_is_fetched(files):
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/cached/a", b"old")
    assert files.read("memory://cached/a", "1")[0] == b"old"
    fs.pipe_file("/cached/a", b"new")
    assert files.read("memory://cached/a", "1")[0] == b"old"
    assert files.read("memory://cached/a", "2")[0] == b"new"


def test_parts_of_a_file_are_cached_separately(files):
    fsspec.filesystem("memory").pipe_file("/cached/parts", bytes(range(100)))
    asked = [(0, 10), (10, 100), (0, 10), None]
    found = [files.read("memory://cached/parts", "1", span) for span in asked]
    assert [data for data, _ in found] == [bytes(range(*(span or (100,)))) for span in asked]
    assert [(read.source, read.size_bytes) for _, read in found] == [
        ("fetched", 10),
        ("fetched", 90),
        ("hit", 10),
        ("fetched", 100),
    ]
    assert files.evict("memory://cached/parts", "1", (0, 10))
    assert not files.evict("memory://cached/parts", "1", (0, 11))
    again = [files.read("memory://cached/parts", "1", span)[1].source for span in asked]
    assert again == ["fetched", "hit", "hit", "hit"]


def test_a_local_file_is_read_without_the_cache(tmp_path, files):
    (tmp_path / "a").write_bytes(content(1))
    assert sources(files, [str(tmp_path / "a"), f"file://{tmp_path}/a"]) == ["local", "local"]
    assert files.read(str(tmp_path / "a"), "1", (5, 8))[0] == content(1)[5:8]
    assert not files.evict(str(tmp_path / "a"), "1")
    assert not files.folder.exists()


def test_the_least_recently_used_files_are_evicted(server, tmp_path):
    files = CachedFiles(tmp_path / "cache", 5.5 * FILE_BYTES / GB)
    uris = [f"{server.url}/{number}" for number in range(12)]
    for uri in uris:
        sources(files, [uris[0], uri])
        on_disk = [*files.folder.rglob("*.val"), files.folder / "cache.db"]
        assert sum(path.stat().st_size for path in on_disk) <= 5.5 * FILE_BYTES
    assert sources(files, [uris[0], uris[11], uris[10], uris[1]]) == ["hit", "hit", "hit", "fetched"]


def test_a_file_larger_than_the_cache_is_fetched_each_time(server, tmp_path, caplog):
    files = CachedFiles(tmp_path / "cache", 0.9 * FILE_BYTES / GB)
    assert sources(files, [f"{server.url}/1"] * 3) == ["fetched"] * 3
    assert [record.message for record in caplog.records] == [
        "a file of 0.0001 GB exceeds the cache of 9e-05 GB and is fetched each time: raise execution.cache_gb"
    ]


def test_a_cache_of_size_zero_caches_nothing(server, tmp_path, caplog):
    files = CachedFiles(tmp_path / "cache", 0)
    assert sources(files, [f"{server.url}/1"] * 2) == ["fetched"] * 2
    assert not caplog.records
    assert not files.folder.exists()


def test_an_evicted_file_is_fetched_again(server, files):
    uri = f"{server.url}/1"
    sources(files, [uri])
    assert files.evict(uri, "1")
    assert not files.evict(uri, "1")
    assert sources(files, [uri]) == ["fetched"]


def test_the_cache_folder_is_private_and_holds_the_bytes_behind_their_checksum(server, files):
    sources(files, [f"{server.url}/7"])
    (kept,) = files.folder.rglob("*.val")
    assert kept.read_bytes() == hashlib.sha256(content(7)).digest() + content(7)
    assert files.folder.stat().st_mode & 0o777 == 0o700


def test_a_cache_folder_that_others_can_write_to_is_not_used(server, files, caplog):
    files.folder.mkdir()
    files.folder.chmod(0o777)
    assert sources(files, [f"{server.url}/1"] * 2) == ["fetched"] * 2
    assert [record.message for record in caplog.records] == [
        f"the cache {files.folder} cannot be used (other users can write to {files.folder}: choose a folder that only "
        "you can write to): files are fetched each time until it works"
    ]


def test_a_cache_that_cannot_be_created_does_not_stop_reading(server, tmp_path, caplog):
    (tmp_path / "shut").mkdir(mode=0o555)
    with unprivileged(tmp_path):
        assert sources(CachedFiles(tmp_path / "shut" / "cache", 1), [f"{server.url}/1"] * 3) == ["fetched"] * 3
    assert ["Permission denied" in record.message for record in caplog.records] == [True]


def test_a_full_disk_does_not_stop_reading(server, files, caplog, monkeypatch):
    """Limit the size of files, so that a write fails half-way, as on a full disk."""
    monkeypatch.setattr(cached_files, "PAUSE_S", 0.0)
    assert sources(files, [f"{server.url}/1"]) == ["fetched"]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES // 2, hard))
    try:
        assert sources(files, [f"{server.url}/2"] * 2) == ["fetched"] * 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(list(files.folder.rglob("*.val"))) == 1
    assert ["cannot be used" in record.message for record in caplog.records] == [True]
    assert sources(files, [f"{server.url}/2"] * 2) == ["fetched", "hit"]


def test_a_broken_index_does_not_stop_reading(server, files, caplog):
    files.folder.mkdir(mode=0o700)
    (files.folder / "cache.db").write_bytes(b"no database" * 1000)
    assert sources(files, [f"{server.url}/1"] * 2) == ["fetched"] * 2
    assert ["file is not a database" in record.message for record in caplog.records] == [True]


def read_all(files, uris, results):
    results.put(sources(files, uris))


def test_two_processes_fetch_each_file_once(server, files):
    uris = [f"{server.url}/{number}" for number in range(8)]
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=read_all, args=(files, order, results)) for order in (uris, uris[::-1])]
    for process in processes:
        process.start()
    found = results.get(timeout=120) + results.get(timeout=120)
    for process in processes:
        process.join()
    assert sorted(server.asked) == sorted(f"/{number}" for number in range(8))
    assert (found.count("fetched"), found.count("hit")) == (8, 8)


def test_a_busy_store_is_retried(server, files, caplog):
    server.busy = 1
    with caplog.at_level(logging.WARNING):
        assert sources(files, [f"{server.url}/1"]) == ["fetched"]
    assert server.asked == ["/1", "/1"]
    assert "503" in caplog.text


@pytest.mark.usefixtures("impatient")
def test_a_store_that_never_answers_is_a_transient_error(server, files):
    with pytest.raises(TransientError, match="/status500: 500"):
        files.read(f"{server.url}/status500", "1")
    assert len(server.asked) == 2


@pytest.mark.parametrize(("path", "error"), [("status404", FileNotFoundError), ("status403", StorageError)])
def test_a_refusal_is_not_retried(server, files, path, error):
    with pytest.raises(error):
        files.read(f"{server.url}/{path}", "1")
    assert len(server.asked) == 1


def test_a_missing_local_file_is_reported(tmp_path, files):
    with pytest.raises(FileNotFoundError):
        files.read(str(tmp_path / "none"), "1")


def test_the_default_cache_folder_is_in_the_cache_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert CachedFiles().folder == tmp_path / "clipes" / "files"


@pytest.mark.parametrize("position", [0, 31, 32, 5_000, -1])
def test_a_damaged_entry_is_fetched_again(files, server, position):
    uri = f"{server.url}/7"
    assert sources(files, [uri]) == ["fetched"]
    (entry,) = files.folder.rglob("*.val")
    flip(entry, position)

    assert sources(files, [uri, uri]) == ["fetched", "hit"]
    assert files.read(uri, "1")[0] == content(7)
