import hashlib

import fsspec
import pytest
from support.web_server import Handler, serve

from clipes.tasks.models.weight_files import copy_place, file_digest, local_copy, web_place
from clipes_core.errors import WeightsError

KEY = "train.init"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Use a temporary folder as the cache of torch, and return it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hub" / "clipes"


@pytest.fixture
def remote():
    """Yield a remote file system without any files."""
    memory = fsspec.filesystem("memory")
    yield memory
    memory.rm("/weights", recursive=True)


def test_a_digest_is_the_start_of_the_sha256(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"weights")
    assert file_digest(tmp_path / "a.pt") == hashlib.sha256(b"weights").hexdigest()[:16]


def test_a_remote_file_is_downloaded_once_per_version(cache, remote):
    remote.pipe_file("/weights/a.pt", b"first")
    first = local_copy("memory://weights/a.pt", KEY)
    modified = first.stat().st_mtime_ns
    assert local_copy("memory://weights/a.pt", KEY) == first
    assert first.stat().st_mtime_ns == modified

    remote.pipe_file("/weights/a.pt", b"second")
    second = local_copy("memory://weights/a.pt", KEY)

    assert (first.read_bytes(), second.read_bytes()) == (b"first", b"second")
    assert sorted(cache.iterdir()) == sorted([first, second])
    assert first.name.endswith("-a.pt")


def test_a_local_file_is_used_in_place(cache, tmp_path):
    (tmp_path / "a.pt").touch()
    for uri in (f"{tmp_path}/a.pt", f"file://{tmp_path}/a.pt"):
        assert local_copy(uri, KEY) == tmp_path / "a.pt"
    assert not cache.exists()


@pytest.mark.usefixtures("cache")
def test_the_error_for_a_missing_file_or_a_folder_names_the_setting(tmp_path):
    for uri in (f"{tmp_path}/none.pt", str(tmp_path), "memory://none.pt"):
        with pytest.raises(WeightsError, match=rf"^train\.init {uri}: expected a readable file, found none \(.+\); "):
            local_copy(uri, KEY)


@pytest.mark.usefixtures("cache")
def test_the_place_of_a_remote_file_is_known_before_its_download(remote):
    remote.pipe_file("/weights/a.pt", b"weights")
    place = copy_place("memory://weights/a.pt", KEY)
    assert (place.path, place.size_bytes, place.url) == (None, 7, "memory://weights/a.pt")
    copy = local_copy("memory://weights/a.pt", KEY)
    assert copy_place("memory://weights/a.pt", KEY).path == copy
    assert place.cache == str(copy.parent)
    with pytest.raises(WeightsError, match=r"^train\.init memory://none\.pt: expected a readable file, found none"):
        copy_place("memory://none.pt", KEY)


class Large(Handler):
    """Answers requests for headers only."""

    def do_HEAD(self):  # noqa: N802 - the name that http.server calls
        self.send_response(200)
        self.send_header("Content-Length", "170000000")
        self.end_headers()


def test_a_web_server_is_asked_only_for_the_size(tmp_path):
    with serve(Large) as url:
        place = web_place(f"{url}/a.pt", tmp_path / "a.pt")
        assert (place.path, place.size_bytes, place.cache) == (None, 170_000_000, str(tmp_path))
    with pytest.raises(OSError, match="Connection refused"):
        web_place(f"{url}/a.pt", tmp_path / "a.pt")
    (tmp_path / "a.pt").write_bytes(b"weights")
    assert web_place(f"{url}/a.pt", tmp_path / "a.pt").path == tmp_path / "a.pt"
