"""The training curve (loss, learning rate, share of kept pixels, mIoU), and the check that stops a failing training."""

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
FIRST, RECENT = 20, 50  # numbers of first and of latest iterations whose mean losses are compared
RUNAWAY = 5.0  # factor by which the loss may grow
CHANCE = 1.0  # a lower initial loss counts as this value in the check; the loss starts low if few pixels are kept
OVERFLOWS = 10  # consecutive fp16 overflows that are permitted while the loss scaler lowers its scale


@dataclass(frozen=True)
class Point:
    """A point of the training curve; it becomes a row of the segmenter's artifact.

    Attributes:
        iteration: number of iterations done.
        loss: mean loss over the iterations since the previous point.
        learning_rate: learning rate of the first parameter group in this iteration.
        kept_fraction: share of the labelled pixels that the confidence threshold keeps, in [0, 1]; mean over the
            iterations since the previous point.
        miou: mIoU on the validation photos, in [0, 1]; None if it was not measured.
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
    """

    points: list[Point] = field(default_factory=list)
    best_miou: float | None = None
    best_iteration: int | None = None

    def add_miou(self, miou: float) -> None:
        """Set the mIoU of the last point.

        Args:
            miou: mIoU in [0, 1]. NaN is ignored; it means that no pixel was scored.
        """
        if math.isnan(miou) or not self.points:
            return
        self.points[-1] = replace(self.points[-1], miou=miou)
        if self.best_miou is None or miou > self.best_miou:
            self.best_miou, self.best_iteration = miou, self.points[-1].iteration

    def plain(self) -> list[dict[str, Any]]:
        """Return each point as a dict of plain values."""
        return [asdict(point) for point in self.points]

    def take_over(self, plain: Sequence[Mapping[str, Any]]) -> None:
        """Replace the points with those in a checkpoint.

        Args:
            plain: points as `plain` returned them.
        """
        self.points, self.best_miou, self.best_iteration = [], None, None
        for values in plain:
            self.points.append(Point(**{**values, "miou": None}))
            if values["miou"] is not None:
                self.add_miou(values["miou"])


class CurveHook(Hook):
    """Adds points to a curve, reports progress, and stops the training if the loss is not finite or grows too much.

    Args:
        curve: curve that receives the points.
        count_iterations: function that reports progress; called with the number of iterations since its last call.
        iterations: number of iterations of the whole training.
        half: if true, the training uses fp16, and a few losses in a row may be infinite or NaN.
        also: further intervals [iterations] between points, besides the regular one; 0 is ignored. Checkpoints need
            a point, because they do not hold the sums since the last point. Validations need a point for their mIoU.
    """

    priority = "NORMAL"  # runs before the schedulers' step, so that a point gets the learning rate of its own iteration

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
        """Report the iterations of earlier attempts as progress, if the training resumes from a checkpoint."""
        self._count_iterations(runner.train_loop.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Check the loss of the iteration, report the iteration as progress, and add a point if one is due.

        Raises:
            StageError: the loss is not finite or has grown too much; the message names the iteration and likely causes.
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
                raise StageError(_explained(f"the loss is {loss}", done, rate, kept))
            return
        self._overflows = 0
        self._losses = [*self._losses, loss][-RECENT:]
        first, recent = self._first_loss(), sum(self._losses) / len(self._losses)
        if first and len(self._losses) == RECENT and recent > RUNAWAY * max(first, CHANCE):
            raise StageError(_explained(f"the loss has grown from {first:.3g} to {recent:.3g}", done, rate, kept))

    def _first_loss(self) -> float:
        """Return the mean loss of the points from the start of the training to iteration FIRST or shortly after it.

        Points of earlier attempts count too. Return 0 if the curve does not reach iteration FIRST yet.
        """
        losses: list[float] = []
        for point in self._curve.points:
            losses.append(point.loss)
            if point.iteration >= FIRST:
                return sum(losses) / len(losses)
        return 0.0


def _kept_fraction(runner: Runner) -> float:
    return float(runner.message_hub.get_scalar("train/kept_fraction").current())


def _explained(cause: str, done: int, rate: float, kept: float) -> str:
    return (
        f"{cause} at iteration {done} (learning rate {rate:.3g}, {kept:.1%} of the labelled pixels kept). Likely "
        "causes: a learning rate too high for these initial weights; initial weights made for another normalisation or "
        "order of the colour channels; fp16 (try train.precision=fp32); batches with hardly any confident pixels (try "
        "a lower train.mu). "
        "Earlier checkpoints are kept, but a training with changed settings starts from iteration 0."
    )
