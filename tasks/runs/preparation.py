"""Prepare a run: list its photos, compute the digest of the weights, and compute keys and shards. Open no photo.

Importing torch takes seconds. Modules that need torch are imported inside functions, so that a mistake in the
configuration or in the list of photos is reported at once.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from clipes.tasks.inputs.datasets.listing import Listing, check_split, read_dataset
from clipes.tasks.inputs.templates import shipped_templates
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.machine.terminal import announce
from clipes.tasks.machine.worker_state import NetworkWorkers, WorkerSlot
from clipes.tasks.models.clip_architecture import named_architecture
from clipes.tasks.plan.caching import REUSE_ALL, Reuse
from clipes.tasks.plan.run_inputs import Ranking, RunInputs, Shards
from clipes.tasks.plan.sharding import divide_into_shards, sample_of
from clipes.tasks.plan.time_limit import warn_of_time_limit
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.runs.record.shard_count import decide_count
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.stages.prompt_scores import PROMPT_SCORES
from clipes.tasks.stages.registry import STAGES, run_names
from clipes.tasks.stages.segmenter import SEGMENTER
from clipes.tasks.stages.segmenter_scores import SEGMENTER_SCORES
from clipes.tasks.stages.texts import RankingOfTemplates
from clipes.tasks.stages.true_masks import EVALUATION_TRUE_MASKS, TRUE_MASKS, with_true_masks
from clipes.tasks.storage.files import check_place, check_writable
from clipes.tasks.storage.listed_store import ListedStore
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.extras import TRAIN
from clipes_core.config.pseudo_masks import AUTO_TEMPLATE
from clipes_core.config.run import RunConfig
from clipes_core.dense_crf import check_crf
from clipes_core.errors import ConfigError, DatasetError, StorageError
from clipes_core.prompts import chosen_words, unknown_words
from clipes_core.vocabulary import Vocabulary

if TYPE_CHECKING:
    from clipes.tasks.training.recipes import Recipe

NO_PHOTOS = Listing((), ())

logger = logging.getLogger(__name__)


def list_photos(config: RunConfig) -> Listing:
    """List the photos of a config's data set or of its sample, but open none; generate missing scenes of the demo.

    Raises:
        UsageError: the vocabulary or the data set cannot be used, or no photo has a label.
    """
    with announce("listing the photos"):
        listing = read_dataset(config.dataset, checked_vocabulary(config), store=config.store)
    _check_labels(listing)
    return _sampled(listing, config.dataset.sample)


def _sampled(listing: Listing, count: int | None) -> Listing:
    """Return `count` photos and rejects of a listing; all of them if `count` is None."""
    if count is None:
        return listing
    kept = sample_of([row.image_id for rows in (listing.photos, listing.rejects) for row in rows], count)
    photos = tuple(photo for photo in listing.photos if photo.image_id in kept)
    rejects = tuple(reject for reject in listing.rejects if reject.image_id in kept)
    return replace(listing, photos=photos, rejects=rejects)


def _check_labels(listing: Listing) -> None:
    if listing.photos and not any(photo.class_ids for photo in listing.photos):
        reasons = [f"; reason for the first of {len(listing.rejects)} rejects: {row.reason}" for row in listing.rejects]
        raise DatasetError(
            f"none of the {len(listing.photos)} photos has a label, so every mask would be all background: correct "
            f"dataset.format, dataset.split or the labels{''.join(reasons[:1])}"
        )


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
    stages = _stages_until(config, until)
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


def check_request(config: RunConfig, until: str) -> None:
    """Check the value of `--until`, the extras, the model, the vocabulary, and that the lists exist.

    The check is fast, so call it first.

    Raises:
        ConfigError: the stage or the vocabulary cannot be used, or an extra that the run needs is not installed.
        WeightsError: `named_architecture` does not accept `clip.model`.
        DatasetError: the list of the photos or of the evaluation photos does not exist.
        TransientError: the network or the server fails.
    """
    if until not in run_names():
        raise ConfigError(f"--until {until}: no such stage; the stages are: {', '.join(run_names())}")
    missing = STAGES[until].left_out_by(config) if until in STAGES and until != run_names()[-1] else None
    if missing is not None:
        raise ConfigError(
            f"--until {until}: this config leaves that stage out; set {missing.enabled_by}, or name an earlier stage"
        )
    stages = _stages_until(config, until)
    if config.crf.enabled and MASKS.name in stages:
        check_crf(config.crf, "crf")
    if SEGMENTER.name in stages:
        TRAIN.check("train.enabled=true", "set train.enabled=false")
    if config.evaluation.crf.enabled and SEGMENTER_SCORES.name in stages:
        check_crf(config.evaluation.crf, "evaluation.crf")
    check_inputs(config)
    if config.evaluation.photos and any(STAGES[name].kind.of_training for name in stages):
        check_split(_evaluation_dataset(config))


def count_evaluation(config: RunConfig) -> int:
    """Return the number of photos that the segmenter of a run is scored on; 0 if the run trains none.

    Raises:
        UsageError: the evaluation photos cannot be listed.
    """
    return len(list_evaluation(config).photos) if config.train.enabled else 0


def list_evaluation(config: RunConfig) -> Listing:
    """List the photos that the segmenter is scored on; return no photos if the config names none.

    Raises:
        UsageError: the evaluation photos cannot be listed.
    """
    return _evaluation(config, checked_vocabulary(config))


def training_recipe(config: RunConfig, slots: Sequence[WorkerSlot]) -> "Recipe | None":
    """Return the recipe of a run's training; None if the run trains no segmenter.

    Args:
        config: configuration of the run.
        slots: slots of the GPU workers.

    Raises:
        UsageError: the MMSegmentation config cannot be used.
    """
    return _recipe(config, checked_vocabulary(config), slots) if config.train.enabled else None


def check_inputs(config: RunConfig) -> None:
    """Check the model, the vocabulary, and that the list of photos exists. The check opens no list and no weights.

    Raises:
        WeightsError: `named_architecture` does not accept `clip.model`.
        ConfigError: the vocabulary cannot be used.
        DatasetError: the list of photos does not exist.
        TransientError: the network or the server fails.
    """
    named_architecture(config.clip.model)
    checked_vocabulary(config)
    check_split(config.dataset)


def check_store(config: RunConfig, writes: bool) -> None:
    """Check that the store of a config can be used.

    Args:
        config: configuration of the run.
        writes: if True, check that files can be written to the store. If False, check only that no file is in its
            place, and write nothing.

    Raises:
        StorageError: the store cannot be used, for example because it is a file or a bucket that does not exist.
        TransientError: the network or the server fails.
    """
    try:
        (check_writable if writes else check_place)(config.store)
    except StorageError as exc:
        raise StorageError(f"store: {exc}") from exc


def _stages_until(config: RunConfig, until: str) -> tuple[str, ...]:
    """Return the names of the stages after the first one up to `until` that the config does not leave out."""
    names = run_names()[1 : run_names().index(until) + 1]
    return tuple(name for name in names if STAGES[name].left_out_by(config) is None)


def checked_vocabulary(config: RunConfig) -> Vocabulary:
    """Read the vocabulary of a config with the words that its prompts use, and check that it suits the other settings.

    Raises:
        ConfigError: the vocabulary cannot be read, or lacks words that the prompts name; or the settings need
            background words, and it has none.
    """
    vocabulary = chosen_words(load_vocabulary(config.dataset.classes), config.prompts)
    if config.cam.softmax and config.prompts.background and not vocabulary.background_words:
        raise ConfigError(
            f"dataset.classes: {config.dataset.classes} has no background_words{_left_out(config)}. Without background "
            "words, the softmax gives a photo with a single class an empty CAM: add background words, set "
            "cam.softmax=false, or set prompts.background=false to accept empty CAMs"
        )
    return vocabulary


def warn_of_unknown_words(config: RunConfig) -> None:
    """Log a warning if `prompts.leave_out` has words that are no background words, for example because of a typo.

    They are no error, so that the same list suits several vocabularies.
    """
    if unknown := unknown_words(load_vocabulary(config.dataset.classes), config.prompts):
        logger.warning(
            "prompts.leave_out: these are no background words of the vocabulary, and are ignored: %s",
            ", ".join(unknown),
        )


def _left_out(config: RunConfig) -> str:
    return " besides those of prompts.leave_out" if config.prompts.leave_out else ""


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
        evaluation, recipe = _evaluation(config, vocabulary), _recipe(config, vocabulary, workers.slots)
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
    drawn = (inputs.shards, TRUE_MASKS), (inputs.evaluation, EVALUATION_TRUE_MASKS)
    left_out = {stage.name for shards, stage in drawn if not _any_annotations(shards)}
    stages = tuple(name for name in stages if name not in left_out)
    if not {TRUE_MASKS.name, EVALUATION_TRUE_MASKS.name}.isdisjoint(stages):
        inputs = with_true_masks(inputs, config.store)
    rejects = (*listing.rejects, *evaluation.rejects)
    notes = (*listing.notes, *(f"evaluation: {note}" for note in evaluation.notes))
    store = ListedStore(config.store)
    run = PreparedRun(inputs, store, stages, rejects, until, reuse, notes, len(evaluation.rejects), workers.missing)
    warn_of_unknown_words(config)
    warn_of_time_limit(run.own_stages(), {} if reuse.fresh else run.keys, inputs, store)
    return run


def _any_annotations(shards: Shards) -> bool:
    return any(photo.annotations for photos in shards.values() for photo in photos)


def _recipe(config: RunConfig, vocabulary: Vocabulary, slots: Sequence[WorkerSlot]) -> "Recipe":
    from clipes.tasks.machine.devices import training_precision
    from clipes.tasks.training.recipes import read_recipe

    return read_recipe(config, 1 + len(vocabulary.classes), training_precision(config.train, slots))


def _evaluation(config: RunConfig, vocabulary: Vocabulary) -> Listing:
    """List the photos that the segmenter is scored on; return no photos if the config names none."""
    if not config.evaluation.photos:
        logger.info("the config section evaluation selects no photos, so the segmenter is not scored")
        return NO_PHOTOS
    listing = read_dataset(_evaluation_dataset(config), vocabulary, labelled=False, store=config.store)
    listing = _sampled(listing, config.dataset.sample)
    if not listing.photos:
        raise DatasetError(
            f"evaluation: none of its {len(listing.rejects)} photos can be used; "
            f"first reason: {listing.rejects[0].reason}"
        )
    return listing


def _evaluation_dataset(config: RunConfig) -> DatasetConfig:
    """Return the settings of the photos that the segmenter is scored on."""
    return config.dataset.model_copy(update={**config.evaluation.photos, "empty": config.evaluation.empty})
