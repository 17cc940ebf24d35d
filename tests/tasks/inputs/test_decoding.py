import io
import struct
import warnings

import fsspec
import numpy as np
import pytest
from fsspec import AbstractFileSystem
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
@pytest.mark.usefixtures("impatient")
def test_http_statuses_are_permanent_or_transient_errors(server, answer, kind):
    with pytest.raises(PhotoError) as caught:
        read_bytes(f"{server}/{answer}.jpg")
    assert caught.value.kind == kind
    assert caught.value.reason.startswith(f"{server}/{answer}.jpg")


@pytest.mark.usefixtures("impatient")
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


class BrokenFileSystem(AbstractFileSystem):
    """A file system whose every read fails with an error that is not about files."""

    protocol = "broken"

    def cat_file(self, path, start=None, end=None, **_):
        raise RuntimeError("out of order")

    def info(self, path, **_):
        return {"name": path, "size": 3, "type": "file"}


def test_any_other_error_while_reading_is_the_error_of_the_photo():
    fsspec.register_implementation("broken", BrokenFileSystem, clobber=True)
    with pytest.raises(PhotoError, match=r"^broken://host/a cannot be read: RuntimeError: out of order$") as caught:
        read_bytes("broken://host/a")
    assert caught.value.kind is ErrorKind.UNREADABLE


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


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (struct.error("unpack requires a buffer of 4 bytes"), "struct.error: unpack requires a buffer of 4 bytes"),
        (AssertionError(), "AssertionError"),
        (KeyError(320), "KeyError: 320"),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (UserWarning("two\nlines"), "UserWarning: two lines"),
    ],
)
def test_any_error_while_decoding_is_the_error_of_the_photo(error, cause):
    with pytest.raises(PhotoError) as caught, open_image("a.png", png_bytes()):
        raise error
    assert caught.value.kind is ErrorKind.UNDECODABLE
    assert caught.value.reason == f"a.png ({len(png_bytes())} bytes) cannot be decoded: {cause}"
    assert caught.value.__cause__ is error


def test_lack_of_memory_while_decoding_is_transient():
    with (
        pytest.raises(PhotoError, match=r"^a\.png \(\d+ bytes\) cannot be decoded: MemoryError$") as caught,
        open_image("a.png", png_bytes()),
    ):
        raise MemoryError
    assert caught.value.kind is ErrorKind.OUT_OF_MEMORY


def test_an_interruption_while_decoding_is_not_caught():
    with pytest.raises(KeyboardInterrupt), open_image("a.png", png_bytes()):
        raise KeyboardInterrupt


def test_the_error_of_a_photo_names_the_file():
    with pytest.raises(PhotoError, match=r"^a\.png: too small$") as caught, open_image("a.png", png_bytes()):
        raise PhotoError(ErrorKind.TOO_SMALL, "too small")
    assert caught.value.kind is ErrorKind.TOO_SMALL


def test_warnings_of_pil_are_hidden_whatever_filters_are_set():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with open_image("a.png", png_bytes()):
            warnings.warn_explicit("corrupt", UserWarning, "Image.py", 1, module="PIL.Image")
            warnings.warn_explicit("other", UserWarning, "module.py", 1, module="module")
    assert [str(each.message) for each in seen] == ["other"]


def png_bytes() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()
