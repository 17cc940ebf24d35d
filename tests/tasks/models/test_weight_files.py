import hashlib

import fsspec
import pytest

from clipes.tasks.models.weight_files import file_digest, local_copy
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
