"""Compare the scores of runs with the published numbers, and collect what may explain the differences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from clipes.tasks.ablation.figures import class_of
from clipes.tasks.ablation.result import AblationResult, VariantResult
from clipes.tasks.inputs.paper.published import PERCENT, PublishedNumber, published_number, published_numbers
from clipes_core.config.run import RunConfig
from clipes_core.evaluation.scored import PSEUDO_MASK, SEGMENTER_MASK

CLOSE = 0.2  # points; others who ran the published program got 70.71 to 70.82 for 70.8
CLOSE_ENOUGH = f"within {CLOSE} points, as close as repetitions of the published program are to each other"
PRECISION = (
    "the published program computes in half precision on a GPU, where small gradients may become zero; clipes keeps "
    "them"
)
CRF_IMAGE = (
    "crf.image is rgb: the CRF reads the photo itself, but the published program's CRF reads it in BGR with the mean "
    "colour subtracted and wrapped to 8 bits (crf.image: reference)"
)
CRF_BUILD = (
    "the build of pydensecrf: a user of the published program got 71.1 % with one build, and 75.0 % after rebuilding it"
)
TRAINING = (
    "the training: the paper does not state its seed; clipes starts from torchvision's ImageNet weights, but the "
    "paper's recipe starts from Caffe's",
    "the initial weights: other papers quote the paper's score on VOC val as 72.2 and 72.7; compare only scores with "
    "the same initial weights",
)
OF_NUMBERS = {  # id -> what is known to change this number
    "voc_train_no_background": (
        "in clipes, only the classes of the photo are in the softmax, so that a photo with a single class has an empty "
        "CAM; in the paper, this variant has 20 classes, which may compete in each photo"
    ),
}
COCO_TRAINING = "the paper states neither the learning rate nor the number of iterations for COCO"


@dataclass(frozen=True)
class ReproducedNumber:
    """A published number, and what was measured.

    Attributes:
        number_id: id of the number in configs/published.yaml.
        published: the number.
        measured: the same score of a run, in the unit of the number; None if the run has no such score.
        run: name of the run.
        reasons: possible reasons for the difference, without those of all rows; or why there is no score.
    """

    number_id: str
    published: PublishedNumber
    measured: float | None
    run: str
    reasons: tuple[str, ...]

    @property
    def difference(self) -> float | None:
        """How much the measured score exceeds the published number [points]."""
        return None if self.measured is None else self.measured - self.published.value


@dataclass(frozen=True)
class MeasuredPart:
    """The results of a part of a reproduction.

    Attributes:
        result: the runs of the part.
        config: their config.
        deviations: differences of the weights, the photos and the settings from the paper's, in this order.
    """

    result: AblationResult
    config: RunConfig
    deviations: tuple[str, ...]


@dataclass(frozen=True)
class Reproduction:
    """The outcome of a reproduction.

    Attributes:
        data: name of the data set, such as voc12.
        photos: the photos in a line, for each part that ran.
        common_reasons: possible reasons for the difference in every row: the deviations that all parts have in common,
            and what is known to change every score.
        numbers: the published and the measured numbers.
        left_out: the parts that did not run, with the reason.
    """

    data: str
    photos: tuple[str, ...]
    common_reasons: tuple[str, ...]
    numbers: tuple[ReproducedNumber, ...]
    left_out: tuple[str, ...]

    @property
    def reasons(self) -> Mapping[str, int]:
        """Possible reason of some rows -> its number, from 1, in the order of the rows."""
        found = dict.fromkeys(reason for each in self.numbers for reason in each.reasons)
        return {reason: number for number, reason in enumerate(found, start=1)}


def compare(data: str, parts: Sequence[MeasuredPart], left_out: Sequence[str]) -> Reproduction:
    """Compare the scores of a reproduction with the published numbers, and collect what may explain the differences.

    Args:
        data: name of the data set.
        parts: the parts that ran, at least one.
        left_out: the parts that did not run, with the reason.
    """
    first, *others = parts
    shared = tuple(one for one in first.deviations if all(one in other.deviations for other in others))
    return Reproduction(
        data=data,
        photos=tuple(part.result.data for part in parts),
        common_reasons=(*shared, PRECISION),
        numbers=tuple(row for part in parts for row in _rows(part, shared)),
        left_out=tuple(left_out),
    )


def _rows(part: MeasuredPart, shared: Sequence[str]) -> list[ReproducedNumber]:
    """Return a row for each published number that a grid names, in the order of configs/published.yaml."""
    own = [deviation for deviation in part.deviations if deviation not in shared]
    found = {
        number_id: _compared(number_id, figure, variant, part.config, own)
        for variant in part.result.variants
        for figure, number_id in part.result.grid.published.get(variant.variant.label, {}).items()
    }
    return [found[number_id] for number_id in published_numbers() if number_id in found]


def _compared(
    number_id: str, figure: str, variant: VariantResult, config: RunConfig, deviations: Sequence[str]
) -> ReproducedNumber:
    published = published_number(number_id, "grid")
    (run, *_) = variant.runs
    values = variant.values(figure)
    if not values:
        return ReproducedNumber(number_id, published, None, run.name, (run.failed or _why_not_scored(figure),))
    measured = 100 * values[0] if published.unit == PERCENT else values[0]
    if abs(measured - published.value) <= CLOSE:
        reasons: tuple[str, ...] = (CLOSE_ENOUGH,)
    else:
        reasons = (*deviations, *run.metrics.get("warnings", ()), *_known_reasons(number_id, figure, config))
    return ReproducedNumber(number_id, published, measured, run.name, reasons)


def _why_not_scored(figure: str) -> str:
    name = class_of(figure)
    return f"no true mask of the scored photos has the class {name}" if name else "no photo with a true mask was scored"


def _known_reasons(number_id: str, figure: str, config: RunConfig) -> Iterator[str]:
    """Yield what is known to change a score even if photos, weights and settings are the paper's."""
    if number_id in OF_NUMBERS:
        yield OF_NUMBERS[number_id]
    if figure == SEGMENTER_MASK.key:
        yield from TRAINING if config.dataset.format == "voc" else (COCO_TRAINING,)
    if figure in (PSEUDO_MASK.key, SEGMENTER_MASK.key):
        if config.crf.image == "rgb":
            yield CRF_IMAGE
        yield CRF_BUILD
