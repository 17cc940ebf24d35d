"""Fixtures of the tests of `clipes init`."""

import pytest


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Return the folder `photos`, which is empty, in the working directory."""
    (tmp_path / "work" / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work" / "photos"
