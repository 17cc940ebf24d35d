"""Check the photos of a data set: their labels, the lines that are rejected, a sample of the files, and true masks."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clipes.tasks.commands.check.rejects import reject_lines
from clipes.tasks.commands.finding import Finding
from clipes.tasks.inputs.datasets.listing import Listing
from clipes.tasks.inputs.photos import LoadedPhoto, Photo, load_photos
from clipes.tasks.inputs.truth import listed_ids, load_truth
from clipes.tasks.runs.truth_warnings import CAUSES
from clipes_core.config.execution import describe_limit, permitted_failures
from clipes_core.config.run import RunConfig
from clipes_core.errors import PhotoError
from clipes_core.evaluation.truth_check import PhotoTruth, check_truths
from clipes_core.preprocessing import limited_size
from clipes_core.pseudo_mask import IGNORE_INDEX
from clipes_core.vocabulary import Vocabulary

SAMPLE = 16  # photos that are opened
SHOWN_CLASSES = 12
SHOWN_FAULTS = 3
NO_PHOTO = (
    "no photo has the label {names}: correct the labels, or remove these classes from the vocabulary, because a "
    "segmenter cannot learn them"
)
NO_LABEL = (
    "photos without a label: {count} (the first is {first}). Their masks are entirely background: add labels to those "
    "that show a class"
)


@dataclass(frozen=True)
class Sample:
    """Some photos of a data set, opened.

    Attributes:
        loaded: the photos that could be opened, without their pixels.
        faults: image id -> why the photo cannot be used.
        notes: remark about a photo -> number of photos.
    """

    loaded: Mapping[str, tuple[int, int]]
    faults: Mapping[str, str]
    notes: Mapping[str, int]

    def mean_pixels(self, max_side: int) -> float:
        """Return the mean number of pixels of a reduced photo; that of a VOC photo if no photo was opened."""
        sizes = [limited_size(size_hw, max_side) for size_hw in self.loaded.values()]
        return float(np.mean([height * width for height, width in sizes] or [500 * 375]))


def spread(photos: Sequence[Photo], count: int = SAMPLE) -> list[Photo]:
    """Choose up to `count` photos that are evenly spread over a list, with the first and the last one."""
    positions = np.linspace(0, len(photos) - 1, min(count, len(photos))).round().astype(int)
    return [photos[position] for position in positions]


def check_labels(listing: Listing, vocabulary: Vocabulary, config: RunConfig) -> Iterator[Finding]:
    """Count the photos, the labels of each class, the classes without a photo, and the photos without labels."""
    photos, total = len(listing.photos), len(listing.photos) + len(listing.rejects)
    chosen = "" if config.dataset.sample is None else f" of the sample of {config.dataset.sample}"
    yield Finding("photos", photos > 0, f"{photos} of {total} photos can be used{chosen}")
    counts = Counter(class_id for photo in listing.photos for class_id in photo.class_ids)
    found = [(entry.name, counts[class_id]) for class_id, entry in enumerate(vocabulary.classes, start=1)]
    by_count = sorted((each for each in found if each[1]), key=lambda each: -each[1])
    shown = ", ".join(f"{name} {count}" for name, count in by_count[:SHOWN_CLASSES])
    rest = len(by_count) - SHOWN_CLASSES
    yield Finding("labels", True, f"photos per class: {shown}{f', and {rest} other classes' if rest > 0 else ''}")
    unused = [name for name, count in found if not count]
    unlabelled = [photo.image_id for photo in listing.photos if not photo.class_ids]
    if unused:
        yield Finding("classes", None, NO_PHOTO.format(names=_listed(unused)))
    if unlabelled:
        yield Finding("no label", None, NO_LABEL.format(count=len(unlabelled), first=unlabelled[0]))


def check_rejects(listing: Listing, config: RunConfig, section: str = "rejected") -> Iterator[Finding]:
    """Describe the lines that a listing rejects. They are a problem if a run with so many would fail."""
    total = len(listing.photos) + len(listing.rejects)
    if not listing.rejects:
        return
    permanent = sum(not reject.kind.transient for reject in listing.rejects)
    limits = config.execution.max_failure_rate, config.execution.tolerated_failures
    permitted = permitted_failures(total, *limits)
    fails = permanent > permitted
    advice = f"{describe_limit(permitted, *limits)}: correct them, or raise the limit" if fails else ""
    lines = "\n".join(reject_lines(listing.rejects))
    yield Finding(
        section,
        False if fails else None,
        f"{len(listing.rejects)} of {total} photos{', ' * bool(advice)}{advice}\n{lines}",
    )


def open_sample(listing: Listing, config: RunConfig) -> Sample:
    """Open some photos that are evenly spread over the data set."""
    loaded, faults, notes = dict[str, tuple[int, int]](), dict[str, str](), Counter[str]()
    for photo, result in load_photos(spread(listing.photos), config.dataset, config.execution.decode_memory_mib):
        if isinstance(result, LoadedPhoto):
            loaded[photo.image_id] = result.size_hw
            notes.update(result.notes)
        else:
            faults[photo.image_id] = result.reason
    return Sample(loaded, faults, notes)


def check_sample(sample: Sample) -> Iterator[Finding]:
    """Describe the photos of a sample that cannot be used, and what clipes does to the others."""
    opened = len(sample.loaded) + len(sample.faults)
    if sample.faults:
        shown = "\n".join(f"{image_id}: {reason}" for image_id, reason in list(sample.faults.items())[:SHOWN_FAULTS])
        yield Finding(
            "sample",
            None if sample.loaded else False,
            f"{len(sample.faults)} of {opened} photos cannot be used\n{shown}",
        )
    else:
        heights, widths = zip(*sample.loaded.values(), strict=True)
        yield Finding(
            "sample",
            True,
            f"{opened} photos were opened; they are {min(widths)} to {max(widths)} pixels wide and {min(heights)} to "
            f"{max(heights)} high",
        )
    if sample.notes:
        counted = "\n".join(f"{note}: {count} of {opened}" for note, count in Counter(sample.notes).most_common())
        yield Finding("conversions", None if any("EXIF" in note for note in sample.notes) else True, counted)


def check_truth(photos: Sequence[Photo], sample: Sample, vocabulary: Vocabulary, section: str) -> Iterator[Finding]:
    """Open some true masks, and check their sizes, their ids and the classes in them.

    Args:
        photos: photos of the data set.
        sample: the photos whose size is known.
        vocabulary: classes of the data set.
        section: dataset or evaluation.
    """
    with_truth = [photo for photo in photos if photo.has_truth]
    if not with_truth:
        advice = "so nothing is scored; to score, set dataset.truth or add a column truth to the list"
        works = None if section == "evaluation" else True
        yield Finding("true masks", works, f"{section}: no photo has a true mask, {advice}")
        return
    known = [photo for photo in with_truth if photo.image_id in sample.loaded]
    chosen, faults = spread(known or with_truth), dict[str, str]()
    truths = []
    for photo in chosen:
        try:
            ids = _ids(photo, sample)
        except PhotoError as error:
            faults[photo.image_id] = error.reason
            continue
        unknown = ids - {*range(len(vocabulary.classes) + 1), IGNORE_INDEX}
        if unknown:
            highest = len(vocabulary.classes)
            faults[photo.image_id] = f"the id {min(unknown)} is not in the vocabulary, whose ids are 0 to {highest}"
        else:
            found = frozenset(ids - {0, IGNORE_INDEX})
            truths.append(PhotoTruth(photo.image_id, frozenset(photo.class_ids), found, has_background=0 in ids))
    counted = f"{section}: {len(with_truth)} of {len(photos)} photos have a true mask; {len(chosen)} were opened"
    if faults:
        shown = "\n".join(f"{image_id}: {reason}" for image_id, reason in list(faults.items())[:SHOWN_FAULTS])
        yield Finding("true masks", None, f"{counted}, {len(faults)} cannot be used and are not scored\n{shown}")
    elif check_truths(truths).suspicious:
        yield Finding("true masks", None, f"{counted}: {check_truths(truths).summary}. {CAUSES}.")
    else:
        yield Finding("true masks", True, f"{counted}, and fit the photos and the vocabulary")


def _ids(photo: Photo, sample: Sample) -> frozenset[int]:
    """Return the ids in a photo's true mask.

    Raises:
        PhotoError: the true mask cannot be used.
    """
    size_hw = sample.loaded.get(photo.image_id)
    if size_hw is not None:
        return frozenset(np.unique(load_truth(photo, size_hw)).tolist())
    return frozenset(np.unique(listed_ids(photo)).tolist())


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    rest = len(every) - SHOWN_CLASSES
    return ", ".join(every[:SHOWN_CLASSES]) + (f", and {rest} others" if rest > 0 else "")
