import os
from pathlib import Path

import pytest
from support.web_server import Handler, serve

from clipes.tasks.inputs.sources.source import ABSENT, UNKNOWN
from clipes.tasks.inputs.sources.table import read_listed
from clipes.tasks.storage.files import write_file
from clipes.tasks.storage.listing import find_files
from clipes_core.errors import PhotoError


@pytest.fixture(params=["local", "link", "s3", "memory"])
def uri(request, tmp_path):
    """Write a file of three bytes on a file system, and return its URI."""
    uri = {"s3": lambda: f"{request.getfixturevalue('s3_folder')}/a", "memory": lambda: "memory://listed/a"}.get(
        request.param, lambda: str(tmp_path / "a")
    )()
    write_file(uri, b"old")
    if request.param == "link":
        (tmp_path / "link").symlink_to("a")
        return str(tmp_path / "link")
    return uri


def listed(uri):
    return find_files([uri])[uri].fingerprint


def replace_content(uri, data):
    """Write other bytes, with another modification time."""
    before = Path(uri).stat().st_mtime_ns if uri.startswith("/") else 0
    target = str(Path(uri).resolve()) if uri.startswith("/") else uri
    write_file(target, data)
    if uri.startswith("/"):
        os.utime(uri, ns=(before + 1, before + 1))


def test_a_file_that_is_as_listed_is_read(uri):
    assert read_listed(uri, listed(uri)) == b"old"
    assert read_listed(uri, UNKNOWN) == b"old"


def test_a_file_that_has_changed_since_it_was_listed_is_refused(uri):
    fingerprint = listed(uri)
    replace_content(uri, b"newer" if uri.startswith("memory") else b"new")
    with pytest.raises(PhotoError, match=rf"^{uri} has changed since the run listed it: run again$") as caught:
        read_listed(uri, fingerprint)
    assert caught.value.kind == "changed"
    assert caught.value.kind.transient
    assert read_listed(uri, listed(uri)).startswith(b"new")


def test_a_file_that_appeared_since_the_listing_is_refused(uri):
    with pytest.raises(PhotoError, match="has changed since the run listed it"):
        read_listed(uri, ABSENT)


def test_a_missing_file_is_missing(tmp_path):
    for fingerprint in (ABSENT, UNKNOWN, "3-1"):
        with pytest.raises(FileNotFoundError):
            read_listed(str(tmp_path / "a"), fingerprint)


class Tagged(Handler):
    """Answers with a file whose content and ETag a test can replace."""

    content = b"old"

    def do_HEAD(self):  # noqa: N802 - the name that http.server calls
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.send_header("ETag", f'"{self.content.decode()}"')
        self.end_headers()

    def do_GET(self):  # noqa: N802 - the name that http.server calls
        self.do_HEAD()
        self.wfile.write(self.content)


def test_a_web_server_is_asked_for_the_etag(monkeypatch):
    with serve(Tagged) as url:
        assert read_listed(f"{url}/a", "etag:old") == b"old"
        monkeypatch.setattr(Tagged, "content", b"new")
        with pytest.raises(PhotoError, match="has changed since the run listed it"):
            read_listed(f"{url}/a", "etag:old")
        assert read_listed(f"{url}/a", "3-") == b"new"  # without an ETag, only the size is compared
