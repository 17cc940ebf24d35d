import io

import cv2
import numpy as np
import pytest
from PIL import Image
from support.pool_calls import call
from support.prepared import prepare_run
from support.small_runs import make_run

from clipes.tasks.runs.pooled_scores import pooled_scores
from clipes.tasks.stages.columns.cams import stored_cams
from clipes.tasks.stages.mask_scores import CELL_COLUMNS, photo_mious
from clipes_core.evaluation.baseline import centre_box
from clipes_core.evaluation.metrics import cam_confusions, confusion, scores_from_confusion
from clipes_core.pseudo_mask import resize_cams

CLASSES = 21


def uris(made):
    return [record.uri for record in made.of("mask_scores")]


def confusions(row):
    """Return the (21, 21) confusion matrix of the row for each scored mask and background power."""
    columns = (row[name] for name in ("scored", "background_power", "truth", "prediction", "pixels"))
    found = {}
    for what, power, truth, prediction, pixels in zip(*columns, strict=True):
        found.setdefault((what, power), np.zeros((CLASSES, CLASSES), int))[truth, prediction] += pixels
    return found


@pytest.fixture
def scored(tiny, pool):
    """Return a function that computes all stages for the added photos."""
    return lambda **sections: make_run(prepare_run(tiny.config(**sections), "mask_scores"), pool)


def write_truth(tiny, name, content, mode=None):
    path = tiny.folder / f"{name}-truth.png"
    image = Image.fromarray(np.asarray(content, np.uint8))
    (image.convert(mode) if mode else image).save(path)
    return path.name


def test_pooled_scores_are_computed_from_all_pixels_together(scenes_made, scene_photos):
    cams, masks = scenes_made.rows("cams"), scenes_made.rows("masks")
    direct = {}
    for image_id, row in cams.items():
        truth = np.array(Image.open(scene_photos / "SegmentationClass" / f"{image_id}.png"))
        class_ids = np.array(row["class_ids"])
        for column, what, powers in (("cam", "initial_cam", range(1, 11)), ("refined_cam", "refined_cam", (1, 2))):
            maps = resize_cams(stored_cams(row, column), truth.shape)
            for power, matrix in zip(powers, cam_confusions(maps, class_ids, truth, powers, CLASSES), strict=True):
                direct[what, power] = direct.get((what, power), 0) + matrix
        mask = np.array(Image.open(io.BytesIO(masks[image_id]["mask_png"])))
        direct["pseudo_mask", 1] = direct.get(("pseudo_mask", 1), 0) + confusion(truth, mask, CLASSES)
        box = centre_box(truth.shape, class_ids)
        direct["centre_box", None] = direct.get(("centre_box", None), 0) + confusion(truth, box, CLASSES)

    pooled = pooled_scores(scenes_made.run.store, uris(scenes_made), CLASSES, mask_power=1.0)

    assert pooled.keys() == {"centre_box", "initial_cam", "refined_cam", "pseudo_mask"}
    for what, found in pooled.items():
        mious = {power: scores_from_confusion(matrix).miou for (name, power), matrix in direct.items() if name == what}
        assert found.background_power == max(mious, key=mious.get)
        expected = scores_from_confusion(direct[what, found.background_power])
        for name in ("miou", "pixel_accuracy", "mean_accuracy", "fwiou"):
            assert getattr(found.scores, name) == pytest.approx(getattr(expected, name), abs=1e-12)
        np.testing.assert_allclose(found.scores.class_iou, expected.class_iou)
        assert found.images == 9


def test_a_row_counts_each_pixel_that_is_not_ignored_once_per_power(scenes_made, scene_photos):
    for image_id, row in scenes_made.rows("mask_scores").items():
        truth = np.array(Image.open(scene_photos / "SegmentationClass" / f"{image_id}.png"))
        found = confusions(row)
        assert len(found) == 10 + 2 + 1 + 1
        assert {matrix.sum() for matrix in found.values()} == {(truth != 255).sum()}
        rows = [np.bincount(truth[truth != 255], minlength=CLASSES).tolist() for _ in found]
        assert [matrix.sum(axis=1).tolist() for matrix in found.values()] == rows


