import numpy as np
import pytest
from support.plain_runs import write_artifact

from clipes.tasks.runs.pooled_scores import (
    TemplateScore,
    pooled_scores,
    pooled_segmenter_scores,
    pooled_template_scores,
)
from clipes.tasks.stages.columns.confusions import TRIPLET_COLUMNS
from clipes.tasks.stages.mask_scores import CELL_COLUMNS, MASK_SCORES, MaskScoresRow
from clipes.tasks.stages.prompt_scores import CELL_COLUMNS as TEMPLATE_COLUMNS
from clipes.tasks.stages.prompt_scores import PROMPT_SCORES, PromptScoresRow
from clipes.tasks.stages.segmenter_scores import SEGMENTER_SCORES, SegmenterScoresRow
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.errors import ArtifactError, ErrorKind, PhotoError

BAD = PhotoError(ErrorKind.BAD_TRUTH, "the true mask is 1x1")
CLASSES = 3  # the background and two classes; no true mask contains the second class


@pytest.fixture
def place(tmp_path):
    return str(tmp_path)


@pytest.fixture
def store(place):
    return ArtifactStore(place)


def by_column(names, cells):
    return dict(zip(names, zip(*cells, strict=True), strict=True)) if cells else {}


def masks_scored(image_id, *cells):
    return MaskScoresRow(image_id=image_id, **by_column(CELL_COLUMNS, cells))


def templates_scored(image_id, *cells):
    return PromptScoresRow(image_id=image_id, **by_column(TEMPLATE_COLUMNS, cells))


def predicted(image_id, *cells):
    return SegmenterScoresRow(image_id=image_id, **by_column(TRIPLET_COLUMNS, cells))


def mask_artifacts(place):
    """Write mask scores of three photos in two shards, one of which could not be scored, and return their URIs."""
    first = masks_scored(
        "a",
        *[("initial_cam", 1, 0, 0, 6), ("initial_cam", 1, 1, 0, 2)],
        *[("initial_cam", 2, 0, 0, 5), ("initial_cam", 2, 0, 1, 1), ("initial_cam", 2, 1, 1, 2)],
        *[("pseudo_mask", 1.7, 0, 0, 6), ("pseudo_mask", 1.7, 1, 1, 2)],
        *[("centre_box", 0, 0, 1, 6), ("centre_box", 0, 1, 1, 2)],
    )
    second = masks_scored(
        "b",
        *[("initial_cam", power, 0, 0, 4) for power in (1, 2)],
        *[("pseudo_mask", 1.7, 0, 0, 3), ("pseudo_mask", 1.7, 0, 2, 1)],
        ("centre_box", 0, 0, 0, 4),
    )
    shards = [[first, MaskScoresRow.failed("c", BAD)], [second]]
    return [write_artifact(place, MASK_SCORES, rows, shard).uri for shard, rows in enumerate(shards)]


def test_cams_are_scored_at_their_best_power_over_the_pixels_of_all_photos(store, place):
    found = pooled_scores(store, mask_artifacts(place), CLASSES, mask_power=1.7)["initial_cam"]
    # power 1: IoU 10 / 12 and 0 / 2, mean 0.417; power 2: IoU 9 / 10 and 2 / 3
    assert (found.background_power, found.images) == (2, 2)
    np.testing.assert_allclose(found.scores.class_iou, [9 / 10, 2 / 3, np.nan])
    assert found.scores.miou == pytest.approx((9 / 10 + 2 / 3) / 2)
    assert found.scores.pixel_accuracy == pytest.approx(11 / 12)


def test_masks_keep_their_background_power_and_the_baseline_has_none(store, place):
    found = pooled_scores(store, mask_artifacts(place), CLASSES, mask_power=1.7)
    assert list(found) == ["centre_box", "initial_cam", "pseudo_mask"]
    assert (found["pseudo_mask"].background_power, found["centre_box"].background_power) == (1.7, None)
    # mask: IoU 9 / 10 for background and 2 / 2 for class 1; box: 4 / 10 and 2 / 8
    np.testing.assert_allclose(found["pseudo_mask"].scores.class_iou, [9 / 10, 1, np.nan])
    np.testing.assert_allclose(found["centre_box"].scores.class_iou, [4 / 10, 2 / 8, np.nan])


