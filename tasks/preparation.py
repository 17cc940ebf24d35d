"""Before any photo is opened: the vocabulary, the list of photos, the weights' digest, the keys, the shards.

Torch takes seconds to import; what needs it is imported where it is called, so that a mistake in the
configuration or the list, and the status of a run, are told at once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clipes_core.config import RunConfig
from clipes_core.errors import ConfigError
from clipes_core.vocabulary import Vocabulary
from tasks.artifact_store import ArtifactKey, ArtifactStore
from tasks.datasets import read_dataset
from tasks.keys import shard_of
from tasks.photos import Photo, Reject
from tasks.shard_plan import OutputDigests, ShardPlan, plan_shard, planned_digests
from tasks.stages import ALL_STAGES, SHARDED_STAGES, Inputs, Stage, stage_keys
from tasks.vocabularies import load_vocabulary


@dataclass(frozen=True)
class PreparedRun:
    """A run whose photos are listed and whose keys are known.

    Attributes:
        config: with its name and paths resolved.
        inputs: what the stage keys were made of.
        store: of the artifacts.
        keys: stage -> stage key.
        shards: shard -> its photos; shards without photos are left out.
        rejects: photos that could not be listed.
        until: the last stage to run.
        fresh: use no artifact that is there.
    """

    config: RunConfig
    inputs: Inputs
    store: ArtifactStore
    keys: Mapping[str, str]
    shards: Mapping[int, tuple[Photo, ...]]
    rejects: tuple[Reject, ...]
    until: str
    fresh: bool

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes."""
        return self.inputs.vocabulary

    @property
    def photos(self) -> int:
        """How many photos there are to work on."""
        return sum(len(photos) for photos in self.shards.values())

    @property
    def texts(self) -> ArtifactKey:
        """The key of the texts artifact."""
        from tasks.texts import texts_key

        return texts_key(self.keys["texts"])

    @property
    def texts_cached(self) -> bool:
        """Whether the texts artifact is there."""
        from tasks.texts import text_count

        rows = text_count(self.config, self.vocabulary)
        return not self.fresh and self.store.is_complete(self.texts, rows)

    def includes(self, stage: str) -> bool:
        """Whether a stage is part of the run."""
        return ALL_STAGES.index(stage) <= ALL_STAGES.index(self.until)

    def stage_photos(self, stage: Stage, shard: int) -> tuple[Photo, ...]:
        """The photos of a shard that have a row in a stage."""
        return tuple(photo for photo in self.shards[shard] if photo.truth_uri is not None or not stage.needs_truth)

    def stage_shards(self, stage: Stage) -> dict[int, tuple[Photo, ...]]:
        """The photos of each shard that have a row in a stage; shards without any are left out."""
        kept = {shard: self.stage_photos(stage, shard) for shard in self.shards}
        return {shard: photos for shard, photos in kept.items() if photos}

    def plan(
        self, stage: Stage, shard: int, upstream: Mapping[str, str], above: Mapping[str, OutputDigests]
    ) -> ShardPlan:
        """What there is to do for a shard; see `plan_shard`."""
        key = ArtifactKey(stage.name, self.keys[stage.name], shard, "")
        return plan_shard(stage, key, self.stage_photos(stage, shard), self.store, upstream, above, self.fresh)


@dataclass(frozen=True)
class StagePlan:
    """A line of `--plan`."""

    stage: str
    shards: int
    cached_shards: int
    images: int
    copied_rows: int
    computed_rows: int


def prepare_run(config: RunConfig, until: str, fresh: bool = False) -> PreparedRun:
    """List the photos and work out the keys; opens no photo and computes nothing.

    Raises:
        UsageError: config, vocabulary, weights or data set cannot be used.
    """
    vocabulary = check_request(config, until)
    listing = read_dataset(config.dataset, vocabulary)
    inputs = _inputs(config, vocabulary)
    shards = _shards(listing.photos, config.execution.shards)
    store = ArtifactStore(config.store)
    return PreparedRun(config, inputs, store, stage_keys(inputs), shards, listing.rejects, until, fresh)


def check_request(config: RunConfig, until: str) -> Vocabulary:
    """Check what can be checked in no time: the stage's name and the vocabulary, which is returned.

    Raises:
        ConfigError: one of them cannot be used.
    """
    if until not in ALL_STAGES:
        raise ConfigError(f"--until {until}: no such stage, there are: {', '.join(ALL_STAGES)}")
    vocabulary = load_vocabulary(config.dataset.classes)
    _check_competition(config, vocabulary)
    return vocabulary


def _inputs(config: RunConfig, vocabulary: Vocabulary) -> Inputs:
    from tasks.devices import resolve_precision
    from tasks.weights import weights_digest

    return Inputs(config, vocabulary, weights_digest(config.clip), resolve_precision(config.clip))


def plan_run(run: PreparedRun) -> list[StagePlan]:
    """What a run would do, without doing it: what is cached, copied and computed per stage."""
    from tasks.texts import text_count

    texts = text_count(run.config, run.vocabulary)
    cached = int(run.texts_cached)
    plans = [StagePlan("texts", 1, cached, texts, 0, 0 if cached else texts)] if run.includes("texts") else []
    digests: dict[tuple[str, int], OutputDigests] = {}
    for stage in SHARDED_STAGES:
        if run.includes(stage.name):
            shard_plans = [_planned(run, stage, shard, digests) for shard in run.stage_shards(stage)]
            plans.append(_stage_plan(stage.name, shard_plans))
    return plans


def _planned(run: PreparedRun, stage: Stage, shard: int, digests: dict[tuple[str, int], OutputDigests]) -> ShardPlan:
    plan = run.plan(stage, shard, {}, {name: digests[name, shard] for name in stage.sharded_upstream})
    digests[stage.name, shard] = planned_digests(plan, run.store)
    return plan


def _stage_plan(stage: str, plans: list[ShardPlan]) -> StagePlan:
    return StagePlan(
        stage,
        shards=len(plans),
        cached_shards=sum(plan.cached for plan in plans),
        images=sum(len(plan.photos) for plan in plans),
        copied_rows=sum(plan.copied for plan in plans),
        computed_rows=sum(len(plan.to_compute) for plan in plans),
    )


def _shards(photos: Iterable[Photo], count: int) -> dict[int, tuple[Photo, ...]]:
    found: dict[int, list[Photo]] = {}
    for photo in photos:
        found.setdefault(shard_of(photo.image_id, count), []).append(photo)
    return {shard: tuple(found[shard]) for shard in sorted(found)}


def _check_competition(config: RunConfig, vocabulary: Vocabulary) -> None:
    if config.cam.softmax and config.prompts.background and not vocabulary.background_words:
        raise ConfigError(
            f"dataset.classes: {config.dataset.classes} has no background_words, and without any the softmax leaves a "
            "photo with one class an empty CAM: add some, or set prompts.background=false or cam.softmax=false"
        )
