import io
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from PIL import ExifTags, Image
from support.dataset_samples import RANDOM, same, samples
from support.masked_photos import confidence_of, ids_of, mask_row, noise, png

import clipes_core.segmentation  # noqa: F401  registers PackConfidence
from clipes.tasks.training.data.cached_files import CachedFiles
from clipes.tasks.training.data.dataset import PseudoMaskDataset
from clipes.tasks.training.data.training_set import TrainingSet
from clipes_core.errors import BrokenArtifactError, DatasetError, PhotoError, TransientError
from clipes_core.pseudo_mask import ignore_unsure

pytestmark = pytest.mark.usefixtures("mmseg_scope")


def order(dataset, draws):
    return [dataset[draw]["image_id"] for draw in draws]


def test_a_sample_holds_the_photo_in_bgr_and_both_maps(seven, files):
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


def test_classes_and_palette_begin_with_background(seven):
    assert PseudoMaskDataset(seven.training_set(), []).metainfo == {
        "classes": ("background", "cat", "dog"),
        "palette": [[0, 0, 0], [128, 0, 0], [0, 128, 0]],
    }


def test_mmsegmentation_can_build_the_dataset(seven, tmp_path):
    config = {
        "type": "PseudoMaskDataset",
        "training_set": seven.training_set(),
        "pipeline": RANDOM,
        "cache": {"folder": str(tmp_path), "size_gb": 0.5},
    }
    dataset = DATASETS.build(config)
    assert (len(dataset), dataset.files.size_gb) == (7, 0.5)


def test_stock_transforms_treat_confidence_like_labels(seven, files):
    """Crop and flip, which do not interpolate: the expected maps can be computed from the result."""
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


def test_labels_below_the_threshold_are_ignored(seven, files):
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


def test_each_epoch_has_every_photo_once_in_a_different_order(seven, files):
    training_set = seven.training_set()
    dataset = PseudoMaskDataset(training_set, [], seed=4, cache=files)
    epochs = [order(dataset, range(7 * epoch, 7 * epoch + 7)) for epoch in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [[f"p{number}" for number in range(7)]] * 3
    assert epochs[0] != epochs[1] != epochs[2]
    assert order(PseudoMaskDataset(training_set, [], seed=4, cache=files), range(7)) == epochs[0]
    assert order(PseudoMaskDataset(training_set, [], seed=5, cache=files), range(7)) != epochs[0]


def test_augmentation_differs_between_epochs_and_seeds(masked, files):
    masked.add("a")
    training_set = masked.training_set()
    one, other = (PseudoMaskDataset(training_set, RANDOM, seed, cache=files) for seed in (0, 1))
    assert not same(one[0], one[1])
    assert not same(one[0], other[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_pass_continues_bit_for_bit(seven, files, workers):
    dataset = PseudoMaskDataset(seven.training_set(), RANDOM, seed=3, cache=files)
    whole = samples(dataset, 17)
    random.random(), np.random.rand(), torch.rand(1)

    resumed = samples(dataset, 12, workers, skipped=5)

    assert all(same(one, other) for one, other in zip(whole[5:], resumed, strict=True))


def test_samples_do_not_change_the_random_state(seven, files):
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


def test_photos_are_decoded_as_for_their_masks(masked, files):
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


def test_a_broken_photo_is_replaced_by_the_next_and_logged_once(seven, files, caplog):
    dataset = PseudoMaskDataset(seven.training_set(), RANDOM, cache=files)
    before = samples(dataset, 14)
    places = [place for place, sample in enumerate(before) if sample["image_id"] == "p3"]
    path = Path(seven.uris["p3"])
    path.write_bytes(b"no photo")

    after = samples(dataset, 14)

    for place, (one, other) in enumerate(zip(before, after, strict=True)):
        if place in places:
            assert other["image_id"] == before[place // 7 * 7 + (place + 1) % 7]["image_id"]
            assert other["unusable"] == (f"p3: {path} has changed since the run listed it: run again",)
        else:
            assert same(one, other)
            assert other["unusable"] == ()
    (told,) = caplog.records
    assert told.message.startswith(f"photo p3: {path} has changed since the run listed it: run again; photo ")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no photo", r"p3\.png \(8 bytes\) cannot be decoded: not an image in a known format"),
        (png(noise(0, (24, 30))), r"p3\.png is 30x24, but was 32x24 when its mask was made: rerun to update the mask"),
        (png(noise(0, (1, 30))), r"^p3: .*p3\.png: photo is 30 x 1 px"),
    ],
)
def test_the_reason_why_a_photo_is_unusable_is_reported(seven, files, data, reason):
    Path(seven.uris["p3"]).write_bytes(data)
    dataset = PseudoMaskDataset(seven.training_set(), [], cache=files)
    reasons = [why for sample in samples(dataset, 7) for why in sample["unusable"]]
    assert len(reasons) == 1
    assert re.search(reason, reasons[0])


def test_a_training_whose_photos_are_all_missing_stops(seven, files):
    dataset = PseudoMaskDataset(seven.training_set(), [], cache=files)
    for uri in seven.uris.values():
        Path(uri).unlink()
    with pytest.raises(
        PhotoError, match=r"^7 photos in a row are unusable: .+ The last one is p\d: .+\.png does not exist$"
    ):
        dataset[2]


@pytest.mark.usefixtures("impatient")
def test_an_unreachable_store_of_photos_stops_the_training(masked, files):
    masked.add("a")
    photos = [photo.__class__("a", "http://127.0.0.1:9/a.png", 1, "1", ()) for photo in masked.photos()]
    vocabulary = masked.training_set().vocabulary
    training_set = TrainingSet.of_manifest(masked.manifest(photos), masked.artifacts(), vocabulary, "ignore")
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:9/a\.png"):
        PseudoMaskDataset(training_set, [], cache=files)[0]


def test_a_missing_mask_stops_the_training(seven, files):
    dataset = PseudoMaskDataset(seven.training_set(), [], cache=files)
    for artifact in dataset.training_set.artifacts:
        Path(artifact.uri).unlink()
    with pytest.raises(BrokenArtifactError, match="is missing: run again"):
        dataset[0]


def test_a_data_set_without_masks_is_refused(masked):
    masked.add("a")
    masked.shards[0].clear()
    with pytest.raises(DatasetError, match="none of the 1 photos has a pseudo mask; training needs at least one"):
        PseudoMaskDataset(masked.training_set(), [])


def test_a_loader_built_from_a_config_returns_batches_with_their_reads(run_with_masks):
    """Build the loader as MMEngine's runner does, with one worker process and PackConfidence."""
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


def test_transforms_are_seeded_by_draw_number_and_photo(seven, files):
    """Apply the same transforms to the same photo with generators seeded here."""
    dataset = PseudoMaskDataset(seven.training_set(), [], seed=3, cache=files)
    plain = dataset[4]
    seeds = np.random.SeedSequence((3, 4, plain["sample_idx"])).generate_state(3)
    random.seed(int(seeds[0])), np.random.seed(seeds[1])
    expected = Compose(RANDOM)(plain)
    assert same(PseudoMaskDataset(seven.training_set(), RANDOM, seed=3, cache=files)[4], expected)


def test_the_default_cache_is_that_of_the_user(seven):
    assert PseudoMaskDataset(seven.training_set(), []).files.folder == CachedFiles().folder
