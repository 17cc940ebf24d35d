"""Find differences of the photos, the weights and the settings of a config from the paper's."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from clipes.tasks.commands.check.photos import spread
from clipes.tasks.commands.finding import Finding
from clipes.tasks.inputs.datasets.listing import Listing
from clipes.tasks.inputs.paper.published import published_splits
from clipes.tasks.inputs.photos import Photo
from clipes.tasks.inputs.truth import listed_ids
from clipes.tasks.models.clip_models.pretrained import find_weights
from clipes.tasks.models.weight_files import file_digest
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.config.run import RunConfig, config_values
from clipes_core.errors import ErrorKind, PhotoError
from clipes_core.pseudo_mask import IGNORE_INDEX

PAPER = "the paper"  # what is checked, in the findings
# Digest of OpenAI's archive of ViT-B/16, the start of the SHA-256 in its address.
OPENAI_ARCHIVE = "5806e77cd80f8b59"
OPENAI_TAG = "openai"
# Settings that say where something is, who computes it, or what the report shows.
WITHOUT_EFFECT = (
    "name",
    "store",
    "execution",
    "report",
    "dataset.root",
    "dataset.truth",
    "evaluation.root",
    "evaluation.truth",
)
OF_SEGMENTER = ("train", "evaluation")  # have no effect if no segmenter is trained
OWN_CHECKS = ("dataset.split", "dataset.sample", "evaluation.split", "clip.pretrained")
# data set -> number of photos of a list that is easily mistaken for the paper's -> what the list is
OTHER_LISTS = {
    "voc12": {
        5717: "ImageSets/Main/train.txt, the list for detection",
        5823: "ImageSets/Main/val.txt, the list for detection",
        11540: "ImageSets/Main/trainval.txt, the list for detection",
        2913: "train and val together (trainval.txt)",
        11355: "all photos of SBD, which include photos of val",
    },
    "coco14": {
        118287: "train2017, a split of COCO 2017",
        5000: "val2017, a split of COCO 2017",
        123287: "train2014 and val2014 together",
    },
}
SHOWN_IDS = 3
DRAWN = (
    "the true masks are drawn from COCO's annotations: smaller objects are on top, and crowds are not scored. The "
    "paper does not state how its true masks were drawn; to score with PNG files, set {section}.truth to their folder"
)


def check_split_size(data: str, split: str, listing: Listing) -> Finding:
    """Compare the number of photos of a split with that of the paper.

    Args:
        data: name of the data set, such as voc12.
        split: name of the split, or path of its list.
        listing: the photos of the split.
    """
    name = PurePosixPath(split).stem
    published = published_splits(data).get(name)
    total = len(listing.photos) + sum(reject.kind is not ErrorKind.NO_OBJECTS for reject in listing.rejects)
    listed = len(listing.photos) + len(listing.rejects) + listing.left_out
    if published is None:
        known = ", ".join(f"{each.split} ({each.photos})" for each in published_splits(data).values())
        return Finding(
            PAPER, None, f"the split {name} ({total} photos) is not one of the paper's splits, which are {known}"
        )
    unlabelled = sum(not photo.class_ids for photo in listing.photos) if published.labelled else 0
    if total == published.photos and not unlabelled:
        return Finding(PAPER, True, f"{name} has the paper's {total} photos{' with labels' * published.labelled}")
    another = next((what for size, what in _other_lists(data) if size in (total, listed)), None)
    return Finding(
        PAPER,
        None,
        f"{name} has {total} photos{f', {unlabelled} of them without labels' if unlabelled else ''}, but the paper's "
        f"{name} has {published.photos}{' with labels' * published.labelled}: scores on different photos cannot be "
        f"compared.{f' The list seems to be {another}.' if another else ''}",
    )


def _other_lists(data: str) -> Iterator[tuple[int, str]]:
    yield from OTHER_LISTS.get(data, {}).items()
    for each in published_splits(data).values():
        yield each.photos, f"that of {each.split}"


def check_true_masks(listing: Listing, has_borders: bool, section: str = "dataset") -> Iterator[Finding]:
    """Warn if photos have no true mask, if clipes draws the true masks, or if they lack the border of objects.

    Args:
        listing: the photos.
        has_borders: whether the border of each object has the value 255 in the true masks of the data set. This border
            is not scored.
        section: section of the config that names the photos.
    """
    if any(photo.annotations is not None for photo in listing.photos):
        yield Finding(PAPER, None, DRAWN.format(section=section))
    without = [photo.image_id for photo in listing.photos if not photo.has_truth]
    if len(without) == len(listing.photos):
        yield Finding(PAPER, None, "no photo has a true mask, so nothing can be compared with the paper's numbers")
    elif without:
        yield Finding(
            PAPER,
            None,
            f"{len(without)} of {len(listing.photos)} photos have no true mask (the first is {without[0]}), so only "
            "the others are scored",
        )
    if has_borders and listing.photos:
        ids = [ids for photo in spread([photo for photo in listing.photos if photo.has_truth]) if (ids := _ids(photo))]
        if ids and not any(IGNORE_INDEX in each for each in ids):
            yield Finding(
                PAPER,
                None,
                f"none of {len(ids)} opened true masks has the value {IGNORE_INDEX}, which marks the borders of "
                "objects in VOC's true masks; if a conversion turned the borders into background, all scores are "
                "lower: use the original masks",
            )


def _ids(photo: Photo) -> frozenset[int]:
    """Return the ids in a photo's true mask; none if it cannot be used, which `clipes check` reports."""
    try:
        return frozenset(listed_ids(photo).flatten().tolist())
    except PhotoError:
        return frozenset()


