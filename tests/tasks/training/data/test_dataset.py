import io
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from PIL import ExifTags, Image
from s3fs import S3FileSystem
from support.masked_photos import confidence_of, ids_of, mask_row, noise, png
from torch.utils.data import DataLoader

import clipes_core.segmentation  # noqa: F401  registers PackConfidence
from clipes.tasks.training.data import cached_files
from clipes.tasks.training.data.cached_files import CachedFiles
from clipes.tasks.training.data.dataset import PseudoMaskDataset
from clipes.tasks.training.data.sampler import DrawSampler
from clipes.tasks.training.data.training_set import TrainingSet
from clipes_core.errors import BrokenArtifactError, DatasetError, PhotoError, TransientError
from clipes_core.pseudo_mask import ignore_unsure

RANDOM = [
    {
        "type": "RandomChoice",
        "transforms": [[{"type": "Resize", "scale_factor": 1.5}], [{"type": "RandomRotate", "prob": 1.0, "degree": 9}]],
    },
    {"type": "RandomCrop", "crop_size": (16, 16)},
    {"type": "RandomFlip", "prob": 0.5},
    {"type": "PhotoMetricDistortion"},
]


@pytest.fixture(autouse=True, scope="module")
def _mmseg():
    """Names of transforms mean MMSegmentation's, as they do in its runner."""
    init_default_scope("mmseg")


def samples(dataset, draws, workers=0, skipped=0):
    """The samples of some draws, as a training's loader gives them one by one."""
    sampler = DrawSampler(dataset)
    sampler.skip(skipped)
    loader = DataLoader(dataset, sampler=sampler, num_workers=workers, collate_fn=list)
    return [sample for _, (sample,) in zip(range(draws), loader, strict=False)]


def same(one, other):
    return all(np.array_equal(one[key], other[key]) for key in ("img", "gt_seg_map", "gt_confidence", "image_id"))


def order(dataset, draws):
    return [dataset[draw]["image_id"] for draw in draws]


def test_a_sample_is_the_photo_in_bgr_with_both_maps(seven, files):
    dataset = PseudoMaskDataset(seven.training_set(), [], cache=files)
    for draw in range(7):
        found = dataset[draw]
        image = noise(int(found["image_id"][1:]))
        assert (found["img"] == image[..., ::-1]).all()
        assert (found["gt_seg_map"] == ids_of(image)).all()
        assert (found["gt_confidence"] == confidence_of(image)).all()
        assert {found[key].dtype for key in ("img", "gt_seg_map", "gt_confidence")} == {np.dtype(np.uint8)}
        assert found["seg_fields"] == ["gt_seg_map", "gt_confidence"]
        assert found["img_shape"] == found["ori_shape"] == (24, 32)
        assert [read.source for read in found["reads"]] == ["local", "local"]
        assert found["unusable"] == ()


def test_names_and_colours_begin_with_background(seven):
    assert PseudoMaskDataset(seven.training_set(), []).metainfo == {
        "classes": ("background", "cat", "dog"),
        "palette": [[0, 0, 0], [128, 0, 0], [0, 128, 0]],
    }


def test_it_is_built_by_mmsegmentation_s_registry(seven, tmp_path):
    config = {
        "type": "PseudoMaskDataset",
        "training_set": seven.training_set(),
        "pipeline": RANDOM,
        "cache": {"folder": str(tmp_path), "size_gb": 0.5},
    }
    dataset = DATASETS.build(config)
    assert (len(dataset), dataset.files.size_gb) == (7, 0.5)


def test_stock_transforms_carry_the_confidence_with_the_labels(seven, files):
    """Up to the flip no value is interpolated in the maps, and none in a crop of the photo itself."""
    dataset = PseudoMaskDataset(seven.training_set(), RANDOM[1:3], cache=files)
    flipped = set()
    for draw in range(14):
        found = dataset[draw]
        image_rgb = found["img"][..., ::-1]
        assert image_rgb.shape[:2] == (16, 16)
        assert (found["gt_seg_map"] == ids_of(image_rgb)).all()
        assert (found["gt_confidence"] == confidence_of(image_rgb)).all()
        flipped.add(found["flip"])
    assert flipped == {True, False}


def test_labels_of_unsure_pixels_are_ignored_when_asked(seven, files):
    plain = PseudoMaskDataset(seven.training_set(), [], cache=files)
    switched = PseudoMaskDataset(seven.training_set(), [], ignore_below=0.6, cache=files)
    found, expected = switched[3], plain[3]
    assert (found["gt_seg_map"] == 255).any()
    assert (found["gt_seg_map"] == ignore_unsure(expected["gt_seg_map"], expected["gt_confidence"], 0.6)).all()
    assert (found["gt_confidence"] == expected["gt_confidence"]).all()


def test_a_photo_without_objects_is_all_background(masked, files):
    masked.add("empty", row=mask_row("empty", np.zeros((24, 32), np.uint8), np.full((24, 32), 255, np.uint8)))
    found = PseudoMaskDataset(masked.training_set(), RANDOM[1:], ignore_below=0.95, cache=files)[0]
    assert (found["gt_seg_map"] == 0).all()
    assert (found["gt_confidence"] == 255).all()


