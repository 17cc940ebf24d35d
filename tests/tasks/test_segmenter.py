"""The training as a stage: real processes that train a tiny network on masks of a few photos."""

import json
from pathlib import Path

import pytest
from small_runs import worked_through

from tasks.preparation import prepare_run
from tasks.segmenter import training_facts

TINY = str(Path(__file__).parents[1] / "mmseg_configs" / "tiny.py")


@pytest.fixture
def prepared(tiny):
    for name in ("a", "b", "c", "d", "e"):
        tiny.add(name)

    def prepare(reuse=None, **train):
        config = tiny.config(train={"enabled": True, "mmseg_config": TINY, "init": "none", **train})
        return prepare_run(config, "segmenter")

    return prepare


def test_a_segmenter_is_trained_once(prepared, pool):
    run = prepared(iterations=6)
    ledger = worked_through(run, pool)
    (record,) = ledger.records("segmenter")
    facts = training_facts(run.store, record.uri)
    print(json.dumps(facts, indent=1))
    print(run.store.read(record.uri).to_pylist())
    assert facts["iterations"] == 6
    again = worked_through(prepared(iterations=6), pool)
    assert again.records("segmenter")[0].cached
