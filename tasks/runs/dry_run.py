"""The option `--plan`: count what a run would do, but do not start the run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from clipes.tasks.machine.background import map_in_threads
from clipes.tasks.plan.keys import digest, photo_digest
from clipes.tasks.plan.shard_plan import ShardPlan, Uris, digests_by_id, planned_digests
from clipes.tasks.plan.stage import Stage
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.runs.templates.ranking import template_ranking
from clipes.tasks.stages.prompts import PROMPTS


@dataclass(frozen=True)
class StagePlan:
    """The counts of a stage: one line of the table that `--plan` prints.

    Attributes:
        shared_rows: number of rows that an earlier run of the same plan makes; see `plan_run`.
    """

    stage: str
    shards: int
    cached_shards: int
    images: int
    copied_rows: int
    computed_rows: int
    shared_rows: int = 0


@dataclass(frozen=True)
class _PlannedShard:
    """What the plans of the next stages need to know about a planned shard, and its counts."""

    uri: str
    cached: bool
    images: int
    copied: int
    computed: int
    digests: list[pa.Table]
    shared: bool = False


Planned = Mapping[str, Mapping[int, _PlannedShard]]  # stage name -> shard -> its plan


def plan_run(run: PreparedRun, earlier: set[str] | None = None) -> list[StagePlan]:
    """For each stage of a run, count the cached shards, the rows to copy and the rows to compute.

    Args:
        run: the run.
        earlier: digests of the shards that runs make which are planned before this one, and which count as shared. The
            function adds the shards that this run makes. None if the run is planned alone.

    A run that must still choose its template needs the scores of the stage `prompts`. If all shards of `prompts` are
    cached, this function chooses the template of such a run, and the list has all stages. If a shard of `prompts` is
    not cached, the list of such a run ends with `prompts`.
    """
    lines: list[StagePlan] = []
    earlier = set() if earlier is None else earlier
    planned: dict[str, dict[int, _PlannedShard]] = {}
    for stage in run.own_stages():
        if stage.name not in run.keys:
            return lines
        own = planned[stage.name] = _planned_shards(run, stage, planned, earlier)
        lines.append(_line(stage, own.values()))
        if stage is PROMPTS and run.chooses_template and all(shard.cached for shard in own.values()):
            best = template_ranking(run.store, [shard.uri for shard in own.values()], run.inputs.candidates).best
            run = run.with_inputs(run.inputs.with_prompts(template=best))
    return lines


def _planned_shards(run: PreparedRun, stage: Stage, planned: Planned, earlier: set[str]) -> dict[int, _PlannedShard]:
    def plan(shard: int) -> tuple[str, _PlannedShard]:
        found = _plan(run, stage, shard, planned)
        digests = planned_digests(stage, found, run.store)
        uri = run.store.artifact_uri(found.key)
        counts = (found.rows, found.copied, found.computed)
        return _identity(found), _PlannedShard(uri, found.cached, *counts, digests)

    shards, result = run.shards(stage), dict[int, _PlannedShard]()
    for shard, (identity, found) in zip(shards, map_in_threads(plan, shards), strict=True):
        shared = identity in earlier and not found.cached
        result[shard] = replace(found, copied=0, computed=0, shared=True) if shared else found
        if not found.cached:
            earlier.add(identity)
    return result


def _identity(plan: ShardPlan) -> str:
    """Return a digest of what decides the rows of a shard; unlike its content key, it is known before other stages."""
    key = plan.key
    return digest([key.stage, key.stage_key, key.shard, sorted(map(photo_digest, plan.photos))])


def _plan(run: PreparedRun, stage: Stage, shard: int, planned: Planned) -> ShardPlan:
    digests = {
        read.name: digests_by_id(
            table
            for own in stage.shards_read(read, run.inputs, shard)
            for table in planned[read.name][own].digests  # only of existing rows
        )
        for read in stage.photo_upstream
    }
    return run.plan(stage, shard, _known_uris(run, stage, shard, planned), digests)


def _known_uris(run: PreparedRun, stage: Stage, shard: int, planned: Planned) -> Uris:
    """Return upstream stage -> URIs of the artifacts that a shard reads, only for upstream stages that train weights.

    An upstream stage is left out if one of its artifacts does not exist yet.
    """
    found = {
        read.name: [planned[read.name][own] for own in stage.shards_read(read, run.inputs, shard)]
        for read in stage.upstream
        if read.kind.of_training
    }
    return {name: tuple(own.uri for own in read) for name, read in found.items() if all(own.cached for own in read)}


def _line(stage: Stage, shards: Iterable[_PlannedShard]) -> StagePlan:
    counted = list(shards)
    return StagePlan(
        stage.name,
        shards=len(counted),
        cached_shards=sum(shard.cached for shard in counted),
        images=sum(shard.images for shard in counted),
        copied_rows=sum(shard.copied for shard in counted),
        computed_rows=sum(shard.computed for shard in counted),
        shared_rows=sum(shard.images for shard in counted if shard.shared),
    )
