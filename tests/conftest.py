"""Where the tests find real photos and the published program's outputs."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def shared_folder(name: str) -> Path:
    """A folder beside the checkout, or beside the real data that the environment names."""
    real_data = os.environ.get("CLIPES_REAL_DATA")
    base = Path(real_data).parent if real_data else ROOT.parent / "shared"
    folder = Path(real_data) if real_data and name == "voc_mini" else base / name
    if folder.is_dir():
        return folder
    reason = f"needs {folder}; set CLIPES_REAL_DATA to the folder voc_mini"
    if os.environ.get("CI"):
        pytest.fail(reason)
    return pytest.skip(reason)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """251 real VOC photos in VOC's layout."""
    return shared_folder("voc_mini")


@pytest.fixture(scope="session")
def golden() -> Path:
    """The published program's outputs on nine of the photos, with the weights they were made with."""
    return shared_folder("golden")


@pytest.fixture(scope="session")
def configs() -> Path:
    """The configs that are shipped."""
    return ROOT / "configs"
