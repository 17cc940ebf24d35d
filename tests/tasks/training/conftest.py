"""What the tests of the training's data share."""

import pytest
from masked_photos import MaskedPhotos

from tasks.training.cached_files import CachedFiles


@pytest.fixture
def masked(tmp_path):
    """No photos yet, on this disk."""
    return MaskedPhotos(str(tmp_path / "data"))


@pytest.fixture
def seven(masked):
    """Seven photos in two shards."""
    for number in range(7):
        masked.add(f"p{number}", shard=number % 2)
    return masked


@pytest.fixture
def files(tmp_path):
    """A cache with room for all."""
    return CachedFiles(tmp_path / "cache", 1)
