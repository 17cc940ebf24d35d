"""What a run would do, without doing it."""

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass

from clipes.tasks.plan.shard_plan import OutputDigests, ShardPlan, planned_digests
from clipes.tasks.plan.stages import STAGES, TEXT_STAGES, Stage
from clipes.tasks.runs.preparation import PreparedRun
from clipes.tasks.runs.ranking import template_ranking
from clipes.tasks.stages.texts import text_count


@dataclass(frozen=True)
class StagePlan:
    """A line of `--plan`."""

    stage: str
    shards: int
    cached_shards: int
    images: int
    copied_rows: int
    computed_rows: int


def plan_run(run: PreparedRun) -> list[StagePlan]:
    """What is cached, copied and computed per stage.

    Where the template is still to be chosen, the list ends with the stage that chooses it; the other stages follow
    when that is done already.
    """
    plans: list[StagePlan] = []
    shard_plans: dict[tuple[str, int], ShardPlan] = {}
    digests: dict[tuple[str, int], OutputDigests] = {}
    for stage in (stage for stage in STAGES.values() if run.includes(stage.name)):
        if stage.name in TEXT_STAGES:
            if stage.name not in run.keys:
                return plans
            plans.append(_texts_plan(run, stage))
            continue
        for shard in run.shard_numbers(stage):
            above = {name: _above(run, stage, name, shard, digests) for name in stage.sharded_upstream}
            shard_plans[stage.name, shard] = run.plan(stage, shard, _trained(run, stage, shard_plans), above)
            digests[stage.name, shard] = planned_digests(shard_plans[stage.name, shard], run.store)
        own = [plan for (name, _), plan in shard_plans.items() if name == stage.name]
        plans.append(_stage_plan(stage.name, own) if stage.sharded else _training_plan(run, stage.name, *own))
        if stage.name == "prompts" and run.chooses_template and all(plan.cached for plan in own):
            uris = [run.store.artifact_uri(plan.key) for plan in own]
            run = run.with_template(template_ranking(run.store, uris, run.inputs.candidates).best)
    return plans


def _above(
    run: PreparedRun, stage: Stage, upstream: str, shard: int, digests: Mapping[tuple[str, int], OutputDigests]
) -> OutputDigests:
    """Digests of all rows of an upstream stage that a shard reads."""
    return dict(ChainMap(*(dict(digests[upstream, own]) for own in run.shards_read(stage, upstream, shard))))


def _trained(run: PreparedRun, stage: Stage, plans: Mapping[tuple[str, int], ShardPlan]) -> dict[str, tuple[str, ...]]:
    """The segmenter that a stage reads, where it is there."""
    read = {name: plans[name, 0] for name in stage.upstream if STAGES[name].rows_of == "training"}
    return {name: (run.store.artifact_uri(plan.key),) for name, plan in read.items() if plan.cached}


def _texts_plan(run: PreparedRun, stage: Stage) -> StagePlan:
    texts, shards = text_count(run.config, run.vocabulary), run.shard_numbers(stage)
    cached = sum(run.texts_cached(stage.name, shard) for shard in shards)
    return StagePlan(stage.name, len(shards), cached, texts * len(shards), 0, texts * (len(shards) - cached))


def _training_plan(run: PreparedRun, stage: str, plan: ShardPlan) -> StagePlan:
    steps = run.recipe.iterations if run.recipe else 0
    return StagePlan(stage, 1, int(plan.cached), steps, 0, 0 if plan.cached else steps)


def _stage_plan(stage: str, plans: list[ShardPlan]) -> StagePlan:
    return StagePlan(
        stage,
        shards=len(plans),
        cached_shards=sum(plan.cached for plan in plans),
        images=sum(len(plan.photos) for plan in plans),
        copied_rows=sum(plan.copied for plan in plans),
        computed_rows=sum(len(plan.to_compute) for plan in plans),
    )
