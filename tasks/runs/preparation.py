"""Before any photo is opened: the vocabulary, the list of photos, the weights' digest, the keys, the shards.

Torch takes seconds to import; what needs it is imported where it is called, so that a mistake in the
configuration or the list, and the status of a run, are told at once.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from clipes.tasks.inputs.datasets import Listing, read_dataset
from clipes.tasks.inputs.photos import Photo, Reject
from clipes.tasks.inputs.templates import shipped_templates
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.plan.keys import sample_of, shard_of
from clipes.tasks.plan.shard_plan import ALL_THAT_IS_THERE, OutputDigests, Reuse, ShardPlan, plan_shard
from clipes.tasks.plan.stages import (
    RANKING_STAGES,
    RUN_STAGES,
    STAGES,
    TRAINING_STAGES,
    Inputs,
    Stage,
    stage_keys,
    texts_stage_key,
)
from clipes.tasks.storage.artifact_store import ArtifactKey, ArtifactStore
from clipes_core.config.run import AUTO_TEMPLATE, RunConfig
from clipes_core.errors import ConfigError, DatasetError
from clipes_core.vocabulary import Vocabulary

if TYPE_CHECKING:
    from clipes.tasks.training.recipes import Recipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedRun:
    """A run whose photos are listed and whose keys are known, but for those that follow from a template to choose.

    Attributes:
        config: with its name and paths resolved.
        inputs: what the stage keys were made of.
        store: of the artifacts.
        stages: the stages that are part of the run.
        shards: shard -> its photos; shards without photos are left out.
        rejects: photos that could not be listed.
        until: the last stage to run.
        reuse: what it takes of the artifacts that are there.
        sample: ids of the photos that stages of a sample have a row for.
        evaluation: as `shards`, of the photos that the segmenter is scored on.
        recipe: of the training; None where the run trains nothing.
    """

    config: RunConfig
    inputs: Inputs
    store: ArtifactStore
    stages: tuple[str, ...]
    shards: Mapping[int, tuple[Photo, ...]]
    rejects: tuple[Reject, ...]
    until: str
    reuse: Reuse
    sample: frozenset[str] = frozenset()
    evaluation: Mapping[int, tuple[Photo, ...]] = field(default_factory=dict)
    recipe: "Recipe | None" = None

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """Stage -> stage key, of the run's stages; without those that wait for a template to be chosen."""
        return {stage: key for stage, key in stage_keys(self.inputs).items() if stage in self.stages}

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes."""
        return self.inputs.vocabulary

    @property
    def photos(self) -> int:
        """How many photos there are to work on."""
        return sum(len(photos) for photos in self.shards.values())

    @property
    def evaluated(self) -> int:
        """How many photos the segmenter is scored on."""
        return sum(len(photos) for photos in self.evaluation.values())

    @property
    def chooses_template(self) -> bool:
        """Whether the template is still to be chosen."""
        return self.includes("texts") and not self.config.prompts.templates

    def includes(self, stage: str) -> bool:
        """Whether a stage is part of the run."""
        return stage in self.stages

    def with_template(self, template: str) -> "PreparedRun":
        """The run as it goes on with a template that was chosen."""
        config = _with_template(self.config, template)
        return replace(self, config=config, inputs=replace(self.inputs, config=config))

    def with_sampled(self, templates: tuple[str, ...]) -> "PreparedRun":
        """The run as it goes on with the candidates whose CAMs are scored."""
        return replace(self, inputs=replace(self.inputs, sampled=templates))

    def texts_config(self, stage: str, shard: int) -> RunConfig:
        """The config that the texts of a shard are made with: of one candidate, or the run's own."""
        return self.config if stage == "texts" else _with_template(self.config, self.inputs.candidates[shard])

    def texts(self, stage: str = "texts", shard: int = 0) -> ArtifactKey:
        """The key of a texts artifact; that of a candidate is the one that a run with this template has."""
        from clipes.tasks.stages.texts import texts_key

        return texts_key(texts_stage_key(self.inputs, self.texts_config(stage, shard).prompts.templates))

    def texts_cached(self, stage: str = "texts", shard: int = 0) -> bool:
        """Whether a texts artifact is there."""
        from clipes.tasks.stages.texts import text_count

        rows = text_count(self.config, self.vocabulary)
        return not self.reuse.fresh and self.store.is_complete(self.texts(stage, shard), rows, self.reuse.verify)

    def shard_numbers(self, stage: Stage) -> list[int]:
        """The shards of a stage: of photos, one per template, or one in all."""
        if stage.sharded:
            return list(self.stage_shards(stage))
        return list(range(len(self.inputs.candidates))) if stage.name == "candidate_texts" else [0]

    def shards_read(self, stage: Stage, upstream: str, shard: int) -> tuple[int, ...]:
        """The shards of an upstream stage that a shard of a stage reads."""
        if stage.rows_of == "training":
            return tuple(self.stage_shards(STAGES[upstream]))
        if STAGES[upstream].sharded:
            return (shard,)
        if upstream != "candidate_texts":
            return (0,)
        read = self.inputs.sampled if stage.sampled else self.inputs.candidates
        return tuple(self.inputs.candidates.index(template) for template in read)

    def stage_photos(self, stage: Stage, shard: int) -> tuple[Photo, ...]:
        """The photos of a shard that have a row in a stage; all where it has one shard in all."""
        if stage.rows_of == "training":
            return tuple(photo for photos in self.shards.values() for photo in photos)
        return tuple(photo for photo in self._shards_of(stage)[shard] if self._has_row(stage, photo))

    def stage_shards(self, stage: Stage) -> dict[int, tuple[Photo, ...]]:
        """The photos of each shard that have a row in a stage; shards without any are left out."""
        kept = {shard: self.stage_photos(stage, shard) for shard in self._shards_of(stage)}
        return {shard: photos for shard, photos in kept.items() if photos}

    def plan(
        self, stage: Stage, shard: int, upstream: Mapping[str, tuple[str, ...]], above: Mapping[str, OutputDigests]
    ) -> ShardPlan:
        """What there is to do for a shard; see `plan_shard`."""
        key = ArtifactKey(stage.name, self.keys[stage.name], shard, "")
        return plan_shard(stage, key, self.stage_photos(stage, shard), self.store, upstream, above, self.reuse)

    def _shards_of(self, stage: Stage) -> Mapping[int, tuple[Photo, ...]]:
        return self.evaluation if stage.rows_of == "evaluation" else self.shards

    def _has_row(self, stage: Stage, photo: Photo) -> bool:
        return (
            (photo.truth_uri is not None or not stage.needs_truth)
            and (bool(photo.class_ids) or not stage.needs_labels)
            and (photo.image_id in self.sample or not stage.sampled)
        )


