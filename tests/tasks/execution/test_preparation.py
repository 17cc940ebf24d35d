"""A stage prepares the host once, before a worker makes its first shard."""

import pytest
from support.crf_cases import require
from support.prepared import prepare_run
from support.small_runs import make_all_shards

from clipes.tasks.stages.registry import STAGES


@pytest.fixture
def run_of(tiny):
    """Return a function that prepares a run of six photos in three shards."""
    for name in "abcdef":
        tiny.add(name, "cat;dog")

    def run_of(**crf):
        return prepare_run(tiny.config(execution={"shards": 3}, crf=crf), "masks")

    return run_of


@pytest.fixture
def prepared(monkeypatch):
    """Return the list of the prepared stages, which grows whenever a stage is prepared."""
    names = []
    for stage in STAGES.values():
        monkeypatch.setattr(type(stage), "prepare", lambda self, *_: names.append(self.name))
    return names


def test_a_stage_is_prepared_once_for_all_its_shards(run_of, pool, prepared):
    records = make_all_shards(run_of(), pool).records()
    assert sum(record.stage == "masks" for record in records) == 3
    assert prepared == ["texts", "cams", "masks"]


def test_a_stage_without_work_is_not_prepared(run_of, pool, prepared):
    make_all_shards(run_of(), pool)
    prepared.clear()
    make_all_shards(run_of(), pool)
    assert prepared == []
    make_all_shards(run_of(iter_max=2), pool)
    assert prepared == ["masks"]


@pytest.mark.parametrize(("first", "second"), [("lattice", "pydensecrf"), ("pydensecrf", "lattice")])
def test_masks_of_one_backend_are_made_by_workers_and_reused_by_the_other(run_of, pool, first, second):
    require("pydensecrf")
    made = [record for record in make_all_shards(run_of(backend=first), pool).records() if record.stage == "masks"]
    assert [(record.cached, record.rejects) for record in made] == [(False, ())] * 3
    assert sum(record.computed for record in made) == 6
    again = [record for record in make_all_shards(run_of(backend=second), pool).records() if record.stage == "masks"]
    assert [record.cached for record in again] == [True] * 3
