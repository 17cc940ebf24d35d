"""What the tests of the training's data share."""

import pytest
from support.masked_photos import MaskedPhotos, confidence_of, ids_of, mask_row, noise

from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.runs.record.recorder import record_run
from clipes.tasks.training.data.cached_files import CachedFiles


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


@pytest.fixture
def run_with_masks(prepared, masked):
    """A run of two photos of 64 x 48 px, written down; its masks are of these tests."""
    run = prepared(dataset={"exif": "apply"})
    for shard, image_id in enumerate(("a", "d")):
        image = noise(shard, (48, 64))
        masked.add(image_id, row=mask_row(image_id, ids_of(image), confidence_of(image)), shard=shard)
    with record_run(run) as record:
        for shard, uri in enumerate(masked.artifacts()):
            record.ledger.started("masks", shard, 1)
            record.ledger.finished(ShardRecord("masks", shard, uri, 1, cached=False), 1)
    return run