def prepare_run(config: RunConfig, until: str, reuse: Reuse = ALL_THAT_IS_THERE) -> PreparedRun:
    """List the photos and work out the keys; opens no photo, but makes scenes that are missing.

    A training is tried with made-up photos, which takes some seconds.

    Raises:
        UsageError: config, vocabulary, weights or data set cannot be used.
    """
    vocabulary = check_request(config, until)
    stages = _stages(config, until)
    if not stages or config.prompts.template != AUTO_TEMPLATE:
        return _prepared(config, vocabulary, stages, until, reuse)
    run = _prepared(config, vocabulary, (*RANKING_STAGES, *stages), until, reuse, shipped_templates())
    _check_labelled(run)
    return run


def prepare_ranking(
    config: RunConfig, candidates: tuple[str, ...], scored_photos: int = 0, reuse: Reuse = ALL_THAT_IS_THERE
) -> PreparedRun:
    """List the photos and work out the keys of a ranking of templates; computes nothing.

    Args:
        config: of the run; its own template does not count.
        candidates: the templates, different ones.
        scored_photos: on how many photos with truth the CAMs of a sample of templates are scored; 0 for none.
        reuse: what is taken of what is there.

    Raises:
        UsageError: config, vocabulary, weights or data set cannot be used, no photo has labels, or none has the
            truth that scores need.
    """
    last = ("prompt_scores",) if scored_photos else ()
    stages = (*RANKING_STAGES, *last)
    run = _prepared(config, checked_vocabulary(config), stages, stages[-1], reuse, candidates)
    labelled = _check_labelled(run)
    if not scored_photos:
        return run
    with_truth = [photo.image_id for photo in labelled if photo.truth_uri is not None]
    if labelled and not with_truth:
        raise DatasetError(
            "--with-miou: no photo with labels has a true mask: set dataset.truth, or a list's column truth"
        )
    return replace(run, sample=sample_of(with_truth, scored_photos))


