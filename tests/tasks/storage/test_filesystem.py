import errno
import gc
import os
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import fsspec.asyn
import pytest
from s3fs import S3FileSystem
from support.forks import exit_code_of_fork, held_by_a_thread
from support.permissions import unprivileged
from support.s3_server import READER, STRANGER, UNKNOWN, WRITER
from support.web_server import Handler, serve

from clipes.tasks.storage.files import move, read_file, remove, write_file
from clipes.tasks.storage.filesystem import filesystem, translate_storage_errors
from clipes.tasks.storage.listing import find_files, list_names
from clipes_core.errors import StorageError, TransientError


class Answers(Handler):
    """A request handler that answers with the HTTP status in the path, or redirects to an address with a token."""

    def do_GET(self):  # noqa: N802 - the name that http.server calls
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/403?token=hunter2")
        else:
            self.send_response(int(self.path.lstrip("/").partition("?")[0]))
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture(scope="module")
def web():
    with serve(Answers) as url:
        yield url


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_http_statuses_that_may_change_are_transient(web, status):
    with pytest.raises(TransientError, match=rf"{web}/{status}: {status}.*; check the address, the network and"):
        read_file(f"{web}/{status}")


@pytest.mark.parametrize("status", [400, 401, 403, 410, 501])
def test_http_statuses_that_will_not_change_are_refusals(web, status):
    with pytest.raises(StorageError, match=rf"{web}/{status}: {status}.*; check the address, the network and"):
        read_file(f"{web}/{status}")


def test_a_token_in_an_address_to_which_a_server_redirects_is_not_repeated(web):
    with pytest.raises(StorageError, match=rf"{web}/moved: 403, .*url='http://\*\*\*'; check the address") as caught:
        read_file(f"{web}/moved")
    assert "hunter2" not in str(caught.value)


def test_a_server_that_is_down_is_transient():
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:9/a: .*; check the address"):
        read_file("http://127.0.0.1:9/a")


@pytest.mark.parametrize("uri", ["{web}/404", "{folder}/none", "memory://no/a"])
def test_a_missing_file_is_not_found(web, tmp_path, uri):
    with pytest.raises(FileNotFoundError):
        read_file(uri.format(web=web, folder=tmp_path))


def test_a_missing_permission_is_a_refusal(tmp_path):
    (tmp_path / "a").write_text("mine")
    (tmp_path / "a").chmod(0)
    with unprivileged(tmp_path), pytest.raises(StorageError, match=r"/a: no permission \(Permission denied\); check"):
        read_file(f"{tmp_path}/a")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, r"^/here/\.a\.tmp: the disk is full \(No space left on device\); free space on it and rerun$"),
        (errno.EDQUOT, r"^/here/\.a\.tmp: the disk is full \("),
        (errno.EROFS, r"^/here/a: the disk is read-only \(Read-only file system\); mount it for writing"),
        (errno.EIO, r"^/here/a cannot be used \(.*Input/output error"),
    ],
)
def test_the_error_of_a_disk_says_what_to_do(number, expected):
    with pytest.raises(StorageError, match=expected), translate_storage_errors("/here/a"):
        raise OSError(number, os.strerror(number), "/here/.a.tmp")


@pytest.mark.parametrize("number", [errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ECONNRESET])
def test_faults_of_a_network_disk_are_transient(number):
    with pytest.raises(TransientError, match=f"^/here/a: .*{os.strerror(number)}"), translate_storage_errors("/here/a"):
        raise OSError(number, os.strerror(number))


def test_programming_errors_are_raised_unchanged():
    with pytest.raises(KeyError), translate_storage_errors("/here/a"):
        raise KeyError("a")


def test_an_invalid_file_name_is_a_refusal():
    with pytest.raises(StorageError, match=r"'/tmp/a\\x00b': embedded null byte; use a valid path or URI"):
        read_file("/tmp/a\0b")


def test_an_unknown_protocol_is_a_refusal():
    with pytest.raises(StorageError, match="gopher://a: Protocol not known: gopher; use a path or a URI"):
        filesystem("gopher://a")


@pytest.mark.parametrize("uri", ["zip://a.jpg", "reference://a", "github://a/b", "dir://a"])
def test_a_protocol_that_needs_more_than_a_uri_is_a_refusal(uri):
    with pytest.raises(StorageError, match=f"{uri}: .+; use a path or a URI that fsspec can open"):
        filesystem(uri)


@pytest.mark.parametrize("name", ["what?.jpg", "#1 100%.jpg", "a@2x.jpg", "a::b.jpg", "a%20b.jpg", "a=1&b=2.jpg"])
@pytest.mark.parametrize("place", ["local", "s3"])
def test_names_with_special_characters_are_files(request, tmp_path, place, name):
    folder = tmp_path if place == "local" else request.getfixturevalue("s3_folder")
    write_file(f"{folder}/{name}", b"photo")
    assert read_file(f"{folder}/{name}") == b"photo"
    assert list_names(str(folder)) == [name]
    assert list(find_files([f"{folder}/{name}"])) == [f"{folder}/{name}"]


@pytest.mark.parametrize("uri", ["ftp://me:hunter2@host/a", "https://host/a?X-Amz-Signature=hunter2"])
def test_a_uri_that_may_contain_a_password_is_refused_and_not_repeated(uri):
    with pytest.raises(StorageError, match="the URI may contain a password or token") as caught:
        filesystem(uri)
    assert "hunter2" not in str(caught.value)