def test_every_epoch_has_every_photo_once_in_an_order_of_its_own(seven, files):
    training_set = seven.training_set()
    dataset = PseudoMaskDataset(training_set, [], seed=4, cache=files)
    epochs = [order(dataset, range(7 * epoch, 7 * epoch + 7)) for epoch in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [[f"p{number}" for number in range(7)]] * 3
    assert epochs[0] != epochs[1] != epochs[2]
    assert order(PseudoMaskDataset(training_set, [], seed=4, cache=files), range(7)) == epochs[0]
    assert order(PseudoMaskDataset(training_set, [], seed=5, cache=files), range(7)) != epochs[0]


def test_augmentation_differs_from_epoch_to_epoch_and_from_seed_to_seed(masked, files):
    masked.add("a")
    training_set = masked.training_set()
    one, other = (PseudoMaskDataset(training_set, RANDOM, seed, cache=files) for seed in (0, 1))
    assert not same(one[0], one[1])
    assert not same(one[0], other[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_pass_goes_on_bit_for_bit(seven, files, workers):
    dataset = PseudoMaskDataset(seven.training_set(), RANDOM, seed=3, cache=files)
    whole = samples(dataset, 17)
    random.random(), np.random.rand(), torch.rand(1)

    resumed = samples(dataset, 12, workers, skipped=5)

    assert all(same(one, other) for one, other in zip(whole[5:], resumed, strict=True))


def test_the_random_state_of_others_is_left_as_it_was(seven, files):
    dataset = PseudoMaskDataset(seven.training_set(), RANDOM, cache=files)

    def drawn():
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        yield
        yield random.random(), np.random.rand(), torch.rand(1).item()

    expected = list(drawn())[1]
    with_samples = drawn()
    next(with_samples)
    dataset[0], dataset[5]
    assert next(with_samples) == expected


def jpeg(image, orientation):
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(image).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_photos_of_any_kind_are_decoded_as_for_their_masks(masked, files):
    grey, rgba = noise(9)[..., 0], np.dstack([noise(8), np.zeros((24, 32), np.uint8)])
    maps = noise(0)[..., 0] % 3, noise(0)[..., 1]
    masked.add("a", data=png(grey), row=mask_row("a", *maps))
    masked.add("b", data=png(rgba), row=mask_row("b", *maps))
    masked.add("c", data=jpeg(noise(7), 6), row=mask_row("c", *(each.T.copy() for each in maps)))

    found = {sample["image_id"]: sample["img"] for sample in samples(_upright(masked, files), 3)}

    assert (found["a"] == grey[..., None]).all()
    assert (found["b"] == 255).all()
    assert found["c"].shape == (32, 24, 3)


def _upright(masked, files):
    return PseudoMaskDataset(masked.training_set(exif="apply"), [], cache=files)


def test_photos_are_not_reduced(masked, files):
    image = np.zeros((4, 1500, 3), np.uint8)
    masked.add("wide", data=png(image), row=mask_row("wide", image[..., 0], image[..., 0]))
    assert PseudoMaskDataset(masked.training_set(), [], cache=files)[0]["img"].shape == (4, 1500, 3)


def test_a_broken_photo_is_replaced_by_the_next_one_and_told_once(seven, files, caplog):
    dataset = PseudoMaskDataset(seven.training_set(), RANDOM, cache=files)
    before = samples(dataset, 14)
    places = [place for place, sample in enumerate(before) if sample["image_id"] == "p3"]
    path = Path(seven.uris["p3"])
    path.write_bytes(b"no photo")

    after = samples(dataset, 14)

    for place, (one, other) in enumerate(zip(before, after, strict=True)):
        if place in places:
            assert other["image_id"] == before[place // 7 * 7 + (place + 1) % 7]["image_id"]
            assert other["unusable"] == (f"p3: {path} (8 bytes) cannot be decoded: no image of a known format",)
        else:
            assert same(one, other)
            assert other["unusable"] == ()
    (told,) = caplog.records
    assert told.message.startswith(f"p3: {path} (8 bytes) cannot be decoded: no image of a known format; trained on p")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), r"p3\.png does not exist"),
        (
            lambda path: path.write_bytes(png(noise(0, (24, 30)))),
            r"p3\.png is 30x24 now, and was 32x24 when its mask was made: run again",
        ),
        (lambda path: path.write_bytes(png(noise(0, (1, 30)))), r"^p3: photo is 30 x 1 px"),
    ],
)
def test_what_is_wrong_with_a_photo_is_said(seven, files, damage, reason):
    dataset = PseudoMaskDataset(seven.training_set(), [], cache=files)
    damage(Path(seven.uris["p3"]))
    reasons = [why for sample in samples(dataset, 7) for why in sample["unusable"]]
    assert len(reasons) == 1
    assert re.search(reason, reasons[0])


def test_photos_that_are_all_gone_end_the_training(seven, files):
    dataset = PseudoMaskDataset(seven.training_set(), [], cache=files)
    for uri in seven.uris.values():
        Path(uri).unlink()
    with pytest.raises(PhotoError, match=r"^7 photos in a row cannot be used: .+\. p\d: .+\.png does not exist$"):
        dataset[2]


