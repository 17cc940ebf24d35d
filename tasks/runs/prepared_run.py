"""A run whose photos are listed and whose keys are known, before anything is computed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from clipes.tasks.inputs.photos import Reject
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.shard_plan import OutputDigests, Reuse, ShardPlan, Uris, plan_shard
from clipes.tasks.plan.stage import JointStage, Stage
from clipes.tasks.stages.registry import STAGES, stage_keys
from clipes.tasks.stages.texts import TEXTS
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.config.run import RunConfig
from clipes_core.vocabulary import Vocabulary


@dataclass(frozen=True)
class PreparedRun:
    """What a run is going to do. A template that is still to be chosen leaves its stages without a key.

    Attributes:
        inputs: what its artifacts are made from.
        store: of the artifacts.
        stages: names of the stages that are part of the run, in their order.
        rejects: photos that could not be listed.
        until: the last stage to run.
        reuse: what it takes from the store.
    """

    inputs: RunInputs
    store: ArtifactStore
    stages: tuple[str, ...]
    rejects: tuple[Reject, ...]
    until: str
    reuse: Reuse

    @property
    def config(self) -> RunConfig:
        """The configuration, its name and paths resolved."""
        return self.inputs.config

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes."""
        return self.inputs.vocabulary

    @property
    def photos(self) -> int:
        """How many photos there are to work on."""
        return sum(len(photos) for photos in self.inputs.shards.values())

    @property
    def evaluated(self) -> int:
        """How many photos the segmenter is scored on."""
        return sum(len(photos) for photos in self.inputs.evaluation.values())

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """Stage -> stage key, of the run's stages; without those that wait for a template to be chosen."""
        return {stage: key for stage, key in stage_keys(self.inputs).items() if stage in self.stages}

    @property
    def chooses_template(self) -> bool:
        """Whether the template is still to be chosen."""
        return TEXTS.name in self.stages and not self.config.prompts.templates

    def with_template(self, template: str) -> "PreparedRun":
        """Return the run with the template that was chosen."""
        return replace(self, inputs=self.inputs.with_template(template))

    def with_sampled(self, templates: tuple[str, ...]) -> "PreparedRun":
        """Return the run with the candidates whose CAMs are scored."""
        return replace(self, inputs=replace(self.inputs, sampled=templates))

    def own_stages(self) -> list[Stage]:
        """Return the stages that are part of the run, in their order."""
        return [STAGES[name] for name in self.stages]

    def shards(self, stage: Stage) -> list[int]:
        """Return the numbers of a stage's shards; none if the stage is no part of the run."""
        return stage.kind.shards(stage, self.inputs) if stage.name in self.stages else []

    def shards_read(self, stage: Stage, upstream: Stage, shard: int) -> tuple[int, ...]:
        """Return the shards of an upstream stage that a shard of a stage reads."""
        if isinstance(stage, JointStage):  # it reads all of them together
            return tuple(upstream.kind.shards(upstream, self.inputs))
        return upstream.kind.read_by(stage, self.inputs, shard)

    def plan(
        self, stage: Stage, shard: int, upstream: Uris, upstream_digests: Mapping[str, OutputDigests]
    ) -> ShardPlan:
        """Find out what there is to do for a shard; see `plan_shard`."""
        return plan_shard(
            stage, shard, self.keys[stage.name], self.inputs, self.store, upstream, upstream_digests, self.reuse
        )