def test_without_photos_there_are_no_scores(store, place):
    assert pooled_scores(store, [], CLASSES, 1.0) == {}
    failed = write_artifact(place, MASK_SCORES, [MaskScoresRow.failed("c", BAD)]).uri
    assert pooled_scores(store, [failed], CLASSES, 1.0) == {}


def artifact(place, shard, *photos):
    """Write an artifact of segmenter scores with the given cells for each photo."""
    return write_artifact(place, SEGMENTER_SCORES, [predicted(str(cells), *cells) for cells in photos], shard).uri


def test_predictions_are_scored_over_the_pixels_of_all_photos(store, place):
    first = artifact(place, 0, [(0, 0, 6), (1, 0, 2)], [])
    second = artifact(place, 1, [(1, 1, 4), (0, 0, 2)], [(1, 1, 2)])

    pooled = pooled_segmenter_scores(store, [first, second], CLASSES)

    assert pooled is not None
    assert (pooled.images, pooled.background_power) == (3, None)  # the photo without truth does not count
    np.testing.assert_allclose(pooled.scores.class_iou, [8 / 10, 6 / 8, np.nan])
    assert pooled.scores.miou == pytest.approx((0.8 + 0.75) / 2)


def test_predictions_without_any_truth_have_no_scores(store, place):
    assert pooled_segmenter_scores(store, [artifact(place, 0, [], [])], CLASSES) is None
    assert pooled_segmenter_scores(store, [], CLASSES) is None


@pytest.mark.parametrize("kind", ["initial_cam", "refined_cam"])
def test_each_template_is_scored_at_its_own_best_power(store, place, kind):
    cells = [
        *[(0, kind, 1, 0, 0, 6), (0, kind, 1, 1, 0, 2)],  # IoU 6 / 8 and 0
        *[(0, kind, 2, 0, 0, 6), (0, kind, 2, 1, 1, 2)],  # all right
        *[(1, kind, 1, 0, 0, 6), (1, kind, 1, 1, 1, 2)],
        *[(1, kind, 2, 0, 1, 6), (1, kind, 2, 1, 1, 2)],  # IoU 0 and 2 / 8
    ]
    other = [(1, kind, power, 0, 1, 2) for power in (1, 2)]  # power 1: IoU 6 / 8 and 2 / 4
    uris = [
        write_artifact(place, PROMPT_SCORES, rows, shard).uri
        for shard, rows in enumerate([[templates_scored("a", *cells)], [templates_scored("b", *other)]])
    ]

    scores, photos = pooled_template_scores(store, uris, 2, CLASSES)

    own = [(getattr(each, f"{kind[:-4]}_miou"), getattr(each, f"{kind[:-4]}_power")) for each in scores]
    assert own == [(pytest.approx(1), 2), (pytest.approx((6 / 8 + 2 / 4) / 2), 1)]
    assert photos == 2


def test_the_lowest_background_power_wins_among_equal_template_scores(store, place):
    cells = [(0, kind, power, 0, 0, 5) for kind in ("initial_cam", "refined_cam") for power in (2, 1)]
    uri = write_artifact(place, PROMPT_SCORES, [templates_scored("a", *cells)]).uri
    assert pooled_template_scores(store, [uri], 1, CLASSES) == ([TemplateScore(1.0, 1.0, 1.0, 1.0)], 1)


def test_templates_without_a_scored_photo_have_no_scores(store, place):
    uri = write_artifact(place, PROMPT_SCORES, [PromptScoresRow.failed("a", BAD)]).uri
    (score,), photos = pooled_template_scores(store, [uri], 1, CLASSES)
    assert (np.isnan(score.initial_miou), np.isnan(score.refined_miou), photos) == (True, True, 0)


@pytest.mark.parametrize(
    "pooled",
    [
        lambda store, uris: pooled_scores(store, uris, CLASSES, 1.0),
        lambda store, uris: pooled_segmenter_scores(store, uris, CLASSES),
        lambda store, uris: pooled_template_scores(store, uris, 1, CLASSES),
    ],
)
def test_an_artifact_that_cannot_be_read_is_an_error(store, place, pooled):
    with pytest.raises(ArtifactError, match=r"nowhere\.parquet is missing: run again; clipes will rebuild it"):
        pooled(store, [f"{place}/nowhere.parquet"])
