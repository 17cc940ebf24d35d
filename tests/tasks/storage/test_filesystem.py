import errno
import os
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from s3fs import S3FileSystem
from support.permissions import unprivileged
from support.s3_server import READER, STRANGER, UNKNOWN, WRITER

from clipes.tasks.storage.filesystem import appears_whole, explained, filesystem, move, on_disk, remove
from clipes_core.errors import StorageError, TransientError


class Answers(BaseHTTPRequestHandler):
    """Answers with the status in the path."""

    def do_GET(self):
        self.send_response(int(self.path.lstrip("/")))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def web():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def read(uri):
    with explained(uri):
        fs, path = filesystem(uri)
        return fs.cat_file(path)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_answers_that_ask_for_another_attempt_may_pass(web, status):
    with pytest.raises(TransientError, match=rf"{web}/{status}: {status}.*; check the address, the network and"):
        read(f"{web}/{status}")


@pytest.mark.parametrize("status", [400, 401, 403, 410, 501])
def test_answers_that_will_be_the_same_again_are_refusals(web, status):
    with pytest.raises(StorageError, match=rf"{web}/{status}: {status}.*; check the address, the network and"):
        read(f"{web}/{status}")


def test_a_server_that_is_not_there_may_come():
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:9/a: .*; check the address"):
        read("http://127.0.0.1:9/a")


@pytest.mark.parametrize("uri", ["{web}/404", "{folder}/none", "memory://no/a"])
def test_what_is_not_there_is_not_found(web, tmp_path, uri):
    with pytest.raises(FileNotFoundError):
        read(uri.format(web=web, folder=tmp_path))


def test_a_missing_permission_is_a_refusal(tmp_path):
    (tmp_path / "a").write_text("mine")
    (tmp_path / "a").chmod(0)
    with unprivileged(tmp_path), pytest.raises(StorageError, match=r"/a: no permission \(Permission denied\); check"):
        read(f"{tmp_path}/a")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, r"^/here/\.a\.tmp: the disk is full \(No space left on device\); free space on it, then go on$"),
        (errno.EDQUOT, r"^/here/\.a\.tmp: the disk is full \("),
        (errno.EROFS, r"^/here/a: the disk can only be read \(Read-only file system\); mount it for writing"),
        (errno.EIO, r"^/here/a cannot be used \(.*Input/output error"),
    ],
)
def test_what_a_disk_refuses_is_told_with_what_to_do(number, expected):
    with pytest.raises(StorageError, match=expected), explained("/here/a"):
        raise OSError(number, os.strerror(number), "/here/.a.tmp")


@pytest.mark.parametrize("number", [errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ECONNRESET])
def test_faults_of_a_mounted_network_may_pass(number):
    with pytest.raises(TransientError, match=f"^/here/a: .*{os.strerror(number)}"), explained("/here/a"):
        raise OSError(number, os.strerror(number))


def test_mistakes_of_the_program_come_as_they_are():
    with pytest.raises(KeyError), explained("/here/a"):
        raise KeyError("a")


def test_a_name_that_no_file_can_have_is_told_so():
    with pytest.raises(StorageError, match=r"'/tmp/a\\x00b': embedded null byte; use a path or a URI that can exist"):
        read("/tmp/a\0b")


def test_an_unknown_protocol_is_told_so():
    with pytest.raises(StorageError, match="gopher://a: Protocol not known: gopher; use a path or a URI"):
        filesystem("gopher://a")


@pytest.mark.parametrize("uri", ["ftp://me:hunter2@host/a", "https://host/a?X-Amz-Signature=hunter2"])
def test_credentials_in_a_uri_are_refused_and_not_repeated(uri):
    with pytest.raises(StorageError, match="a URI with credentials in it: remove them") as caught:
        filesystem(uri)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("place", ["{folder}/x/y/a", "file://{folder}/x/y/a", "memory://{folder}/a"])
def test_a_file_appears_whole_moves_and_vanishes(tmp_path, place):
    uri = place.format(folder=tmp_path)
    with appears_whole(uri) as temporary:
        temporary.write_bytes(b"1")
        with pytest.raises(FileNotFoundError):
            read(uri)
    assert read(uri) == b"1"

    move(uri, f"{uri}.old/a")
    assert read(f"{uri}.old/a") == b"1"

    for _ in range(2):
        remove(f"{uri}.old/a")
    with pytest.raises(FileNotFoundError):
        read(f"{uri}.old/a")


