"""What a change recomputes in a run with a training, and how a damaged training is rebuilt."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.damage import flip_in_page
from support.pool_calls import worker_pool
from support.small_runs import all_stage_shards, make_all_shards, make_stage_shards
from support.small_trainings import result_of, same_weights

from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.plan.caching import REUSE_ALL, Reuse
from clipes.tasks.runs.dry_run import plan_run
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.storage.layout import weights_uri

STEPS = 6
NOTHING = {"texts": 0, "cams": 0, "masks": 0, "segmenter": 0, "segmenter_scores": 0}
TRAINED = {**NOTHING, "segmenter": STEPS, "segmenter_scores": 1}
SCORED = {**NOTHING, "segmenter_scores": 1}


@pytest.fixture(scope="module")
def prepared(small):
    def prepared(reuse=REUSE_ALL, **sections):
        train = {"iterations": STEPS, "checkpoint_every": 3, "validate_every": 0, **sections.pop("train", {})}
        return small.prepared(reuse, until="segmenter_scores", train=train, **sections)

    return prepared


@pytest.fixture(scope="module", autouse=True)
def trained(prepared, pool):
    """Return the segmenter's record and the output of its training."""
    run = prepared()
    record = make_all_shards(run, pool).record("segmenter", 0)
    return record, result_of(run, record)


def planned(run):
    return {plan.stage: plan.computed_rows for plan in plan_run(run) if plan.stage != "mask_scores"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, NOTHING),
        ({"train": {"mu": 0.5}}, TRAINED),
        ({"train": {"mu": "labels"}}, TRAINED),
        ({"train": {"loss": "ce"}}, TRAINED),
        ({"train": {"seed": 1}}, TRAINED),
        ({"train": {"iterations": 7}}, {**TRAINED, "segmenter": 7}),
        ({"train": {"precision": "bf16"}}, TRAINED),
        ({"train": {"checkpoint_every": 2, "keep_checkpoints": 5, "validate_every": 3}}, NOTHING),
        ({"execution": {"gpu_workers": 2, "loader_workers": 1, "cache_gb": 1}}, NOTHING),
        ({"evaluation": {"scales": [1, 0.5]}}, SCORED),
        ({"evaluation": {"flip": True}}, SCORED),
        ({"crf": {"bi_w": 5}}, {**TRAINED, "masks": 5}),
    ],
)
def test_a_changed_setting_recomputes_only_the_stages_that_read_it(prepared, settings, expected):
    assert planned(prepared(**settings)) == expected


def test_one_relabelled_photo_recomputes_its_rows_and_the_training(small, prepared):
    small.photos.label("b", "cat;dog")
    relabelled = prepared()
    small.photos.label("b", "dog")
    assert planned(relabelled) == {**TRAINED, "cams": 1, "masks": 1}


def truncated(weights):
    weights.write_bytes(weights.read_bytes()[:-8])


def flipped(weights):
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


@pytest.mark.parametrize("damage", [Path.unlink, truncated, flipped])
def test_damaged_weights_are_found_and_rebuilt(prepared, pool, trained, damage, caplog):
    record, _ = trained
    weights = Path(weights_uri(record.uri))
    content = weights.read_bytes()
    damage(weights)
    assert planned(prepared(Reuse(verify=True)))["segmenter"] == STEPS
    assert f"{record.uri} has " in caplog.text
    assert "next to it: clipes ignores it and rebuilds it" in caplog.text
    weights.write_bytes(content)
    assert planned(prepared()) == NOTHING


@pytest.mark.slow
def test_weights_deleted_before_the_scores_read_them_are_rebuilt(prepared, trained):
    record, expected = trained
    run = prepared(evaluation={"flip": True})
    ledger = Ledger(run.photos, run.evaluated)
    with worker_pool([WorkerSlot("cpu", 1)], Counters(tuple(STAGES))) as own:
        *before, scores = all_stage_shards(run, ledger, own)
        for work in before:
            make_stage_shards(work, run)
        assert ledger.record("segmenter", 0).cached
        Path(weights_uri(record.uri)).unlink()
        make_stage_shards(scores, run)
    assert not ledger.record("segmenter", 0).cached
    assert [each.computed for each in ledger.records("segmenter_scores")] == [1]
    assert same_weights(result_of(run, record), expected)


@pytest.mark.slow
def test_masks_found_damaged_by_the_training_are_rebuilt_and_it_resumes(prepared, pool):
    run = prepared()
    masks = [Path(each.uri) for each in make_all_shards(run, pool).records("masks")]
    whole = [pq.read_table(path) for path in masks]
    flip_in_page(masks[0], group=0, column=STAGES["masks"].schema.names.index("mask_png"))
    again = make_all_shards(prepared(train={"seed": 2}), pool)
    assert [each.cached for each in again.records("masks")] == [False, True]
    assert not again.record("segmenter", 0).cached
    assert [pq.read_table(path) for path in masks] == whole
