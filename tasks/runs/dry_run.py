"""The option `--plan`: count what a run would do, but do not start the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clipes.tasks.plan.shard_plan import OutputDigests, ShardPlan, Uris, planned_digests
from clipes.tasks.plan.stage import Stage
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.runs.ranking import template_ranking
from clipes.tasks.stages.prompts import PROMPTS

Plans = Mapping[tuple[str, int], ShardPlan]  # (stage name, shard) -> plan


@dataclass(frozen=True)
class StagePlan:
    """The counts of a stage: one line of the table that `--plan` prints."""

    stage: str
    shards: int
    cached_shards: int
    images: int
    copied_rows: int
    computed_rows: int


def plan_run(run: PreparedRun) -> list[StagePlan]:
    """For each stage of a run, count the cached shards, the rows to copy and the rows to compute.

    A run that must still choose its template needs the scores of the stage `prompts`. If all shards of `prompts` are
    cached, this function chooses the template of such a run, and the list has all stages. If a shard of `prompts` is
    not cached, the list of such a run ends with `prompts`.
    """
    lines: list[StagePlan] = []
    plans: dict[tuple[str, int], ShardPlan] = {}
    digests: dict[tuple[str, int], OutputDigests] = {}
    for stage in run.own_stages():
        if stage.name not in run.keys:
            return lines
        own = []
        for shard in run.shards(stage):
            plan = run.plan(stage, shard, _known_uris(run, stage, shard, plans), _digests(run, stage, shard, digests))
            own.append(plan)
            plans[stage.name, shard] = plan
            digests[stage.name, shard] = planned_digests(stage, plan, run.store)
        lines.append(_line(stage, own))
        if stage is PROMPTS and run.chooses_template and all(plan.cached for plan in own):
            uris = [run.store.artifact_uri(plan.key) for plan in own]
            best = template_ranking(run.store, uris, run.inputs.candidates).best
            run = run.with_inputs(run.inputs.with_template(best))
    return lines


def _digests(
    run: PreparedRun, stage: Stage, shard: int, digests: Mapping[tuple[str, int], OutputDigests]
) -> dict[str, OutputDigests]:
    """Return upstream stage -> image id -> digest of the row, for each existing row that a shard reads."""
    return {
        read.name: {
            image_id: row_digest
            for own in stage.shards_read(read, run.inputs, shard)
            for image_id, row_digest in digests[read.name, own].items()
        }
        for read in stage.photo_upstream
    }


def _known_uris(run: PreparedRun, stage: Stage, shard: int, plans: Plans) -> Uris:
    """Return upstream stage -> URIs of the artifacts that a shard reads, only for upstream stages that train weights.

    An upstream stage is left out if one of its artifacts does not exist yet.
    """
    found = {
        read.name: [plans[read.name, own] for own in stage.shards_read(read, run.inputs, shard)]
        for read in stage.upstream
        if read.kind.of_training
    }
    return {
        name: tuple(run.store.artifact_uri(plan.key) for plan in read)
        for name, read in found.items()
        if all(plan.cached for plan in read)
    }


def _line(stage: Stage, plans: Sequence[ShardPlan]) -> StagePlan:
    return StagePlan(
        stage.name,
        shards=len(plans),
        cached_shards=sum(plan.cached for plan in plans),
        images=sum(plan.rows for plan in plans),
        copied_rows=sum(plan.copied for plan in plans),
        computed_rows=sum(plan.computed for plan in plans),
    )