@pytest.mark.parametrize("place", ["{folder}/a", "file://{folder}/a", "memory://{folder}/a"])
def test_a_library_that_takes_a_path_is_given_one_with_the_content(tmp_path, place):
    uri = place.format(folder=tmp_path)
    with appears_whole(uri) as temporary:
        temporary.write_bytes(b"1")
    with on_disk(uri) as path:
        assert path.read_bytes() == b"1"
    assert path.exists() == (path == tmp_path / "a")  # only a copy vanishes
    assert read(uri) == b"1"
    with pytest.raises(FileNotFoundError), on_disk(f"{uri}-other") as path:
        path.read_bytes()


def test_an_error_of_the_block_comes_as_it_is_and_nothing_stays(tmp_path):
    def write_half():
        with appears_whole(f"{tmp_path}/a") as temporary:
            temporary.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_a_place_beneath_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError, match=r"/file/a/b cannot be used \(.*Not a directory"),
        appears_whole(f"{tmp_path}/file/a/b"),
    ):
        pass


def test_listings_are_not_kept():
    assert filesystem("s3://bucket/a")[0].dircache.use_listings_cache is False


def test_no_package_of_a_store_is_imported_before_it_is_used():
    """Most commands read local files only; these packages take longer to import than they take to answer."""
    seen = "import sys, clipes.tasks.storage.filesystem, clipes.tasks.storage.user_files; print(*sys.modules)"
    root = Path(__file__).parents[3]
    loaded = subprocess.run([sys.executable, "-c", seen], cwd=root, capture_output=True, text=True, check=True).stdout
    assert not {"botocore", "aiohttp", "s3fs"} & set(loaded.split())


@pytest.fixture
def as_identity(s3_folder, s3, monkeypatch):
    """A way to become another one for the S3 server."""

    def become(identity):
        for name, value in s3.environment(identity).items():
            monkeypatch.setenv(name, value)
        S3FileSystem.clear_instance_cache()

    return become


def write(uri):
    with appears_whole(uri) as temporary:
        temporary.write_bytes(b"1")


def listed(uri):
    with explained(uri):
        fs, path = filesystem(uri)
        return fs.ls(path)


@pytest.mark.parametrize("act", [read, write, listed, remove, lambda uri: move(uri, f"{uri}.old")])
@pytest.mark.parametrize("identity", [STRANGER, UNKNOWN, replace(WRITER, secret_key="wrong")], ids=lambda who: who.name)
def test_whom_s3_does_not_know_or_lets_do_nothing_is_told_so(as_identity, s3_folder, identity, act):
    as_identity(identity)
    with pytest.raises(StorageError, match=rf"^{s3_folder}/a: no permission \(.+\); check its mode or the cred"):
        act(f"{s3_folder}/a")


def test_who_may_only_read_from_s3_is_told_so_when_writing(as_identity, s3_folder):
    write(f"{s3_folder}/a")
    as_identity(READER)
    assert read(f"{s3_folder}/a") == b"1"
    for act in (write, remove, lambda uri: move(uri, f"{uri}.old")):
        with pytest.raises(StorageError, match=r"/a: no permission \(Access Denied\.\); check"):
            act(f"{s3_folder}/a")
    assert read(f"{s3_folder}/a") == b"1"


@pytest.mark.parametrize("act", [read, listed, lambda uri: move(uri, f"{uri}.old")])
def test_a_bucket_that_is_not_there_is_told_so(s3_folder, act):
    with pytest.raises(StorageError, match=r"^s3://nobodys-bucket/a: there is no such bucket; make it, or"):
        act("s3://nobodys-bucket/a")


def test_who_has_no_credentials_is_told_so(s3_folder, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    S3FileSystem.clear_instance_cache()
    with pytest.raises(StorageError, match=f"^{s3_folder}/a: Unable to locate credentials; check the address"):
        read(f"{s3_folder}/a")


def test_an_s3_server_that_does_not_answer_may_come(s3_folder, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    S3FileSystem.clear_instance_cache()
    for act in (read, write, listed, remove):
        with pytest.raises(TransientError, match=f"^{s3_folder}/a: Could not connect to the endpoint URL"):
            act(f"{s3_folder}/a")