def _prepared(
    config: RunConfig,
    vocabulary: Vocabulary,
    stages: tuple[str, ...],
    until: str,
    reuse: Reuse,
    candidates: tuple[str, ...] = (),
) -> PreparedRun:
    listing = read_dataset(config.dataset, vocabulary)
    recipe, evaluation = None, Listing((), ())
    if "segmenter" in stages:
        evaluation, recipe = _evaluation(config, vocabulary), _recipe(config, vocabulary)  # which takes seconds
    if not evaluation.photos:
        stages = tuple(stage for stage in stages if stage != "segmenter_scores")
    inputs = _inputs(config, vocabulary, candidates, recipe)
    count = config.execution.shards
    return PreparedRun(
        *(config, inputs, ArtifactStore(config.store), stages, _shards(listing.photos, count)),
        *((*listing.rejects, *evaluation.rejects), until, reuse),
        evaluation=_shards(evaluation.photos, count),
        recipe=recipe,
    )


def _stages(config: RunConfig, until: str) -> tuple[str, ...]:
    stages = RUN_STAGES[1 : RUN_STAGES.index(until) + 1]
    return tuple(stage for stage in stages if config.train.enabled or stage not in TRAINING_STAGES)


def _recipe(config: RunConfig, vocabulary: Vocabulary) -> "Recipe":
    from clipes.tasks.machine.devices import training_precision
    from clipes.tasks.training.building import try_recipe
    from clipes.tasks.training.recipes import read_recipe

    num_classes = 1 + len(vocabulary.classes)
    recipe = read_recipe(config, num_classes, training_precision(config))
    try_recipe(recipe, num_classes)
    return recipe


def _evaluation(config: RunConfig, vocabulary: Vocabulary) -> Listing:
    """The photos that the segmenter is scored on; none where the config names none."""
    other = config.evaluation.photos
    if not other:
        logger.info("evaluation names no photos: the segmenter is not scored")
        return Listing((), ())
    named = config.dataset.model_copy(update={**other, "empty": "background"})
    listing = read_dataset(named, vocabulary, labelled=False)
    if not listing.photos:
        raise DatasetError(
            f"evaluation: none of its {len(listing.rejects)} photos can be used; the first: {listing.rejects[0].reason}"
        )
    return listing


def check_request(config: RunConfig, until: str) -> Vocabulary:
    """Check what can be checked in no time: the stage's name and the vocabulary, which is returned.

    Raises:
        ConfigError: one of them cannot be used.
    """
    if until not in RUN_STAGES:
        raise ConfigError(f"--until {until}: no such stage, there are: {', '.join(RUN_STAGES)}")
    if until == "segmenter" and not config.train.enabled:
        raise ConfigError("--until segmenter: train.enabled is false: set it to true, or name an earlier stage")
    return checked_vocabulary(config)


def checked_vocabulary(config: RunConfig) -> Vocabulary:
    """The vocabulary of a config, fit for its settings.

    Raises:
        ConfigError: it cannot be read, or leaves CAMs empty.
    """
    vocabulary = load_vocabulary(config.dataset.classes)
    _check_competition(config, vocabulary)
    return vocabulary


def _inputs(config: RunConfig, vocabulary: Vocabulary, candidates: tuple[str, ...], recipe: "Recipe | None") -> Inputs:
    from clipes.tasks.machine.devices import resolve_precision
    from clipes.tasks.models.clip import weights_digest

    return Inputs(
        *(config, vocabulary, weights_digest(config.clip), resolve_precision(config.clip), candidates),
        training=recipe.digest if recipe else None,
    )


def _with_template(config: RunConfig, template: str) -> RunConfig:
    return config.model_copy(update={"prompts": config.prompts.model_copy(update={"template": template})})


def _check_labelled(run: PreparedRun) -> list[Photo]:
    """The photos that have labels: at least one, unless no photo could be listed, which the run tells."""
    labelled = [photo for photos in run.shards.values() for photo in photos if photo.class_ids]
    if run.photos and not labelled:
        raise DatasetError(
            f"no one of {run.photos} photos has labels, and sharpness ranks templates by those of the labels: "
            "give labels, or a prompts.template"
        )
    return labelled


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