def check_overlap(listing: Listing, evaluation: Listing) -> Iterator[Finding]:
    """Warn if photos are both in the data set and in the photos that the segmenter is scored on."""
    scored = {photo.image_id for photo in evaluation.photos}
    both = [photo.image_id for photo in listing.photos if photo.image_id in scored]
    if both:
        yield Finding(
            PAPER,
            None,
            f"{len(both)} photos are both in the split of the masks and in the split that scores the segmenter, such "
            f"as {', '.join(both[:SHOWN_IDS])}: a segmenter must not be scored on photos that it was trained on",
        )


def check_weights(clip: ClipConfig) -> Finding:
    """Say whether the weights of CLIP are those of the paper. Download nothing.

    Raises:
        WeightsError: the weights cannot be used.
        TransientError: the server of the weights does not answer.
    """
    if clip.pretrained == OPENAI_TAG:
        return Finding(PAPER, True, f"{clip.model} with OpenAI's weights, as in the paper")
    place = find_weights(clip)
    if place is not None and place.path is not None and file_digest(place.path) == OPENAI_ARCHIVE:
        return Finding(PAPER, True, f"{place.path.name} is OpenAI's archive of ViT-B/16, as in the paper")
    return Finding(
        PAPER,
        None,
        f"the weights of CLIP are {PurePosixPath(clip.pretrained).name}, which is not OpenAI's archive of ViT-B/16, to "
        "which the paper's numbers belong",
    )


def check_settings(config: RunConfig, paper: RunConfig) -> Iterator[Finding]:
    """Yield a warning for each setting that differs from the paper's, if it can change a score.

    Args:
        config: config of the run.
        paper: the same config without the user's settings.
    """
    theirs = dict(_settings(paper))
    for key, value in _settings(config):
        if theirs.pop(key, None) != value:
            yield Finding(PAPER, None, f"{key} is {value}; the paper's value is {dict(_settings(paper)).get(key)}")
    if config.dataset.sample is not None:
        yield Finding(PAPER, None, f"dataset.sample limits the photos to {config.dataset.sample}")


def _settings(config: RunConfig) -> Iterator[tuple[str, Any]]:
    dumped: Mapping[str, Any] = config.model_dump()
    of_segmenter = () if config.train.enabled else OF_SEGMENTER
    for key, value in config_values(dumped):
        places = (key, key.partition(".")[0])
        if not any(place in (*WITHOUT_EFFECT, *OWN_CHECKS, *of_segmenter) for place in places):
            yield key, value
