import pytest
from support.plain_runs import ledger_of, photo, plain_run, run_inputs, write_artifact

from clipes.tasks.runs.truth_warnings import CAUSES, scored_truths, truth_warnings
from clipes.tasks.stages.mask_scores import MASK_SCORES, MaskScoresRow
from clipes.tasks.stages.segmenter_scores import SEGMENTER_SCORES, SegmenterScoresRow
from clipes_core.errors import ArtifactError, ErrorKind, PhotoError

BAD = PhotoError(ErrorKind.BAD_TRUTH, "the true mask is 1x1")


def scored(image_id, *truth):
    """Return the scores of a photo whose true mask has the given ids."""
    ones = (1,) * len(truth)
    kinds = {"scored": ("pseudo_mask",) * len(truth), "background_power": ones}
    return MaskScoresRow(image_id=image_id, truth=truth, prediction=ones, pixels=ones, **kinds)


def warned(folder, photos, rows):
    run = plain_run(str(folder), run_inputs(photos), ("mask_scores",))
    check = scored_truths(run, ledger_of(write_artifact(run.store.uri, MASK_SCORES, rows)), MASK_SCORES)
    return list(truth_warnings(run, MASK_SCORES, check))


def test_true_masks_with_the_labels_cause_no_warning(tmp_path):
    assert warned(tmp_path, (photo("a", (1, 2)),), [scored("a", 0, 2)]) == []


@pytest.mark.parametrize(("truth", "found"), [((0,), "only background"), ((), "only background"), ((0, 2), "dog")])
def test_the_warning_about_missing_labels_gives_counts_an_example_and_causes(tmp_path, truth, found):
    (warning, *_) = warned(tmp_path, (photo("a"), photo("b")), [scored("a", 0, 1), scored("b", *truth)])
    assert warning == (
        "dataset: 1 of 2 true masks contain none of the labels of their photo, so clipes shows no scores for them. "
        f"For example, photo b has the labels cat, and its true mask contains {found}. {CAUSES}."
    )


def test_scores_are_shown_if_few_true_masks_lack_their_labels(tmp_path):
    photos = tuple(photo(name) for name in "abc")
    (warning,) = warned(tmp_path, photos, [scored("a", 1), scored("b", 0, 1), scored("c", 0)])
    assert warning.startswith("dataset: 1 of 3 true masks contain none of the labels of their photo, so the scores may")


def test_the_warning_about_further_classes_names_them(tmp_path):
    assert warned(tmp_path, (photo("a"),), [scored("a", 0, 1, 2)]) == [
        "dataset: 1 of 1 true masks contain classes that are not among the labels of their photo. For example, photo a "
        "has the labels cat, and its true mask contains cat, dog. Complete the labels, or correct the ids in the true "
        "masks."
    ]


@pytest.mark.parametrize(("without", "warns"), [(18, False), (19, True)])
def test_a_warning_says_how_many_true_masks_lack_background(tmp_path, without, warns):
    rows = [scored(f"{place:02}", *(() if place < without else (0,)), 1) for place in range(20)]
    warnings = warned(tmp_path, tuple(photo(row.image_id) for row in rows), rows)
    assert [warning.partition(",")[0] for warning in warnings] == (
        [f"dataset: {without} of 20 true masks contain no background"] if warns else []
    )


def test_photos_without_a_usable_true_mask_do_not_count(tmp_path):
    photos = (photo("a"), photo("b"), photo("c", truth=False))
    assert warned(tmp_path, photos, [scored("a", 0, 1), MaskScoresRow.failed("b", BAD), scored("c")]) == []


def test_evaluation_photos_are_compared_with_their_own_labels(tmp_path):
    run = plain_run(str(tmp_path), run_inputs((photo("e", (1,)),), evaluation={0: (photo("e", (2,)),)}), ("masks",))
    row = SegmenterScoresRow(image_id="e", truth=(0, 1), prediction=(0, 0), pixels=(1, 1))
    check = scored_truths(run, ledger_of(write_artifact(run.store.uri, SEGMENTER_SCORES, [row])), SEGMENTER_SCORES)
    assert next(truth_warnings(run, SEGMENTER_SCORES, check)).startswith("evaluation: 1 of 1 true masks contain none")


def evaluated(folder, labels, *cells):
    """Return the warnings about two evaluation photos with the same labels and the same cells (truth, prediction)."""
    photos = tuple(photo(name, labels) for name in "ef")
    run = plain_run(str(folder), run_inputs(photos, evaluation={0: photos}), ("masks",))
    columns = dict(zip(("truth", "prediction", "pixels"), zip(*cells, strict=True), strict=True))
    rows = [SegmenterScoresRow(image_id=each.image_id, **columns) for each in photos]
    check = scored_truths(run, ledger_of(write_artifact(run.store.uri, SEGMENTER_SCORES, rows)), SEGMENTER_SCORES)
    return list(truth_warnings(run, SEGMENTER_SCORES, check))


def test_without_labels_the_class_with_most_predicted_pixels_is_compared(tmp_path):
    background, right, wrong = (0, 0, 90), (1, 1, 8), (1, 2, 9)
    assert evaluated(tmp_path / "a", (), background, right, (0, 2, 7)) == []
    assert evaluated(tmp_path / "b", (), background, right, (0, 1, 2), wrong) == []
    assert evaluated(tmp_path / "c", (), background, right, wrong) == [
        "evaluation: 2 of 2 true masks of photos without labels do not contain the class that the segmenter mostly "
        "predicts for their photo, so the scores may mean nothing. For example, it predicts dog for photo e, and the "
        "true mask contains cat. Either the segmenter has learned little, or the ids in the true masks are wrong. "
        f"{CAUSES}."
    ]


def test_predictions_do_not_count_for_photos_with_labels_or_if_they_are_all_background(tmp_path):
    assert evaluated(tmp_path / "a", (1,), (0, 0, 90), (1, 2, 9)) == []
    assert evaluated(tmp_path / "b", (), (0, 0, 90), (1, 0, 9)) == []


def test_an_artifact_that_cannot_be_read_is_an_error(tmp_path):
    run = plain_run(str(tmp_path), run_inputs((photo("a"),)), ("mask_scores",))
    record = write_artifact(run.store.uri, MASK_SCORES, [scored("a", 0)])
    next(tmp_path.rglob("*.parquet")).unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        scored_truths(run, ledger_of(record), MASK_SCORES)
