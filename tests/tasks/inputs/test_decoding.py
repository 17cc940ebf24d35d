import io

import numpy as np
import pytest
from PIL import Image
from s3fs import S3FileSystem
from support.web_server import Handler, serve

from clipes.tasks.inputs.decoding import open_image, read_bytes, translate_photo_errors
from clipes_core.errors import ErrorKind, PhotoError, StorageError


class Answers(Handler):
    """A request handler that answers with the HTTP status in the path, or with fewer bytes than announced."""

    def do_GET(self):  # noqa: N802 - the name that http.server calls
        status = self.path.lstrip("/").partition(".")[0]
        self.send_response(200 if status == "short" else int(status))
        self.send_header("Content-Length", "1000" if status == "short" else "0")
        self.end_headers()
        if status == "short":
            self.wfile.write(b"ten bytes.")


@pytest.fixture(scope="module")
def server():
    with serve(Answers) as url:
        yield url


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("404", "missing"),
        ("401", "unreadable"),
        ("403", "unreadable"),
        ("410", "unreadable"),
        ("408", "network"),
        ("429", "network"),
        ("500", "network"),
        ("503", "network"),
        ("short", "network"),
    ],
)
def test_http_statuses_are_permanent_or_transient_errors(server, answer, kind):
    with pytest.raises(PhotoError) as caught:
        read_bytes(f"{server}/{answer}.jpg")
    assert caught.value.kind == kind
    assert caught.value.reason.startswith(f"{server}/{answer}.jpg")


def test_a_server_that_cannot_be_reached_is_transient():
    with pytest.raises(PhotoError) as caught:
        read_bytes("http://127.0.0.1:9/a.jpg")
    assert caught.value.kind == "network"
    assert caught.value.kind.transient


@pytest.fixture
def no_connections():
    """Drop all cached file systems before and after the test."""
    S3FileSystem.clear_instance_cache()
    yield
    S3FileSystem.clear_instance_cache()


@pytest.mark.slow
@pytest.mark.usefixtures("no_connections")
def test_an_object_store_that_cannot_be_reached_is_transient(monkeypatch):
    settings = {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "ENDPOINT_URL": "http://127.0.0.1:9"}
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(PhotoError) as caught:
        read_bytes("s3://photos/a.jpg")
    assert caught.value.kind == "network"


def test_permanent_failures_become_photo_errors():
    with pytest.raises(PhotoError, match=r"^/a\.jpg does not exist$") as missing, translate_photo_errors("/a.jpg"):
        raise FileNotFoundError("a.jpg")
    with pytest.raises(PhotoError, match=r"^the bucket refuses$") as refused, translate_photo_errors("/a.jpg"):
        raise StorageError("the bucket refuses")
    assert (missing.value.kind, refused.value.kind) == (ErrorKind.MISSING, ErrorKind.UNREADABLE)


def test_an_error_while_decoding_names_the_file():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    with (
        pytest.raises(PhotoError, match=r"^a\.png \(4000 bytes\) cannot be decoded: ") as caught,
        open_image("a.png", buffer.getvalue()[:4000]) as image,
    ):
        image.load()
    assert caught.value.kind == ErrorKind.UNDECODABLE
