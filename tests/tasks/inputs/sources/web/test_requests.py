"""Requests to web servers that fail, redirect in a circle or do not answer."""

import logging

import pytest
from support.forks import exit_code_of_fork, held_by_a_thread
from support.free_ports import free_ports
from support.web_server import Handler, flaky_files, serve

from clipes.tasks.inputs.photos import Photo, load_photos
from clipes.tasks.inputs.sources.source import UNKNOWN
from clipes.tasks.inputs.sources.table import read_listed
from clipes.tasks.inputs.sources.web import requests
from clipes.tasks.inputs.sources.web.requests import PATIENCE
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import PhotoError, StorageError, TransientError


def test_a_server_that_fails_is_named_once(caplog):
    with serve(flaky_files({"/a.jpg": b"a"}, every=2)) as url:
        assert [read_listed(f"{url}/a.jpg", UNKNOWN) for _ in range(4)] == [b"a"] * 4
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{url}/a.jpg: ")
    assert warnings[0].endswith(": clipes repeats requests to this server that fail")


def test_a_process_that_is_forked_while_a_thread_asks_a_server_can_read():
    def read():
        assert read_listed(f"{url}/a.jpg", UNKNOWN) == b"a"

    with serve(flaky_files({"/a.jpg": b"a"}, every=0)) as url:
        read()
        with held_by_a_thread(requests._lock):
            assert exit_code_of_fork(read) == 0
        read()


class LoggedOut(Handler):
    """Redirects every file to a login page, and the file `/loop.jpg` to itself."""

    def do_GET(self):  # noqa: N802 - the name that http.server calls
        page = b"<!DOCTYPE html><title>Log in</title>"
        self.send_response(200 if self.path == "/login" else 302)
        self.send_header("Location", "/loop.jpg" if self.path == "/loop.jpg" else "/login")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)


def test_a_photo_behind_a_login_page_is_named_with_the_reason():
    with serve(LoggedOut) as url:
        config = DatasetConfig(format="list", reach=(url,))
        photo = Photo("a", f"{url}/a.jpg", 0, UNKNOWN, ())
        ((_, failure),) = load_photos([photo], config)
    assert isinstance(failure, PhotoError)
    assert failure.reason.startswith(f"{url}/a.jpg (")
    assert failure.reason.endswith(
        "it is a web page, such as a login page: check its address, and download the photo again"
    )


def test_a_server_that_redirects_in_a_circle_is_reported():
    with serve(LoggedOut) as url, pytest.raises(StorageError) as caught:
        read_listed(f"{url}/loop.jpg", UNKNOWN)
    assert str(caught.value) == (
        f"{url}/loop.jpg: the server redirects this address again and again: open it in a browser, and correct it"
    )


@pytest.mark.usefixtures("impatient")
def test_a_silent_server_is_a_timeout(monkeypatch):
    monkeypatch.setattr(requests, "SILENCE_S", 0.05)

    class Silent(Handler):
        def do_GET(self):  # noqa: N802 - the name that http.server calls
            self.connection.recv(1)  # until the client closes the connection

    with serve(Silent) as url, pytest.raises(TransientError) as caught:
        read_listed(f"{url}/a.jpg", UNKNOWN)
    assert isinstance(caught.value.__cause__, TimeoutError)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_never_answers_is_not_waited_for_again_and_again(monkeypatch):
    (port,) = free_ports(1)
    attempts, request = [], requests._request
    monkeypatch.setattr(requests, "_request", lambda *given: attempts.append(given) or request(*given))
    for _ in range(PATIENCE + 3):
        with pytest.raises(TransientError):
            read_listed(f"http://127.0.0.1:{port}/a.jpg", UNKNOWN)
    assert len(attempts) == PATIENCE * requests.POLICY.attempts + 3
