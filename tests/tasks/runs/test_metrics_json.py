import json

import pytest
from support.plain_runs import ledger_of, photo, plain_run, run_inputs, write_artifact

from clipes.tasks.plan.keys import validation_digest
from clipes.tasks.runs.metrics_json import OTHER_VALIDATION, UNKNOWN_VALIDATION, run_metrics
from clipes.tasks.stages.mask_scores import MASK_SCORES, MaskScoresRow
from clipes.tasks.stages.segmenter import SEGMENTER, SegmenterRow
from clipes.tasks.stages.segmenter_scores import SEGMENTER_SCORES, SegmenterScoresRow
from clipes_core.errors import ArtifactError

CURVE = [SegmenterRow(iteration=5, loss=0.5, learning_rate=0.1, kept_fraction=0.9)]
MASK = MaskScoresRow(
    image_id="a",
    scored=("pseudo_mask",) * 3,
    background_power=(2.0,) * 3,
    truth=(0, 0, 1),
    prediction=(0, 1, 1),
    pixels=(6, 2, 8),
)
PREDICTION = SegmenterScoresRow(image_id="e", truth=(0,), prediction=(0,), pixels=(5,))


@pytest.fixture
def run(tmp_path):
    settings = {"crf": {"background_power": 2}}
    return plain_run(str(tmp_path), run_inputs((photo("a"),), settings=settings), ("mask_scores", "segmenter_scores"))


def test_a_run_without_scores_has_the_counts_of_its_stages(run):
    assert run_metrics(run, ledger_of()) == {"stages": {}}


def test_scores_are_given_by_class_name_and_null_without_truth(run):
    record = write_artifact(run.store.uri, MASK_SCORES, [MASK])

    metrics = run_metrics(run, ledger_of(record))

    assert list(metrics) == ["pseudo_mask", "stages"]
    assert metrics["pseudo_mask"] == {
        "miou": pytest.approx((6 / 8 + 8 / 10) / 2),
        "pixel_accuracy": pytest.approx(14 / 16),
        "mean_accuracy": pytest.approx((6 / 8 + 1) / 2),
        "fwiou": pytest.approx((8 * 6 / 8 + 8 * 8 / 10) / 16),
        "class_iou": {"background": pytest.approx(6 / 8), "cat": pytest.approx(8 / 10), "dog": None},
        "background_power": 2,
        "images": 1,
    }
    stage = metrics["stages"]["mask_scores"]
    assert (stage["images"], stage["shards"], stage["computed_rows"]) == (1, 1, 1)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_a_segmenter_has_scores_and_facts_about_its_training(run):
    store = run.store.uri
    facts = {"iterations": 40, "reads": {"unusable_photos": []}}
    records = [
        write_artifact(store, SEGMENTER, CURVE, training=json.dumps(facts)),
        write_artifact(store, SEGMENTER_SCORES, [PREDICTION]),
    ]

    metrics = run_metrics(run, ledger_of(*records))

    assert list(metrics) == ["segmenter", "training", "stages"]
    assert metrics["training"] == facts
    scores = metrics["segmenter"]
    assert scores["class_iou"] == {"background": 1, "cat": None, "dog": None}
    assert (scores["miou"], scores["images"], scores["background_power"]) == (1, 1, None)
    assert list(metrics["stages"]) == ["segmenter", "segmenter_scores"]


@pytest.mark.parametrize(
    ("validation", "best", "warnings"),
    [
        ({"validation": validation_digest([photo("e")])}, 0.5, []),
        ({"validation": validation_digest([photo("f")])}, None, [OTHER_VALIDATION]),
        ({"validation": None}, None, [OTHER_VALIDATION]),
        ({}, 0.5, [UNKNOWN_VALIDATION]),
    ],
)
def test_the_best_miou_of_a_training_is_left_out_if_it_was_measured_on_other_photos(
    tmp_path, validation, best, warnings
):
    run = plain_run(str(tmp_path), run_inputs(evaluation={0: (photo("e"),)}), ("segmenter",))
    facts = {"iterations": 40, "best_miou": 0.5, "best_iteration": 30, **validation}
    metrics = run_metrics(run, ledger_of(write_artifact(run.store.uri, SEGMENTER, CURVE, training=json.dumps(facts))))
    assert metrics["training"] == {**facts, "best_miou": best, "best_iteration": 30 if best else None}
    assert metrics.get("warnings", []) == warnings


@pytest.mark.parametrize("validation", [{"validation": validation_digest([photo("f")])}, {}])
def test_a_training_without_validations_has_no_miou_to_doubt(run, validation):
    facts = {"iterations": 40, "best_miou": None, "best_iteration": None, **validation}
    metrics = run_metrics(run, ledger_of(write_artifact(run.store.uri, SEGMENTER, CURVE, training=json.dumps(facts))))
    assert metrics["training"] == facts
    assert "warnings" not in metrics


def test_scores_are_left_out_if_the_true_masks_contain_no_label(tmp_path):
    run = plain_run(str(tmp_path), run_inputs((photo("a", (2,)),)), ("mask_scores",))
    metrics = run_metrics(run, ledger_of(write_artifact(run.store.uri, MASK_SCORES, [MASK])))
    assert list(metrics) == ["warnings", "stages"]


def test_a_segmenter_has_no_scores_if_the_true_masks_of_the_evaluation_contain_no_class(tmp_path):
    inputs = run_inputs(evaluation={0: (photo("e", ()),)})
    run = plain_run(str(tmp_path), inputs, ("segmenter_scores",))
    metrics = run_metrics(run, ledger_of(write_artifact(run.store.uri, SEGMENTER_SCORES, [PREDICTION])))
    assert list(metrics) == ["warnings", "stages"]
    assert "1 of 1 true masks contain no class, so clipes shows no scores" in metrics["warnings"][0]


def test_predictions_without_truth_are_not_scored(run):
    record = write_artifact(run.store.uri, SEGMENTER_SCORES, [SegmenterScoresRow(image_id="e")])
    assert list(run_metrics(run, ledger_of(record))) == ["stages"]


@pytest.mark.parametrize(
    ("stage", "rows"), [(MASK_SCORES, [MASK]), (SEGMENTER, CURVE), (SEGMENTER_SCORES, [PREDICTION])]
)
def test_an_artifact_that_cannot_be_read_is_an_error(run, tmp_path, stage, rows):
    record = write_artifact(run.store.uri, stage, rows)
    (file,) = tmp_path.rglob("*.parquet")
    file.unlink()
    with pytest.raises(ArtifactError, match=r"\.parquet is missing: run again; clipes will rebuild it"):
        run_metrics(run, ledger_of(record))
