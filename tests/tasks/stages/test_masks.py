import io
import os
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from support.pool_calls import call
from support.prepared import prepare_run
from support.small_runs import make_run

from clipes.tasks.inputs.photos import load_photos
from clipes.tasks.inputs.pngs import palette_png
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.stages.columns.cams import stored_cams
from clipes.tasks.stages.masks import MASKS, batch_masks
from clipes_core.config.pseudo_masks import ConfidenceConfig, CrfConfig
from clipes_core.config.run import parse_config
from clipes_core.device import finish
from clipes_core.errors import TransientError
from clipes_core.pseudo_mask import pseudo_mask


def png(content):
    return Image.open(io.BytesIO(content))


def ids(content):
    return np.array(png(content))


@pytest.fixture
def masks_of(tiny, pool):
    """Return a function that computes the masks of the added photos with the given settings."""
    return lambda **sections: make_run(prepare_run(tiny.config(**sections), "masks"), pool).rows("masks")


def test_masks_equal_those_of_the_core_from_the_stored_cams(scenes_made, scene_photos):
    cams = scenes_made.rows("cams")
    for image_id, row in scenes_made.rows("masks").items():
        image_rgb = np.asarray(Image.open(scene_photos / "JPEGImages" / f"{image_id}.jpg"))
        refined_cam, class_ids = stored_cams(cams[image_id], "refined_cam"), np.array(cams[image_id]["class_ids"])
        expected = pseudo_mask(image_rgb, refined_cam, class_ids, CrfConfig(), ConfidenceConfig())
        assert (ids(row["mask_png"]) == expected.mask).all(), image_id
        assert (ids(row["confidence_png"]) == expected.confidence).all(), image_id
        assert row["crf_changed"] == expected.crf_changed


def test_masks_of_a_batch_on_a_device_equal_those_of_the_cpu_workers(tiny, pool):
    """Compute what a GPU worker computes, but on the processor."""
    for name, labels in {"a": "cat", "b": "cat;dog", "c": "", "d": "dog", "e": "bird;dog"}.items():
        tiny.add(name, labels)
    crf = {"backend": "lattice", "iter_max": 10}
    made = make_run(prepare_run(tiny.config(crf=crf), "masks"), pool)
    batch = list(load_photos(made.run.inputs.shards[0], made.run.config.dataset))

    masks = finish(batch_masks(made.run.config, made.rows("cams"), "cpu", batch))

    assert len(masks) == 5
    for (photo, _), own in zip(batch, masks, strict=True):
        row = made.rows("masks")[photo.image_id]
        assert (own.mask == ids(row["mask_png"])).mean() >= 0.9999
        assert np.abs(own.confidence - ids(row["confidence_png"]).astype(int)).max() <= 1


def test_masks_are_made_by_the_workers_that_the_device_of_the_crf_selects():
    devices = {"gpu": ["cuda:0"], "cpu": ["cpu"] * 8}
    for device, workers in {"auto": "cpu", "cpu": "cpu", "cuda": "gpu"}.items():
        values = {"name": "a", "dataset": {"root": "/data"}, "crf": {"backend": "lattice", "device": device}}
        assert MASKS.workers_for(parse_config(values), devices) == workers


def test_masks_have_the_size_and_classes_of_their_photo(scenes_made, scene_photos):
    for image_id, row in scenes_made.rows("masks").items():
        mask, confidence = png(row["mask_png"]), png(row["confidence_png"])
        with Image.open(scene_photos / "JPEGImages" / f"{image_id}.jpg") as photo:
            assert mask.size == confidence.size == photo.size
        assert (mask.mode, confidence.mode) == ("P", "L")
        assert set(np.unique(mask)) <= {0, *row["class_ids"]}


def test_pixel_counts_are_those_of_the_mask(scenes_made):
    for row in scenes_made.rows("masks").values():
        mask, confidence = ids(row["mask_png"]), ids(row["confidence_png"])
        assert row["class_pixels"] == [(mask == class_id).sum() for class_id in (0, *row["class_ids"])]
        assert row["confidence_histogram"] == [(confidence == level).sum() for level in range(256)]
        assert sum(row["class_pixels"]) == sum(row["confidence_histogram"]) == mask.size


