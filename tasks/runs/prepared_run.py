"""A prepared run: its photos are listed and its keys are known, but nothing is computed yet."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from clipes.tasks.inputs.photos import Reject
from clipes.tasks.plan.caching import Reuse
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.shard_plan import OutputDigests, ShardPlan, Uris, plan_shard
from clipes.tasks.plan.stage import Stage
from clipes.tasks.stages.registry import STAGES, stage_keys
from clipes.tasks.stages.texts import TEXTS
from clipes.tasks.storage.listed_store import ListedStore
from clipes_core.config.run import RunConfig


@dataclass(frozen=True)
class PreparedRun:
    """A run whose photos, stages and shards are known.

    Until the run has chosen its template, the stages that depend on the template have no key.

    Attributes:
        inputs: inputs that the artifacts are made from.
        store: store of the artifacts; it lists each folder of artifacts once per run.
        stages: names of the stages that are part of the run, in the order of the pipeline.
        rejects: photos that were listed but cannot be used, each with the reason.
        until: last stage to run.
        reuse: which artifacts and rows of the store the run reuses.
        notes: remarks about the data set, for the report.
        evaluation_rejects: number of rejects that are evaluation photos.
        missing_weights: name of CLIP's weights if they are missing; otherwise empty. Such a run can only be planned.
    """

    inputs: RunInputs
    store: ListedStore
    stages: tuple[str, ...]
    rejects: tuple[Reject, ...]
    until: str
    reuse: Reuse
    notes: tuple[str, ...] = ()
    evaluation_rejects: int = 0
    missing_weights: str = ""

    @property
    def config(self) -> RunConfig:
        """The configuration, with its name and paths resolved."""
        return self.inputs.config

    @property
    def photos(self) -> int:
        """The number of photos to process."""
        return sum(len(photos) for photos in self.inputs.shards.values())

    @property
    def evaluated(self) -> int:
        """The number of photos that the segmenter is scored on."""
        return sum(len(photos) for photos in self.inputs.evaluation.values())

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """Stage of the run -> stage key. A stage that depends on a template is left out until there is a template."""
        return {stage: key for stage, key in stage_keys(self.inputs).items() if stage in self.stages}

    @property
    def chooses_template(self) -> bool:
        """True if the run must still choose its template."""
        return TEXTS.name in self.stages and not self.config.prompts.templates

    def with_inputs(self, inputs: RunInputs) -> "PreparedRun":
        """Return this run with different inputs, for example with the template that a ranking has chosen."""
        return replace(self, inputs=inputs)

    def own_stages(self) -> list[Stage]:
        """Return the stages that are part of the run, in the order of the pipeline."""
        return [STAGES[name] for name in self.stages]

    def shards(self, stage: Stage) -> list[int]:
        """Return the shard numbers of a stage; the list is empty if the stage is not part of the run."""
        return stage.kind.shards(stage, self.inputs) if stage.name in self.stages else []

    def plan(
        self, stage: Stage, shard: int, upstream: Uris, digests: Mapping[str, OutputDigests], continues: bool = False
    ) -> ShardPlan:
        """Return the plan of a shard; see `plan_shard`. `continues` is the field of `Reuse`."""
        reuse = replace(self.reuse, continues=continues)
        return plan_shard(stage, shard, self.keys[stage.name], self.inputs, self.store, upstream, digests, reuse)
