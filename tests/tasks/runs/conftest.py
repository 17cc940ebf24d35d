"""A small data set, of which half of the photos have a true mask."""

import pytest
from PIL import Image


@pytest.fixture
def six(tiny):
    """Return six photos in two shards, three of them with truth."""
    Image.new("L", (64, 48), 8).save(tiny.folder / "truth.png")
    for name in "abcdef":
        tiny.add(name, "cat;dog", truth="truth.png" if name in "abd" else "")
    return tiny
