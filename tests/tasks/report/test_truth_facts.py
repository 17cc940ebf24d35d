import numpy as np
import pytest
from support.plain_reports import plain_facts
from support.plain_runs import photo, write_artifact

from clipes.tasks.stages.mask_scores import MASK_SCORES, MaskScoresRow

PHOTOS = photo("a"), photo("b")
FULL = (*(0,) * 255, 4)
RIGHT = (*(0,) * 255, 3)


def scored(image_id, *cells, **counts):
    """Return the scores of a photo whose cells are (kind of prediction, true id, predicted id, pixels)."""
    scored, truth, prediction, pixels = zip(*cells, strict=True)
    power = tuple(float(what != "centre_box") for what in scored)
    columns = {"scored": scored, "background_power": power, "truth": truth, "prediction": prediction, "pixels": pixels}
    return MaskScoresRow(image_id=image_id, **columns, **counts)


@pytest.fixture
def facts(tmp_path):
    rows = [
        scored(
            "a",
            ("pseudo_mask", 1, 1, 3),
            ("pseudo_mask", 1, 0, 1),
            ("centre_box", 1, 2, 4),
            confidence_pixels=FULL,
            confidence_right=RIGHT,
        ),
        scored("b", ("pseudo_mask", 0, 0, 4)),
    ]
    return plain_facts(tmp_path, write_artifact(str(tmp_path), MASK_SCORES, rows), photos=PHOTOS)


def test_only_the_pixels_of_pseudo_masks_are_added_up(facts):
    assert facts.truth.confusion.tolist() == [[4, 0, 0], [1, 3, 0], [0, 0, 0]]


def test_each_photo_has_an_miou(facts):
    assert facts.truth.mious.tolist() == [0.75, 1.0]


def test_rows_without_counts_are_not_part_of_the_calibration(facts):
    assert facts.truth.calibrated == 1
    assert (facts.truth.counted[255], facts.truth.right[255]) == (4, 3)
    assert facts.truth.counted.sum() == 4


def test_without_scores_there_are_no_facts(tmp_path):
    assert plain_facts(tmp_path, photos=PHOTOS).truth is None


def test_if_the_scores_mean_nothing_there_are_no_facts(facts, tmp_path):
    rows = [scored("a", ("pseudo_mask", 1, 1, 3))]
    record = write_artifact(str(tmp_path), MASK_SCORES, rows)
    assert plain_facts(tmp_path, record, photos=PHOTOS, metrics={"stages": {}}).truth is None
    assert np.isfinite(facts.truth.mious).all()