def test_mask_colours_are_those_of_voc_by_default(scenes_made, scene_photos):
    mask = png(scenes_made.rows("masks")["scene_00"]["mask_png"])
    with Image.open(scene_photos / "SegmentationClass" / "scene_00.png") as truth:
        assert mask.getpalette() == truth.getpalette()


def test_mask_colours_are_those_of_the_vocabulary(tiny, masks_of, tmp_path):
    classes = [{"name": "cat", "colour": [1, 2, 3]}, {"name": "dog"}]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"classes": classes, "background_words": ["sky"]}))
    tiny.add("a", "cat;dog")

    row = masks_of(dataset={"classes": str(tmp_path / "own.yaml")})["a"]

    colours = np.array(png(row["mask_png"]).getpalette()).reshape(-1, 3)
    assert colours[:4].tolist() == [[0, 0, 0], [1, 2, 3], [0, 128, 0], [128, 128, 0]]
    assert (colours == load_vocabulary(str(tmp_path / "own.yaml")).palette).all()


def test_a_palette_png_keeps_every_id():
    mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
    palette = np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 7)], axis=1).astype(np.uint8)

    image = png(palette_png(mask, palette))

    assert (np.array(image) == mask).all()
    assert image.convert("RGB").getpixel((3, 0)) == (3, 252, 7)


def test_a_photo_without_objects_is_background_with_full_confidence(tiny, masks_of):
    tiny.add("a", "", size=(30, 20))
    tiny.add("z")  # a data set needs a label

    row = masks_of()["a"]

    assert row["status"] == "ok"
    assert ids(row["mask_png"]).shape == (20, 30)
    assert not ids(row["mask_png"]).any()
    assert (ids(row["confidence_png"]) == 255).all()
    assert row["class_ids"] == []
    assert row["class_pixels"] == [600]
    assert row["confidence_histogram"] == [*[0] * 255, 600]


def test_the_mask_of_a_reduced_photo_is_enlarged_by_nearest_neighbour(tiny, masks_of):
    tiny.add("a", "cat;dog", size=(128, 96))

    row = masks_of(dataset={"max_side": 64}, crf={"enabled": False})["a"]

    for content in (row["mask_png"], row["confidence_png"]):
        blocks = ids(content)
        assert blocks.shape == (96, 128)
        assert (blocks == np.kron(blocks[::2, ::2], np.ones((2, 2), np.uint8))).all()
    assert set(np.unique(ids(row["mask_png"]))) <= {0, 8, 12}
    assert sum(row["class_pixels"]) == sum(row["confidence_histogram"]) == 96 * 128


@pytest.mark.parametrize("size", [(97, 61), (65, 64)])
def test_the_mask_of_a_reduced_photo_of_odd_size_has_its_full_size(tiny, masks_of, size):
    tiny.add("a", "cat", size=size)
    row = masks_of(dataset={"max_side": 64})["a"]
    assert png(row["mask_png"]).size == png(row["confidence_png"]).size == size
    assert sum(row["class_pixels"]) == sum(row["confidence_histogram"]) == size[0] * size[1]


def test_settings_of_crf_and_confidence_change_the_mask(tiny, masks_of):
    tiny.add("a", "cat;dog")
    plain = masks_of(crf={"iter_max": 5})["a"]

    without = masks_of(crf={"enabled": False})["a"]
    from_cams = masks_of(crf={"enabled": False}, confidence={"source": "cam"})["a"]

    assert plain["confidence_png"] != without["confidence_png"]
    assert from_cams["mask_png"] == without["mask_png"]
    assert ids(from_cams["confidence_png"]).min() >= 127  # max(x, 1 - x) is at least 0.5


def test_a_photo_deleted_after_its_cams_is_rejected_by_this_stage(tiny, pool):
    tiny.add("a")
    tiny.add("b")
    run = prepare_run(tiny.config(), "cams")
    make_run(run, pool)
    listed = prepare_run(tiny.config(), "masks")
    (tiny.folder / "b.png").unlink()

    masks = make_run(listed, pool)

    row = masks.rows("masks")["b"]
    assert (row["status"], row["error_kind"]) == ("error", "missing")
    assert (row["mask_png"], row["class_pixels"], row["class_ids"]) == (b"", [], [8])
    (reject,) = masks.of("masks")[0].rejects
    assert (reject.image_id, reject.stage, reject.kind) == ("b", "masks", "missing")
    assert Path(reject.uri) == tiny.folder / "b.png"
    assert masks.rows("masks")["a"]["status"] == "ok"


