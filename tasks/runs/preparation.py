"""Prepare a run: compute its keys, and divide its photos into shards. Open no photo.

Importing torch takes seconds. Modules that need torch are imported inside functions, so that a mistake in the
configuration is reported at once.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clipes.tasks.inputs.datasets.listing import Listing
from clipes.tasks.inputs.templates import shipped_templates
from clipes.tasks.machine.worker_state import NetworkWorkers, WorkerSlot
from clipes.tasks.plan.caching import REUSE_ALL, Reuse
from clipes.tasks.plan.run_inputs import Ranking, RunInputs, Shards
from clipes.tasks.plan.sharding import divide_into_shards, sample_of
from clipes.tasks.plan.time_limit import warn_of_time_limit
from clipes.tasks.runs.inputs.photos import NO_PHOTOS, list_evaluation
from clipes.tasks.runs.inputs.vocabulary import checked_vocabulary, warn_of_unknown_words
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.runs.record.shard_count import decide_count
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.stages.prompt_scores import PROMPT_SCORES
from clipes.tasks.stages.registry import STAGES, stages_until
from clipes.tasks.stages.texts import RankingOfTemplates
from clipes.tasks.stages.true_masks import EVALUATION_TRUE_MASKS, TRUE_MASKS, with_true_masks
from clipes.tasks.storage.listed_store import ListedStore
from clipes_core.config.pseudo_masks import AUTO_TEMPLATE
from clipes_core.config.run import RunConfig
from clipes_core.errors import DatasetError
from clipes_core.vocabulary import Vocabulary

if TYPE_CHECKING:
    from clipes.tasks.training.recipes import Recipe


def prepare_run(
    config: RunConfig, until: str, listing: Listing, workers: NetworkWorkers, reuse: Reuse = REUSE_ALL
) -> PreparedRun:
    """Compute the keys and shards of a run. Call `training_trial.check_training` before the run starts.

    Args:
        config: configuration of the run.
        until: name of the last stage to run; `check_request` must accept it.
        listing: photos of the data set.
        workers: the GPU workers. Their devices decide what the precision `auto` means, and their weights the keys.
        reuse: which artifacts and rows of the store are reused.

    Raises:
        UsageError: the config, the vocabulary, the weights or the evaluation photos cannot be used.
    """
    stages = stages_until(config, until)
    if not stages or config.prompts.template != AUTO_TEMPLATE:
        return _prepared(config, stages, until, listing, workers, reuse)
    ranking = RankingOfTemplates(shipped_templates())
    return _prepared(config, (*_stages_of(ranking), *stages), until, listing, workers, reuse, ranking)


def prepare_ranking(
    config: RunConfig,
    ranking: Ranking,
    listing: Listing,
    workers: NetworkWorkers,
    scored_photos: int = 0,
    reuse: Reuse = REUSE_ALL,
) -> PreparedRun:
    """Compute the keys and shards of a ranking.

    Args:
        config: configuration of the run. A ranking of templates ignores its template; other rankings need one.
        ranking: what to rank.
        listing: photos of the data set.
        workers: the GPU workers. Their devices decide what the precision `auto` means, and their weights the keys.
        scored_photos: largest number of photos on which the CAMs of sampled templates are scored; 0 to score no CAMs.
            Each of these photos has labels and a true mask. Only a ranking of templates scores CAMs.
        reuse: which artifacts and rows of the store are reused.

    Raises:
        UsageError: the config, the vocabulary or the weights cannot be used; or CAMs are to be scored, but no photo
            with labels has a true mask.
    """
    scoring = (TRUE_MASKS.name, PROMPT_SCORES.name) if scored_photos else ()
    stages = (*_stages_of(ranking), *scoring)
    run = _prepared(config, stages, stages[-1], listing, workers, reuse, ranking)
    if not scored_photos:
        return run
    labelled = [photo for photos in run.inputs.shards.values() for photo in photos if photo.class_ids]
    with_truth = [photo.image_id for photo in labelled if photo.truth_uri is not None]
    if labelled and not with_truth:
        raise DatasetError(
            "--with-miou: no photo with labels has a true mask: "
            "set dataset.truth, or add a column named truth to the list of photos"
        )
    return run.with_inputs(run.inputs.with_sample(sample_of(with_truth, scored_photos)))


def training_recipe(config: RunConfig, slots: Sequence[WorkerSlot]) -> "Recipe | None":
    """Return the recipe of a run's training; None if the run trains no segmenter.

    Args:
        config: configuration of the run.
        slots: slots of the GPU workers.

    Raises:
        UsageError: the MMSegmentation config cannot be used.
    """
    return _recipe(config, checked_vocabulary(config), slots) if config.train.enabled else None


def _stages_of(ranking: Ranking) -> tuple[str, ...]:
    """Return the names of the stages that every ranking of this kind needs: its own ones, and those that they read."""
    own = [each for each in STAGES.values() if each.ranking and isinstance(ranking, each.ranking) and not each.sampled]
    needed = {stage.name for each in own for stage in (each, *each.upstream)}
    return tuple(name for name in STAGES if name in needed)


def _prepared(
    config: RunConfig,
    stages: tuple[str, ...],
    until: str,
    listing: Listing,
    workers: NetworkWorkers,
    reuse: Reuse,
    ranking: Ranking | None = None,
) -> PreparedRun:
    from clipes.tasks.machine.devices import check_crf_device, clip_precision

    if config.crf.enabled and MASKS.name in stages:
        check_crf_device(config.crf, workers.slots)
    vocabulary, recipe, evaluation = checked_vocabulary(config), None, NO_PHOTOS
    if any(STAGES[name].kind.of_training for name in stages):
        evaluation, recipe = list_evaluation(config, vocabulary), _recipe(config, vocabulary, workers.slots)
    count = decide_count(config, len(listing.photos))
    inputs = RunInputs(
        config=config,
        vocabulary=vocabulary,
        model_digest=workers.weights,
        precision=clip_precision(config.clip, workers.slots),
        ranking=ranking,
        training=recipe,
        shards=divide_into_shards(listing.photos, count),
        evaluation=divide_into_shards(evaluation.photos, count),
        shard_count=count,
    )
    inputs, stages = _with_drawn_masks(inputs, stages)
    rejects = (*listing.rejects, *evaluation.rejects)
    notes = (*listing.notes, *(f"evaluation: {note}" for note in evaluation.notes))
    store = ListedStore(config.store)
    run = PreparedRun(inputs, store, stages, rejects, until, reuse, notes, len(evaluation.rejects), workers.missing)
    warn_of_unknown_words(config)
    warn_of_time_limit(run.own_stages(), {} if reuse.fresh else run.keys, inputs, store)
    return run


def _with_drawn_masks(inputs: RunInputs, stages: tuple[str, ...]) -> tuple[RunInputs, tuple[str, ...]]:
    """Let photos with annotations read the true masks that the run draws; leave out stages that have none to draw."""
    drawn = {TRUE_MASKS.name: inputs.shards, EVALUATION_TRUE_MASKS.name: inputs.evaluation}
    left = tuple(name for name in stages if name not in drawn or _any_annotations(drawn[name]))
    return (inputs if drawn.keys().isdisjoint(left) else with_true_masks(inputs, inputs.config.store)), left


def _any_annotations(shards: Shards) -> bool:
    return any(photo.annotations for photos in shards.values() for photo in photos)


def _recipe(config: RunConfig, vocabulary: Vocabulary, slots: Sequence[WorkerSlot]) -> "Recipe":
    from clipes.tasks.machine.devices import training_precision
    from clipes.tasks.training.recipes import read_recipe

    return read_recipe(config, 1 + len(vocabulary.classes), training_precision(config.train, slots))