def test_a_row_counts_the_right_pixels_of_the_pseudo_mask_at_each_level_of_confidence(scenes_made, scene_photos):
    masks = scenes_made.rows("masks")
    for image_id, row in scenes_made.rows("mask_scores").items():
        truth = np.array(Image.open(scene_photos / "SegmentationClass" / f"{image_id}.png"))
        mask, confidence = (
            np.array(Image.open(io.BytesIO(masks[image_id][name]))) for name in ("mask_png", "confidence_png")
        )
        for level in range(256):
            here = (confidence == level) & (truth != 255)
            assert row["confidence_pixels"][level] == here.sum()
            assert row["confidence_right"][level] == (here & (mask == truth)).sum()


def test_the_score_of_a_photo_equals_one_worked_out_by_hand():
    row = {
        "scored": ["initial_cam", "pseudo_mask", "pseudo_mask", "pseudo_mask", "centre_box", "centre_box"],
        "background_power": [1, 1, 1, 1, 0, 0],
        "truth": [8, 0, 0, 8, 0, 8],
        "prediction": [8, 0, 8, 8, 0, 0],
        "pixels": [9, 6, 2, 2, 6, 4],
    }
    # mask: background 6 / 8, class 8: 2 / 4; box: background 6 / 10, class 8: 0 / 4
    assert photo_mious(row, CLASSES) == pytest.approx({"pseudo_mask": 0.625, "centre_box": 0.3})


def test_a_photo_whose_pixels_are_all_ignored_has_no_score():
    assert photo_mious(dict.fromkeys(CELL_COLUMNS, ()), CLASSES) == {}


def test_only_nonzero_counts_are_stored(scenes_made):
    for row in scenes_made.rows("mask_scores").values():
        assert min(row["pixels"]) > 0
        cells = list(zip(row["scored"], row["background_power"], row["truth"], row["prediction"], strict=True))
        assert len(set(cells)) == len(cells)


def test_only_photos_with_truth_have_a_row(tiny, scored):
    tiny.add("a", truth=write_truth(tiny, "a", np.full((48, 64), 8)))
    tiny.add("b")

    made = scored()

    assert made.rows("mask_scores").keys() == {"a"}
    assert made.counts()["mask_scores"] == (1, 0, 1)
    assert made.rows("masks").keys() == {"a", "b"}


def test_a_photo_without_objects_is_scored_as_background(tiny, scored):
    truth = np.zeros((48, 64))
    truth[:12] = 3
    tiny.add("a", "", truth=write_truth(tiny, "a", truth))
    tiny.add("z")  # a data set needs a label

    made = scored()

    for matrix in confusions(made.rows("mask_scores")["a"]).values():
        assert (matrix[0, 0], matrix[3, 0], matrix.sum()) == (36 * 64, 12 * 64, 48 * 64)
    pooled = pooled_scores(made.run.store, uris(made), CLASSES, 1.0)
    assert {what: found.scores.miou for what, found in pooled.items()} == pytest.approx(
        dict.fromkeys(pooled, (0.75 + 0) / 2)
    )


def test_equal_scores_take_the_lowest_background_power(tiny, scored):
    tiny.add("a", "", truth=write_truth(tiny, "a", np.zeros((48, 64))))
    tiny.add("z")  # a data set needs a label
    made = scored()
    pooled = pooled_scores(made.run.store, uris(made), CLASSES, 1.0)
    powers = {what: found.background_power for what, found in pooled.items()}
    assert powers == {"centre_box": None, "initial_cam": 1, "refined_cam": 1, "pseudo_mask": 1}


def test_the_baseline_depends_only_on_the_labels(tiny, scored):
    truth = np.zeros((48, 64))
    truth[12:36, 16:32] = 8  # correct in the left half of the box; the right half is labelled dog
    tiny.add("a", "cat;dog", truth=write_truth(tiny, "a", truth))

    made = scored()

    box = confusions(made.rows("mask_scores")["a"])["centre_box", 0]
    assert (box[8, 8], box[0, 12], box[0, 0], box.sum()) == (24 * 16, 24 * 16, 48 * 64 - 24 * 32, 48 * 64)


def test_a_pseudo_mask_is_scored_at_the_power_it_was_made_with(tiny, scored):
    tiny.add("a", "cat", truth=write_truth(tiny, "a", np.full((48, 64), 8)))

    made = scored(crf={"background_power": 1.7})

    (power,) = {power for what, power in confusions(made.rows("mask_scores")["a"]) if what == "pseudo_mask"}
    assert power == pytest.approx(1.7)
    assert pooled_scores(made.run.store, uris(made), CLASSES, 1.7)["pseudo_mask"].background_power == 1.7


