from dataclasses import replace

import pytest
from support.prepared import prepare_run
from support.small_runs import make_run

from clipes.tasks.machine.devices import gpu_slots
from clipes.tasks.machine.worker_state import NetworkWorkers
from clipes.tasks.runs import preparation
from clipes.tasks.runs.dry_run import plan_run
from clipes.tasks.runs.templates.ranking import template_ranking


def test_a_plan_without_weights_counts_each_row_that_needs_them_as_computed(tiny, pool):
    tiny.add("a", "cat;dog")
    tiny.add("b", "bird;dog")
    config = tiny.config(execution={"shards": 1})
    made = prepare_run(config, "masks")
    make_run(made, pool)
    assert set(computed(prepare_run(config, "masks")).values()) == {0}

    workers = NetworkWorkers(gpu_slots(config.clip, config.execution), "missing: weights", "weights")
    without = preparation.prepare_run(config, "masks", preparation.list_photos(config), workers)
    assert computed(without) == {"texts": 45, "cams": 2, "masks": 2}
    assert (without.missing_weights, made.missing_weights) == ("weights", "")


@pytest.fixture
def automatic(tiny):
    """Return a function that prepares a run of two photos with an automatic template."""
    tiny.add("a", "cat;dog")
    tiny.add("b", "bird;dog")
    return lambda: prepare_run(tiny.config(prompts={"template": "auto"}), "cams")


def computed(run):
    return {plan.stage: plan.computed_rows for plan in plan_run(run)}


def test_stages_that_need_the_template_are_planned_once_it_is_chosen(automatic, tiny, pool):
    assert computed(automatic()) == {"candidate_texts": 82 * 45, "embeddings": 2, "prompts": 2}

    ranked = automatic()
    made = make_run(replace(ranked, stages=("candidate_texts", "embeddings", "prompts")), pool)
    assert computed(automatic()) == {"candidate_texts": 0, "embeddings": 0, "prompts": 0, "texts": 0, "cams": 2}

    ranking = template_ranking(ranked.store, [record.uri for record in made.of("prompts")], ranked.inputs.candidates)
    make_run(prepare_run(tiny.config(prompts={"template": ranking.best}), "cams"), pool)
    assert set(computed(automatic()).values()) == {0}
