"""The curve of a training (loss, learning rate, kept fraction, mIoU), and the check that stops a failing training."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner

from clipes_core.errors import StageError

POINTS = 500  # approximate length of a curve
FIRST, RECENT = 20, 50  # iterations whose mean losses are compared
RUNAWAY = 5.0  # factor by which the loss may grow
CHANCE = 1.0  # lower bound of the initial loss in the check; a loss can begin lower if hardly any pixels are kept
OVERFLOWS = 10  # permitted consecutive overflows in fp16, where the scaler skips steps until its scale fits


@dataclass(frozen=True)
class Point:
    """A row of the training's artifact.

    Attributes:
        iteration: number of iterations done.
        loss: mean loss over the iterations since the previous point.
        learning_rate: learning rate of the first parameter group.
        kept_fraction: mean share of the labelled pixels that the confidence threshold keeps, in [0, 1].
        miou: mIoU on the validation photos, in [0, 1]; None if it was not measured.
    """

    iteration: int
    loss: float
    learning_rate: float
    kept_fraction: float
    miou: float | None = None


@dataclass
class Curve:
    """The points so far.

    Attributes:
        points: in order of their iterations.
        best_miou: the highest mIoU so far.
        best_iteration: the iteration with the highest mIoU.
    """

    points: list[Point] = field(default_factory=list)
    best_miou: float | None = None
    best_iteration: int | None = None

    def add_miou(self, miou: float) -> None:
        """Set the mIoU of the last point.

        Args:
            miou: mIoU in [0, 1]; NaN, which means that there is no labelled pixel, is ignored.
        """
        if math.isnan(miou) or not self.points:
            return
        self.points[-1] = replace(self.points[-1], miou=miou)
        if self.best_miou is None or miou > self.best_miou:
            self.best_miou, self.best_iteration = miou, self.points[-1].iteration

    def plain(self) -> list[dict[str, Any]]:
        """Return the points as plain values."""
        return [asdict(point) for point in self.points]

    def take_over(self, plain: Sequence[Mapping[str, Any]]) -> None:
        """Replace the points with those of a checkpoint."""
        self.points, self.best_miou, self.best_iteration = [], None, None
        for values in plain:
            self.points.append(Point(**{**values, "miou": None}))
            if values["miou"] is not None:
                self.add_miou(values["miou"])


class CurveHook(Hook):
    """Adds points to a curve, reports progress, and stops a training whose loss is not finite or grows too much.

    Args:
        curve: curve that receives the points.
        count_iterations: function that is called with the number of iterations done since its last call.
        iterations: number of iterations of the whole training.
        half: whether the training uses fp16, whose loss scale takes a few iterations to settle.
        also: further intervals at which a point is due; 0 is ignored. A checkpoint needs a point, because a resumed
            training cannot average over iterations before and after the checkpoint. A validation needs a point that
            holds its mIoU.
    """

    priority = "NORMAL"  # before the scheduler changes the learning rate

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
        self._sums = torch.zeros(3, dtype=torch.float64)  # of losses, kept fractions and iterations
        self._losses: list[float] = []

    def before_train_epoch(self, runner: Runner) -> None:
        """Count the iterations that were done before the checkpoint that the training resumes from."""
        self._count_iterations(runner.train_loop.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Record an iteration.

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
        """Return the mean loss of the first points, including those of earlier attempts; 0 if there are too few."""
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
        "layout; fp16 (try train.precision=fp32); batches with hardly any confident pixels (try a lower train.mu). "
        "Earlier checkpoints are kept, but a training with changed settings starts from iteration 0."
    )