def test_a_photo_with_ignored_truth_has_a_row_without_counts(tiny, scored):
    tiny.add("a", truth=write_truth(tiny, "a", np.full((48, 64), 255)))

    made = scored()

    row = made.rows("mask_scores")["a"]
    assert (row["status"], row["scored"], row["pixels"]) == ("ok", [], [])
    assert pooled_scores(made.run.store, uris(made), CLASSES, 1.0) == {}


def reject_of(made):
    """Check that only photo a has an error, and return its reject."""
    rows = made.rows("mask_scores")
    assert (rows["a"]["status"], rows["b"]["status"]) == ("error", "ok")
    assert (rows["a"]["scored"], rows["a"]["pixels"]) == ([], [])
    (record,) = made.of("mask_scores")
    (reject,) = record.rejects
    record.check()
    assert (reject.image_id, reject.stage) == ("a", "mask_scores")
    return reject


@pytest.fixture
def good(tiny):
    """Add photo b with a valid true mask."""
    tiny.add("b", truth=write_truth(tiny, "b", np.full((48, 64), 8)))


@pytest.mark.usefixtures("good")
def test_a_truth_of_another_size_is_rejected(tiny, scored):
    tiny.add("a", truth=write_truth(tiny, "a", np.zeros((64, 48))))
    reject = reject_of(scored())
    assert (reject.kind, reject.reason) == (
        "bad_truth",
        "the true mask is 48x64 and the photo is 64x48: they must have the same size",
    )


@pytest.mark.usefixtures("good")
def test_a_truth_in_colours_is_rejected(tiny, scored):
    tiny.add("a", truth=write_truth(tiny, "a", np.zeros((48, 64)), "RGB"))
    reject = reject_of(scored())
    assert reject.kind == "bad_truth"
    assert reject.reason.endswith("a-truth.png: the true mask has mode RGB: it must be a palette or grey PNG of ids")


@pytest.mark.usefixtures("good")
def test_a_truth_with_an_unknown_id_is_rejected(tiny, scored):
    tiny.add("a", truth=write_truth(tiny, "a", np.full((48, 64), 21)))
    reject = reject_of(scored())
    assert (reject.kind, reject.reason) == ("bad_truth", "truth has id 21, but valid ids are 0..20 and 255 (ignored)")


@pytest.mark.usefixtures("good")
def test_a_truth_that_no_longer_exists_is_rejected(tiny, pool):
    name = write_truth(tiny, "a", np.zeros((48, 64)))
    tiny.add("a", truth=name)
    run = prepare_run(tiny.config(), "mask_scores")
    (tiny.folder / name).unlink()

    assert reject_of(make_run(run, pool)).kind == "missing"


@pytest.mark.usefixtures("good")
def test_a_photo_without_a_mask_is_not_rejected_again(tiny, pool):
    path = tiny.add("a", truth=write_truth(tiny, "a", np.zeros((48, 64))))
    run = prepare_run(tiny.config(), "mask_scores")
    path.unlink()

    made = make_run(run, pool)

    row = made.rows("mask_scores")["a"]
    assert (row["status"], row["error_kind"]) == ("error", "upstream")
    assert row["error"] == f"no mask: no CAMs: {path} does not exist"
    assert made.of("mask_scores")[0].rejects == ()
    assert pooled_scores(made.run.store, uris(made), CLASSES, 1.0)["pseudo_mask"].images == 1


@pytest.mark.usefixtures("good")
def test_only_the_photo_with_a_corrected_truth_is_rescored(tiny, scored):
    tiny.add("a", truth=write_truth(tiny, "a", np.zeros((64, 48))))
    scored()
    write_truth(tiny, "a", np.zeros((48, 64)))

    again = scored()

    assert again.counts() == {"cams": (2, 0, 0), "masks": (2, 0, 0), "mask_scores": (2, 1, 1)}
    assert again.rows("mask_scores")["a"]["status"] == "ok"


def test_opencv_uses_as_many_threads_as_the_worker(tiny, pool):
    tiny.add("a", truth=write_truth(tiny, "a", np.full((48, 64), 8)))
    make_run(prepare_run(tiny.config(), "masks"), pool)
    call(pool, cv2.setNumThreads, 3, timeout_s=60)
    make_run(prepare_run(tiny.config(), "mask_scores"), pool)
    assert call(pool, cv2.getNumThreads, timeout_s=60) == 1
