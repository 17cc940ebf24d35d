"""Runs on all real photos, with the real network or with large photos: their results and their peak memory."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from support.commands import settings

from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.run_files import RunFiles

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

GIB = 1024  # MiB


@pytest.fixture
def clipes(clipes_process):
    """Return the command, run as a separate process."""
    return clipes_process


def store_of(clipes):
    return ArtifactStore(str(clipes.folder / "clipes-store"))


def run_file(clipes, file):
    return clipes.folder / "clipes-store" / "runs" / "voc12" / file


def rows_of(clipes, stage):
    for row in RunFiles(store_of(clipes).uri, "voc12").read_status():
        if row["stage"] == stage:
            yield from store_of(clipes).read_rows(row["artifact"])


def ids(png):
    return np.array(Image.open(io.BytesIO(png)))


@pytest.fixture(scope="module")
def arguments_of(tmp_path_factory, real_data, configs, golden):
    """Return a function of a number of photos that returns the arguments of a run on them in one shard."""
    folder = tmp_path_factory.mktemp("splits")

    def arguments_of(count):
        split = folder / f"{count}.txt"
        split.write_text("".join(f"{image_id}\n" for image_id in listed_ids(real_data)[:count]))
        return (
            *("run", str(configs / "voc12.yaml")),
            *settings(f"dataset.root={real_data}", f"dataset.split={split}", "execution.shards=1"),
            *settings(f"clip.pretrained={golden / 'small_vit.pt'}", "crf.enabled=false", "train.enabled=false"),
        )

    return arguments_of


def listed_ids(real_data):
    return (real_data / "ImageSets" / "Segmentation" / "train.txt").read_text().split()


def peak_memory(clipes):
    """Return the peak memory of the stage `cams` in the last run [MiB]."""
    return json.loads(run_file(clipes, "metrics.json").read_text())["stages"]["cams"]["peak_memory_mib"]


def test_all_photos_get_masks_memory_does_not_grow_with_them_and_a_rerun_computes_nothing(
    clipes, real_data, arguments_of
):
    """Compare the memory with that of 38 photos: the pixels of a photo take 2 MB and must not stay in memory."""
    arguments = arguments_of(228)
    done = clipes(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr

    masks = {row["image_id"]: row for row in rows_of(clipes, "masks")}
    assert sorted(masks) == sorted(listed_ids(real_data))
    assert len(masks) == 228
    for image_id, row in masks.items():
        assert row["status"] == "ok", row["error"]
        with Image.open(real_data / "JPEGImages" / f"{image_id}.jpg") as photo:
            mask = ids(row["mask_png"])
            assert mask.shape == ids(row["confidence_png"]).shape == (photo.height, photo.width)
        assert set(np.unique(mask)) <= {0, *row["class_ids"]}
    metrics = json.loads(run_file(clipes, "metrics.json").read_text())
    for scored in ("initial_cam", "refined_cam", "pseudo_mask"):
        assert metrics[scored]["images"] == 228
        assert len(metrics[scored]["class_iou"]) == 21
        assert all(0 <= iou <= 1 for iou in metrics[scored]["class_iou"].values())
    for stage in ("cams", "masks", "mask_scores"):
        assert metrics["stages"][stage]["computed_rows"] == 228
    memory_of_all = peak_memory(clipes)

    again = clipes(*arguments)
    assert again.returncode == 0, again.stderr
    assert "nothing to compute" in again.stdout
    metrics = json.loads(run_file(clipes, "metrics.json").read_text())
    assert all(stage["computed_rows"] == 0 for stage in metrics["stages"].values())

    some = clipes(*arguments_of(38), "--fresh", "--until", "cams")
    assert some.returncode == 0, some.stderr
    assert memory_of_all < peak_memory(clipes) + 150


def test_vit_b16_makes_masks_in_less_than_3_gib(clipes, real_data, configs):
    """Run ViT-B/16 in float32 and a dense CRF with ten iterations on a few photos of several sizes."""
    (clipes.folder / "few.txt").write_text("\n".join(listed_ids(real_data)[::29]) + "\n")
    done = clipes(
        "run",
        str(configs / "voc12.yaml"),
        *settings(f"dataset.root={real_data}", "dataset.split=few.txt", "clip.pretrained=random:0"),
        *settings("train.enabled=false", "execution.shards=2"),
    )
    assert done.returncode == 0, done.stderr
    assert {row["status"] for row in rows_of(clipes, "masks")} == {"ok"}
    metrics = json.loads(run_file(clipes, "metrics.json").read_text())
    assert metrics["stages"]["masks"]["computed_rows"] == 8
    assert metrics["stages"]["cams"]["peak_memory_mib"] < 3 * GIB


def test_a_photo_of_24_megapixels_gets_a_full_size_mask(clipes, configs):
    generator = np.random.default_rng(0)
    tile = generator.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(tile).resize((6000, 4000), Image.Resampling.BICUBIC).save(clipes.folder / "large.jpg")
    (clipes.folder / "one.csv").write_text("image,labels\nlarge.jpg,dog;sofa\n")
    done = clipes(
        "run",
        str(configs / "voc12.yaml"),
        *settings("dataset.format=list", "dataset.split=one.csv", f"dataset.root={clipes.folder}"),
        *settings("clip.pretrained=random:0", "train.enabled=false"),
    )
    assert done.returncode == 0, done.stderr
    (cams,) = rows_of(clipes, "cams")
    assert (cams["height"], cams["width"]) == (4000, 6000)
    assert (cams["work_height"], cams["work_width"]) == (683, 1024)
    assert cams["notes"] == ["reduced from 6000x4000 to 1024x683"]
    (mask,) = rows_of(clipes, "masks")
    assert ids(mask["mask_png"]).shape == (4000, 6000)
    metrics = json.loads(run_file(clipes, "metrics.json").read_text())
    assert metrics["stages"]["cams"]["peak_memory_mib"] < 3 * GIB
