"""List the photos of a run: those of its data set, and those that its segmenter is scored on. Open no photo."""

import logging
from dataclasses import replace

from clipes.tasks.inputs.datasets.listing import Listing, read_dataset
from clipes.tasks.machine.terminal import announce
from clipes.tasks.plan.sharding import sample_of
from clipes.tasks.runs.inputs.vocabulary import checked_vocabulary
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.run import RunConfig
from clipes_core.errors import DatasetError
from clipes_core.vocabulary import Vocabulary

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
        raise DatasetError(
            f"none of the {len(listing.photos)} photos has a label, so every mask would be all background: correct "
            f"dataset.format, dataset.split or the labels{first_reason(listing)}"
        )


def first_reason(listing: Listing) -> str:
    """Return the end of an error message that states why the first photo was rejected; empty without rejects."""
    reasons = [f"; reason for the first of {len(listing.rejects)} rejects: {row.reason}" for row in listing.rejects[:1]]
    return "".join(reasons)


def count_evaluation(config: RunConfig) -> int:
    """Return the number of photos that the segmenter of a run is scored on; 0 if the run trains none.

    Raises:
        UsageError: the evaluation photos cannot be listed.
    """
    return len(list_evaluation(config).photos) if config.train.enabled else 0


def list_evaluation(config: RunConfig, vocabulary: Vocabulary | None = None) -> Listing:
    """List the photos that the segmenter is scored on; return no photos if the config names none.

    Args:
        config: configuration of the run.
        vocabulary: the result of `checked_vocabulary`; None to read it.

    Raises:
        UsageError: the evaluation photos cannot be listed.
    """
    vocabulary = checked_vocabulary(config) if vocabulary is None else vocabulary
    if not config.evaluation.photos:
        logger.info("the config section evaluation selects no photos, so the segmenter is not scored")
        return NO_PHOTOS
    listing = read_dataset(evaluation_dataset(config), vocabulary, labelled=False, store=config.store)
    listing = _sampled(listing, config.dataset.sample)
    if not listing.photos:
        raise DatasetError(
            f"evaluation: none of its {len(listing.rejects)} photos can be used; "
            f"first reason: {listing.rejects[0].reason}"
        )
    return listing


def evaluation_dataset(config: RunConfig) -> DatasetConfig:
    """Return the settings of the photos that the segmenter is scored on."""
    return config.dataset.model_copy(update={**config.evaluation.photos, "empty": config.evaluation.empty})
