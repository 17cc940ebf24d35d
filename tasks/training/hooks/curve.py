"""Record the training curve, and stop the training if the loss diverges."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner

from clipes_core.errors import StageError

POINTS = 500  # approximate number of points in a curve
FIRST_ITERATIONS, RECENT_ITERATIONS = (
    20,
    50,
)  # the mean loss of the latest 50 iterations is compared with that of about the first 20
MAX_GROWTH = 5.0  # the training stops if the loss exceeds the initial loss by more than this factor
MIN_INITIAL_LOSS = (
    1.0  # an initial loss below 1 counts as 1; it can be near 0 if the first batches have few confident pixels
)
OVERFLOWS = 10  # permitted number of consecutive fp16 overflows; the loss scaler lowers its scale after each


@dataclass(frozen=True)
class Point:
    """A point of the training curve. The segmenter's artifact stores each point as a row.

    Attributes:
        iteration: number of iterations done.
        loss: mean loss over the iterations since the previous point.
        learning_rate: learning rate of the first parameter group in this iteration.
        kept_fraction: number of pixels that count in the loss, divided by the number of labelled pixels, in [0, 1];
            mean over the iterations since the previous point. Pixels with a confidence below the threshold do not
            count.
        miou: mIoU on the validation photos after this iteration, in [0, 1]; None if it was not measured.
    """

    iteration: int
    loss: float
    learning_rate: float
    kept_fraction: float
    miou: float | None = None


@dataclass
class Curve:
    """The training curve so far.

    Attributes:
        points: points in order of iteration.
        best_miou: highest mIoU so far; None if no point has an mIoU.
        best_iteration: iteration of the highest mIoU; None if no point has an mIoU.
        validation: `validation_digest` of the photos that the mIoU is measured on.
    """

    points: list[Point] = field(default_factory=list)
    best_miou: float | None = None
    best_iteration: int | None = None
    validation: str | None = None

    def add_miou(self, miou: float) -> None:
        """Set the mIoU of the last point, and update the best mIoU.

        Args:
            miou: mIoU in [0, 1], or NaN if no pixel was scored. NaN is ignored.
        """
        if math.isnan(miou) or not self.points:
            return
        self.points[-1] = replace(self.points[-1], miou=miou)
        if self.best_miou is None or miou > self.best_miou:
            self.best_miou, self.best_iteration = miou, self.points[-1].iteration

    def plain(self) -> list[dict[str, Any]]:
        """Return each point as a dict of plain values."""
        return [asdict(point) for point in self.points]

    def restore(self, plain: Sequence[Mapping[str, Any]], validation: str | None) -> int:
        """Replace all points with those from a checkpoint, and compute the best mIoU again.

        Args:
            plain: points in the form that the method `plain` returns.
            validation: `validation_digest` of the photos that the mIoU of these points was measured on. If it differs
                from that of this curve, the points lose their mIoU.

        Returns:
            The number of points that lost their mIoU.
        """
        self.points, self.best_miou, self.best_iteration = [], None, None
        lost = 0
        for values in plain:
            self.points.append(Point(**{**values, "miou": None}))
            if values["miou"] is None:
                continue
            if validation == self.validation:
                self.add_miou(values["miou"])
            else:
                lost += 1
        return lost


class CurveHook(Hook):
    """Adds points to the training curve, reports progress, and stops the training if the loss diverges.

    Args:
        curve: curve that receives the points.
        count_iterations: function that reports progress. Its argument is the number of iterations since its last call.
        iterations: total number of iterations of the training.
        half: whether the training uses fp16. If true, up to 10 losses in a row may be infinite or NaN.
        also: further intervals at which points are added [iterations]; 0 is ignored. Include the interval of
            checkpoints: a checkpoint holds only the points, so the losses since the newest point would be lost when the
            training resumes. Include the interval of validations: the mIoU of a validation is stored in the newest
            point.
    """

    priority = "NORMAL"  # runs before the schedulers' step, so that a point has the rate of its own iteration

    def __init__(
        self,
        curve: Curve,
        count_iterations: Callable[[int], None],
        iterations: int,
        half: bool,
        also: Sequence[int] = (),
    ) -> None:
        self._curve, self._count_iterations = curve, count_iterations
        self._every = [every for every in (max(1, iterations // POINTS), *also) if every]
        self._allowed_overflows = OVERFLOWS if half else 0
        self._overflows = 0
        self._sums = torch.zeros(3, dtype=torch.float64)  # losses, kept fractions and iterations since the last point
        self._losses: list[float] = []

    def before_train_epoch(self, runner: Runner) -> None:
        """If the training resumes from a checkpoint, count the iterations before the checkpoint as progress."""
        self._count_iterations(runner.train_loop.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Check the loss of the iteration, report the iteration as progress, and add a point if one is due.

        Raises:
            StageError: the loss is not finite or has grown too much. The message states the iteration and likely
                causes.
        """
        done, loss, rate = batch_idx + 1, outputs["loss"].item(), runner.optim_wrapper.get_lr()["lr"][0]
        kept = _kept_fraction(runner)
        self._check(done, loss, rate, kept)
        if math.isfinite(loss):
            self._sums += torch.tensor([loss, kept, 1.0], dtype=torch.float64)
        self._count_iterations(1)
        if any(done % every == 0 for every in self._every) or done == runner.max_iters:
            all_reduce(self._sums)
            loss, kept, count = self._sums.tolist()
            if count:
                self._curve.points.append(Point(done, loss / count, rate, kept / count))
            self._sums = torch.zeros(3, dtype=torch.float64)

    def _check(self, done: int, loss: float, rate: float, kept: float) -> None:
        if not math.isfinite(loss):
            self._overflows += 1
            if self._overflows > self._allowed_overflows:
                raise StageError(_with_likely_causes(f"the loss is {loss}", done, rate, kept))
            return
        self._overflows = 0
        self._losses = [*self._losses, loss][-RECENT_ITERATIONS:]
        first, recent = self._first_loss(), sum(self._losses) / len(self._losses)
        if first and len(self._losses) == RECENT_ITERATIONS and recent > MAX_GROWTH * max(first, MIN_INITIAL_LOSS):
            raise StageError(
                _with_likely_causes(f"the loss has grown from {first:.3g} to {recent:.3g}", done, rate, kept)
            )

    def _first_loss(self) -> float:
        """Return the mean loss of about the first FIRST_ITERATIONS iterations.

        Return 0 if the curve does not have points for all of these iterations yet.
        """
        losses: list[float] = []
        for point in self._curve.points:
            losses.append(point.loss)
            if point.iteration >= FIRST_ITERATIONS:
                return sum(losses) / len(losses)
        return 0.0


def _kept_fraction(runner: Runner) -> float:
    return float(runner.message_hub.get_scalar("train/kept_fraction").current())


def _with_likely_causes(cause: str, done: int, rate: float, kept: float) -> str:
    return (
        f"{cause} at iteration {done} (learning rate {rate:.3g}; {kept:.1%} of the labelled pixels count in the loss). "
        "Likely causes: a learning rate that is too high for these initial weights; initial weights that expect "
        "another normalisation or another order of the colour channels; fp16 (try train.precision=fp32); batches with "
        "hardly any confident pixels (try a lower train.mu). "
        "If you change one of these settings, the training starts from iteration 0, without the existing checkpoints."
    )