def test_a_store_of_photos_that_stays_away_ends_the_training(masked, files, monkeypatch):
    monkeypatch.setattr(cached_files, "ATTEMPTS", 1)
    masked.add("a")
    photos = [photo.__class__("a", "http://127.0.0.1:9/a.png", 1, "1", ()) for photo in masked.photos()]
    training_set = TrainingSet.of_photos(photos, masked.artifacts(), masked.training_set().vocabulary, "ignore")
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:9/a\.png"):
        PseudoMaskDataset(training_set, [], cache=files)[0]


def test_a_mask_that_is_gone_ends_the_training(seven, files):
    dataset = PseudoMaskDataset(seven.training_set(), [], cache=files)
    for artifact in dataset.training_set.artifacts:
        Path(artifact.uri).unlink()
    with pytest.raises(BrokenArtifactError, match="is missing: run again"):
        dataset[0]


def test_no_masks_are_nothing_to_train_on(masked):
    masked.add("a")
    masked.shards[0].clear()
    with pytest.raises(DatasetError, match="none of 1 photos has a mask: there is nothing to train on"):
        PseudoMaskDataset(masked.training_set(), [])


def test_a_config_names_a_run_and_its_batches_tell_how_they_came(run_with_masks):
    """The loader as MMEngine's runner builds it, with another process and the transform that packs confidence."""
    pipeline = [{"type": "RandomCrop", "crop_size": (24, 32)}, {"type": "PackConfidence"}]
    config = {
        "batch_size": 3,
        "num_workers": 1,
        "sampler": {"type": "DrawSampler"},
        "dataset": {
            "type": "PseudoMaskDataset",
            "training_set": {"store": run_with_masks.store.uri, "run": "tiny"},
            "pipeline": pipeline,
        },
    }
    batch = next(iter(Runner.build_dataloader(config, seed=0)))

    assert [tuple(photo.shape) for photo in batch["inputs"]] == [(3, 24, 32)] * 3
    for sample in batch["data_samples"]:
        assert sample.gt_confidence.data.dtype == torch.uint8
        assert sample.gt_sem_seg.shape == sample.gt_confidence.shape == (24, 32)
        assert sample.image_id == Path(sample.img_path).stem
        assert [read.source for read in sample.reads] == ["local", "local"]
        assert sample.unusable == ()
    assert {sample.image_id for sample in batch["data_samples"]} == {"a", "d"}


def test_a_photo_replaced_under_its_name_is_read_anew(masked, files, s3_folder):
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


def test_a_kept_photo_that_a_power_cut_has_emptied_is_fetched_anew(masked, files, s3_folder):
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
def seven_on_s3(seven, s3_folder, masked):
    """The seven photos and their masks in a bucket."""
    on_s3 = type(masked)(s3_folder)
    for number in range(7):
        on_s3.add(f"p{number}", shard=number % 2)
    return on_s3


@pytest.fixture
def take_s3_away(monkeypatch):
    """From when it is called on, nothing answers where the bucket was."""

    def take_away():
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setattr(S3FileSystem, "retries", 1)
        monkeypatch.setattr(cached_files, "ATTEMPTS", 1)
        S3FileSystem.clear_instance_cache()

    return take_away


def test_the_second_epoch_reads_nothing_from_s3(seven_on_s3, files, tmp_path, take_s3_away):
    """Photos and masks in a bucket, two worker processes."""
    training_set = seven_on_s3.training_set()
    dataset = PseudoMaskDataset(training_set, RANDOM, cache=files)
    first = samples(dataset, 7, workers=2)
    take_s3_away()

    second = samples(dataset, 7, workers=2, skipped=7)
    repeated = samples(dataset, 7, workers=2)

    sources = [read.source for sample in first for read in sample["reads"]]
    assert set(sources) == {"fetched", "hit"}
    assert sources.count("fetched") <= 7 + 2  # processes load ahead, so samples after these may have been the first
    assert {read.source for sample in second for read in sample["reads"]} == {"hit"}
    assert all(same(one, other) for one, other in zip(first, repeated, strict=True))
    with pytest.raises(TransientError, match="Could not connect"):  # what a read would have come to
        PseudoMaskDataset(training_set, RANDOM, cache=CachedFiles(tmp_path / "other", 1))[0]


def test_compose_of_mmengine_is_given_a_chosen_state(seven, files):
    """The same transforms, given the same photo and state by hand."""
    dataset = PseudoMaskDataset(seven.training_set(), [], seed=3, cache=files)
    plain = dataset[4]
    seeds = np.random.SeedSequence((3, 4, plain["sample_idx"])).generate_state(3)
    random.seed(int(seeds[0])), np.random.seed(seeds[1])
    expected = Compose(RANDOM)(plain)
    assert same(PseudoMaskDataset(seven.training_set(), RANDOM, seed=3, cache=files)[4], expected)


def test_a_cache_of_nothing_said_is_the_users(seven):
    assert PseudoMaskDataset(seven.training_set(), []).files.folder == CachedFiles().folder
