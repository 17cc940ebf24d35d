import pytest


@pytest.fixture
def path(tmp_path):
    """Return a path for a file."""
    return tmp_path / "a.parquet"
