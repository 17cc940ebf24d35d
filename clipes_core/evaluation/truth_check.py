"""Check that the classes in true masks agree with the labels of the photos or, without labels, with predicted masks."""

from collections.abc import Sequence
from dataclasses import dataclass

SUSPICIOUS = 0.05  # share of photos; below it, wrong labels of single photos are the likely cause
MEANINGLESS = 0.5  # share of photos
ALMOST_ALL = 0.95  # share of photos


@dataclass(frozen=True)
class PhotoTruth:
    """The labels of a photo and the classes in its true mask.

    Attributes:
        image_id: id of the photo.
        labels: class ids of the photo's labels.
        truth: class ids that occur in the true mask, without the background and without IGNORE_INDEX.
        has_background: whether the background occurs in the true mask.
        predicted: class id that has the most pixels in the mask that a trained network predicts, apart from the
            background; None if there is no such mask or class.
    """

    image_id: str
    labels: frozenset[int]
    truth: frozenset[int]
    has_background: bool = True
    predicted: int | None = None


@dataclass(frozen=True)
class TruthCheck:
    """The disagreement between true masks and labels.

    Attributes:
        photos: photos that were checked. If no photo has labels, these are all photos; otherwise, they are the photos
            with labels.
        without_labels: photos whose true mask contains none of their labels or, for a photo without labels, no class.
        with_others: photos with labels whose true mask contains a class that is not among their labels.
        without_background: photos whose true mask contains a class, but no background.
        predicted: photos without labels whose true mask and predicted mask both contain a class.
        without_predicted: those of the photos in `predicted` whose true mask does not contain the predicted class.
    """

    photos: tuple[PhotoTruth, ...]
    without_labels: tuple[PhotoTruth, ...]
    with_others: tuple[PhotoTruth, ...]
    without_background: tuple[PhotoTruth, ...]
    predicted: tuple[PhotoTruth, ...]
    without_predicted: tuple[PhotoTruth, ...]

    @property
    def has_labels(self) -> bool:
        """Return whether the true masks were compared with labels."""
        return any(photo.labels for photo in self.photos)

    @property
    def suspicious(self) -> bool:
        """Return whether so many true masks contain none of their labels that the scores may mean nothing."""
        return self.meaningless or (self.has_labels and _share(self.without_labels, self.photos) >= SUSPICIOUS)

    @property
    def meaningless(self) -> bool:
        """Return whether so many true masks contain none of their labels that the scores mean nothing.

        Without labels, a true mask may rightly be all background. The scores mean nothing only if every true mask is.
        """
        return _share(self.without_labels, self.photos) >= (MEANINGLESS if self.has_labels else 1)

    @property
    def summary(self) -> str:
        """Return a phrase that says how many true masks contain none of their labels, and what follows for scores."""
        problem = "none of the labels of their photo" if self.has_labels else "no class"
        effect = "clipes shows no scores for them" if self.meaningless else "the scores may mean nothing"
        return f"{len(self.without_labels)} of {len(self.photos)} true masks contain {problem}, so {effect}"

    @property
    def contradicts_predictions(self) -> bool:
        """Return whether most true masks of photos without labels lack the class that is predicted for their photo.

        Either the network has learned little, or the ids in the true masks are wrong.
        """
        return _share(self.without_predicted, self.predicted) >= MEANINGLESS

    @property
    def incomplete(self) -> bool:
        """Return whether many true masks contain classes that the labels lack."""
        return _share(self.with_others, self.photos) >= SUSPICIOUS

    @property
    def lacks_background(self) -> bool:
        """Return whether almost no true mask contains background, so that masks that are too large still score high."""
        return _share(self.without_background, self.photos) >= ALMOST_ALL


def check_truths(photos: Sequence[PhotoTruth]) -> TruthCheck:
    """Compare the classes in true masks with the labels of the photos. Without labels, compare the predicted class."""
    checked = tuple(photo for photo in photos if photo.labels) or tuple(photos)
    predicted = tuple(photo for photo in photos if not photo.labels and photo.truth and photo.predicted is not None)
    return TruthCheck(
        checked,
        without_labels=tuple(photo for photo in checked if not photo.truth & (photo.labels or photo.truth)),
        with_others=tuple(photo for photo in checked if photo.labels and photo.truth - photo.labels),
        without_background=tuple(photo for photo in checked if photo.truth and not photo.has_background),
        predicted=predicted,
        without_predicted=tuple(photo for photo in predicted if photo.predicted not in photo.truth),
    )


def _share(some: Sequence[PhotoTruth], photos: Sequence[PhotoTruth]) -> float:
    return len(some) / len(photos) if photos else 0.0
