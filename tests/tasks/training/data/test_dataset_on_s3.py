from dataclasses import replace

import pytest
from s3fs import S3FileSystem
from support.dataset_samples import RANDOM, same, samples
from support.masked_photos import MaskedPhotos, confidence_of, ids_of, mask_row, noise, png

import clipes_core.segmentation  # noqa: F401  registers PackConfidence
from clipes.tasks.storage.retry_policy import ONE_MINUTE
from clipes.tasks.training.data import cached_files
from clipes.tasks.training.data.cached_files import CachedFiles
from clipes.tasks.training.data.dataset import PseudoMaskDataset
from clipes_core.errors import TransientError

pytestmark = pytest.mark.usefixtures("mmseg_scope")


def test_a_photo_replaced_under_the_same_name_is_fetched_again(masked, files, s3_folder):
    masked.uri = s3_folder
    masked.add("a")
    assert samples(PseudoMaskDataset(masked.training_set(), [], cache=files), 1)[0]["reads"][0].source == "fetched"
    masked.shards = [[], []]
    masked.add("b")
    image = noise(77)
    masked.add("a", data=png(image), row=mask_row("a", ids_of(image), confidence_of(image)))

    found = samples(PseudoMaskDataset(masked.training_set(), [], cache=files), 2)

    (anew,) = (sample["img"] for sample in found if sample["image_id"] == "a")
    assert (anew == image[..., ::-1]).all()


def test_a_cached_photo_emptied_by_a_power_cut_is_fetched_again(masked, files, s3_folder):
    masked.uri = s3_folder
    masked.add("a")
    dataset = PseudoMaskDataset(masked.training_set(), [], cache=files)
    before = dataset[0]
    for copy in files.folder.rglob("*.val"):
        copy.write_bytes(b"")

    after = dataset[0]

    assert same(before, after)
    assert after["unusable"] == ()
    assert [read.source for read in after["reads"]] == ["fetched", "fetched"]
    assert [read.source for read in dataset[0]["reads"]] == ["hit", "hit"]


@pytest.fixture
def seven_on_s3(s3_folder):
    """Return the seven photos and their masks in a bucket."""
    on_s3 = MaskedPhotos(s3_folder)
    for number in range(7):
        on_s3.add(f"p{number}", shard=number % 2)
    return on_s3


@pytest.fixture
def disconnect_s3(monkeypatch):
    """Return a function after which the bucket no longer answers."""

    def disconnect():
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setattr(S3FileSystem, "retries", 1)
        monkeypatch.setattr(cached_files, "ONE_MINUTE", replace(ONE_MINUTE, attempts=1))
        S3FileSystem.clear_instance_cache()

    return disconnect


def test_the_second_epoch_fetches_nothing_from_s3(seven_on_s3, files, tmp_path, disconnect_s3):
    """Keep photos and masks in a bucket and load them in two worker processes."""
    training_set = seven_on_s3.training_set()
    dataset = PseudoMaskDataset(training_set, RANDOM, cache=files)
    first = samples(dataset, 7, workers=2)
    disconnect_s3()

    second = samples(dataset, 7, workers=2, skipped=7)
    repeated = samples(dataset, 7, workers=2)

    sources = [read.source for sample in first for read in sample["reads"]]
    assert set(sources) == {"fetched", "hit"}
    assert sources.count("fetched") <= 7 + 2  # workers load ahead and may already have fetched later samples
    assert {read.source for sample in second for read in sample["reads"]} == {"hit"}
    assert all(same(one, other) for one, other in zip(first, repeated, strict=True))
    with pytest.raises(TransientError, match="Could not connect"):  # any read from S3 would fail
        PseudoMaskDataset(training_set, RANDOM, cache=CachedFiles(tmp_path / "other", 1))[0]