def test_listings_are_not_cached():
    assert filesystem("s3://bucket/a")[0].dircache.use_listings_cache is False


def test_the_package_of_a_store_is_imported_on_first_use():
    """Check that a local command imports no cloud package, which takes longer than the command itself."""
    seen = "import sys, clipes.tasks.storage.run_status, clipes.tasks.storage.user_files; print(*sys.modules)"
    root = Path(__file__).parents[3]
    loaded = subprocess.run([sys.executable, "-c", seen], cwd=root, capture_output=True, text=True, check=True).stdout
    assert not {"botocore", "aiohttp", "s3fs"} & set(loaded.split())


@pytest.fixture
def as_identity(s3_folder, s3, monkeypatch):
    """Return a function that switches to another S3 user."""

    def become(identity):
        for name, value in s3.environment(identity).items():
            monkeypatch.setenv(name, value)
        S3FileSystem.clear_instance_cache()

    return become


def write(uri):
    write_file(uri, b"1")


def listed(uri):
    with translate_storage_errors(uri):
        fs, path = filesystem(uri)
        return fs.ls(path)


@pytest.mark.parametrize("act", [read_file, write, listed, remove, lambda uri: move(uri, f"{uri}.old")])
@pytest.mark.parametrize("identity", [STRANGER, UNKNOWN, replace(WRITER, secret_key="wrong")], ids=lambda who: who.name)
def test_an_unknown_or_unprivileged_s3_user_is_refused(as_identity, s3_folder, identity, act):
    as_identity(identity)
    with pytest.raises(StorageError, match=rf"^{s3_folder}/a: no permission \(.+\); check its permissions or the cred"):
        act(f"{s3_folder}/a")


def test_a_read_only_s3_user_cannot_write(as_identity, s3_folder):
    write(f"{s3_folder}/a")
    as_identity(READER)
    assert read_file(f"{s3_folder}/a") == b"1"
    for act in (write, remove, lambda uri: move(uri, f"{uri}.old")):
        with pytest.raises(StorageError, match=r"/a(\.old)?: no permission \(Access Denied\.\); check"):
            act(f"{s3_folder}/a")
    assert read_file(f"{s3_folder}/a") == b"1"


@pytest.mark.parametrize("act", [read_file, listed, lambda uri: move(uri, f"{uri}.old")])
def test_a_missing_bucket_is_a_refusal(s3_folder, act):
    with pytest.raises(StorageError, match=r"^s3://nobodys-bucket/a: the bucket does not exist; create it or"):
        act("s3://nobodys-bucket/a")


def test_missing_credentials_are_a_refusal(s3_folder, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    S3FileSystem.clear_instance_cache()
    with pytest.raises(StorageError, match=f"^{s3_folder}/a: Unable to locate credentials; check the address"):
        read_file(f"{s3_folder}/a")


def test_an_s3_server_that_does_not_answer_is_transient(s3_folder, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    S3FileSystem.clear_instance_cache()
    for act in (read_file, write, listed, remove):
        with pytest.raises(TransientError, match=f"^{s3_folder}/a: Could not connect to the endpoint URL"):
            act(f"{s3_folder}/a")


@pytest.mark.parametrize("uri", ["zip://a.jpg", "tar://a.jpg", "reference://a.jpg"])
def test_any_error_of_a_file_systems_constructor_is_a_storage_error(uri):
    with pytest.raises(StorageError, match=f"^{uri}: .*; use a path or a URI that fsspec can open$"):
        filesystem(uri)


def test_two_colons_in_a_path_are_part_of_a_name():
    write_file("memory://x/a::b/c::d.jpg", b"photo")
    assert read_file("memory://x/a::b/c::d.jpg") == b"photo"
    remove("memory://x/a::b/c::d.jpg")


class Connections(Handler):
    """Counts the connections, which stay open."""

    protocol_version = "HTTP/1.1"
    count = 0

    def setup(self):
        type(self).count += 1
        super().setup()

    def do_GET(self):  # noqa: N802 - the name that http.server calls
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")


def test_a_forked_process_leaves_the_connections_of_its_parent_alone(monkeypatch):
    monkeypatch.setattr(Connections, "count", 0)

    def read():
        gc.collect()
        assert read_file(f"{url}/a") == b"ok"

    with serve(Connections) as url:
        read()
        try:
            assert [exit_code_of_fork(read) for _ in range(2)] == [0, 0]
            read()
            assert Connections.count == 3  # one for each process
        finally:
            filesystem(url)[0].clear_instance_cache()
            gc.collect()  # closes the connection, for which the server waits


def test_the_file_systems_of_s3_outlive_garbage_collections_in_a_forked_process(s3_folder):
    def read():
        gc.collect()
        assert used() is not None
        assert read_file(f"{s3_folder}/a") == b"content"

    write_file(f"{s3_folder}/a", b"content")
    used = weakref.ref(filesystem(s3_folder)[0])
    assert exit_code_of_fork(read) == 0
    assert read_file(f"{s3_folder}/a") == b"content"


def test_a_process_that_is_forked_while_a_thread_holds_the_lock_of_fsspec_can_read(s3_folder):
    write_file(f"{s3_folder}/a", b"content")
    with held_by_a_thread(fsspec.asyn.get_lock()):
        assert exit_code_of_fork(lambda: read_file(f"{s3_folder}/a")) == 0