def test_a_photo_changed_after_its_cams_is_computed_again_by_the_next_run(tiny, pool):
    tiny.add("a")
    path = tiny.add("b", "cat;dog")
    run, listed = (prepare_run(tiny.config(), until) for until in ("cams", "masks"))
    make_run(run, pool)
    original, times = path.read_bytes(), path.stat()
    Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)

    made = make_run(listed, pool)

    rows, (record,) = made.rows("masks"), made.of("masks")
    assert (rows["a"]["status"], rows["b"]["status"], rows["b"]["error_kind"]) == ("ok", "error", "changed")
    assert rows["b"]["error"] == f"{path} has changed since the run listed it: run again"
    with pytest.raises(TransientError, match=r"^1 photos failed for a transient cause; first reason: .+ has changed"):
        record.check()
    path.write_bytes(original)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    again = make_run(prepare_run(tiny.config(), "masks"), pool)
    assert again.counts() == {"cams": (2, 0, 0), "masks": (2, 1, 1)}
    assert again.rows("masks")["b"]["status"] == "ok"


def test_a_photo_whose_size_changed_after_its_cams_is_a_row_with_an_error(tiny, pool):
    tiny.add("a")
    path = tiny.add("b", "cat;dog")
    run, listed = (prepare_run(tiny.config(), until) for until in ("cams", "mask_scores"))
    make_run(run, pool)
    times = path.stat()
    Image.new("RGB", (32, 40)).save(path)
    path.write_bytes(path.read_bytes().ljust(times.st_size, b"\0"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    rows = make_run(listed, pool).rows("masks")

    assert (rows["a"]["status"], rows["b"]["status"], rows["b"]["error_kind"]) == ("ok", "error", "unreadable")
    assert rows["b"]["error"] == f"{path} is 32x40 now, and was 64x48 when its CAMs were made: run again"


def test_a_photo_without_cams_is_not_loaded(tiny, pool):
    tiny.add("a")
    path = tiny.add("b", "cat;dog")
    run, listed = (prepare_run(tiny.config(), until) for until in ("cams", "masks"))
    path.unlink()
    make_run(run, pool)
    os.mkfifo(path)  # opening this pipe would block for ever

    rows = make_run(listed, pool).rows("masks")

    assert (rows["a"]["status"], rows["b"]["status"], rows["b"]["error_kind"]) == ("ok", "error", "upstream")
    assert rows["b"]["error"] == f"no CAMs: {path} does not exist"
    assert (rows["b"]["class_ids"], rows["b"]["mask_png"]) == ([8, 12], b"")


def test_masks_do_not_read_the_initial_cams(tiny, pool):
    tiny.add("a", "cat;dog")
    made = make_run(prepare_run(tiny.config(), "cams"), pool)
    (path,) = (record.uri.removeprefix("file://") for record in made.of("cams"))
    pq.write_table(pq.read_table(path).drop_columns(["cam"]), path, write_page_checksum=True)

    assert make_run(prepare_run(tiny.config(), "masks"), pool).rows("masks")["a"]["status"] == "ok"


def test_opencv_uses_as_many_threads_as_the_worker(tiny, pool, masks_of):
    tiny.add("a")
    call(pool, cv2.setNumThreads, 3, timeout_s=60)
    masks_of()
    assert call(pool, cv2.getNumThreads, timeout_s=60) == 1


def test_photos_loaded_ahead_are_matched_to_their_own_cams(tiny, pool):
    for number in range(20):
        tiny.add(f"p{number}", ("cat", "dog", "bird", "")[number % 4], size=(64 + number, 48))

    rows = make_run(prepare_run(tiny.config(), "masks"), pool).rows("masks")

    for number in range(20):
        row = rows[f"p{number}"]
        assert row["class_ids"] == [[8], [12], [3], []][number % 4]
        assert png(row["mask_png"]).size == (64 + number, 48)
