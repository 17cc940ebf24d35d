from dataclasses import replace
from pathlib import Path

import pytest
from support.prepared import prepare_run, prepared
from support.small_runs import make_run, photos_by_shard

from clipes.tasks.machine.devices import gpu_slots
from clipes.tasks.machine.worker_state import NetworkWorkers
from clipes.tasks.plan.caching import Reuse
from clipes.tasks.runs import preparation
from clipes.tasks.runs.dry_run import plan_run
from clipes.tasks.runs.inputs.photos import list_photos
from clipes.tasks.runs.templates.ranking import template_ranking
from clipes.tasks.stages.registry import STAGES


def test_a_plan_without_weights_counts_each_row_that_needs_them_as_computed(tiny, pool):
    tiny.add("a", "cat;dog")
    tiny.add("b", "bird;dog")
    config = tiny.config(execution={"shards": 1})
    made = prepare_run(config, "masks")
    make_run(made, pool)
    assert set(computed(prepare_run(config, "masks")).values()) == {0}

    workers = NetworkWorkers(gpu_slots(config.clip, config.execution), "missing: weights", "weights")
    without = preparation.prepare_run(config, "masks", list_photos(config), workers)
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


def planned(run):
    """Return the planned numbers of images, copied rows and computed rows per stage, as `--plan` prints them."""
    plans = plan_run(run)
    return {plan.stage: (plan.images, plan.copied_rows, plan.computed_rows) for plan in plans}


def test_a_plan_has_one_line_per_stage(six):
    plans = plan_run(prepared(six))

    assert [plan.stage for plan in plans] == ["texts", "cams", "masks", "mask_scores"]
    assert [plan.shards for plan in plans] == [1, 2, 2, len(photos_by_shard(prepared(six), STAGES["mask_scores"]))]
    assert [plan.cached_shards for plan in plans] == [0, 0, 0, 0]
    assert [plan.stage for plan in plan_run(prepared(six, until="cams"))] == ["texts", "cams"]
    assert plan_run(prepared(six, until="manifest")) == []


def test_a_plan_writes_nothing(six):
    plan_run(prepared(six))
    assert not (six.folder / "store").exists()


def planned_and_actual(run, pool):
    """Run as planned, and return the planned and the actual counts of all stages except texts."""
    plan = planned(run)
    made = make_run(run, pool)
    texts = plan.pop("texts")
    assert texts == (45, 0, sum(record.computed for record in made.of("texts")))
    return plan, made.counts()


def test_a_plan_of_a_repeated_run_equals_the_actual_run(six, pool):
    plan, made = planned_and_actual(prepared(six), pool)
    assert plan == made == {"cams": (6, 0, 6), "masks": (6, 0, 6), "mask_scores": (3, 0, 3)}

    plan, made = planned_and_actual(prepared(six), pool)
    assert plan == made == {"cams": (6, 0, 0), "masks": (6, 0, 0), "mask_scores": (3, 0, 0)}
    assert [each.cached_shards == each.shards for each in plan_run(prepared(six))] == [True] * 4


def test_a_plan_after_changed_photos_equals_the_actual_run(six, pool):
    make_run(prepared(six), pool)
    six.label("a", "dog", "truth.png")
    six.add("g", "cat")
    six.remove("f")

    plan, made = planned_and_actual(prepared(six), pool)

    assert plan == made
    assert [made[stage][2] for stage in made] == [2, 2, 1]  # a and g are new or changed; of these, only a has truth


def test_a_plan_after_changed_settings_equals_the_actual_run(six, pool):
    make_run(prepared(six), pool)
    plan, made = planned_and_actual(prepared(six, crf={"enabled": False}), pool)
    assert plan == made == {"cams": (6, 0, 0), "masks": (6, 0, 6), "mask_scores": (3, 0, 3)}


def test_a_plan_of_a_fresh_run_equals_the_actual_run(six, pool):
    make_run(prepared(six), pool)
    plan, made = planned_and_actual(prepared(six, reuse=Reuse(fresh=True)), pool)
    assert plan == made == {"cams": (6, 0, 6), "masks": (6, 0, 6), "mask_scores": (3, 0, 3)}


def test_a_plan_with_another_number_of_shards_equals_the_actual_run(six, pool):
    make_run(prepared(six), pool)
    plan, made = planned_and_actual(prepared(six, execution={"shards": 3}), pool)
    assert plan == made
    assert made["cams"][0] == 6


def test_a_plan_counts_rows_whose_cams_are_missing_as_computed(six, pool):
    """Only recomputing the CAMs shows that they are unchanged, so the plan counts their masks as computed."""
    first = make_run(prepared(six), pool)
    Path(first.of("cams")[0].uri).unlink()
    gone = first.of("cams")[0].images

    plan, made = planned_and_actual(prepared(six), pool)

    assert plan["cams"] == made["cams"] == (6, 0, gone)
    assert plan["masks"] == (6, 0, gone)
    assert made["masks"] == (6, 0, 0)
