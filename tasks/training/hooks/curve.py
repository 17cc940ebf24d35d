"""The curve of a training: loss, rate, kept fraction and mIoU over the steps; and when it makes no sense to go on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner

from clipes.tasks.machine.row_counters import SlotCounters
from clipes.tasks.training.job import STAGE
from clipes_core.errors import StageError

POINTS = 500  # that a curve has, about
FIRST, RECENT = 20, 50  # steps whose mean losses are compared
RUNAWAY = 5.0  # times the first loss
CHANCE = 1.0  # about the cross entropy of a guess; a first loss below it may be of batches that kept hardly a pixel
OVERFLOWS = 10  # in a row; with fp16 the scaler skips steps until the scale fits


@dataclass(frozen=True)
class Point:
    """A row of the artifact; see tasks/stages.py."""

    iteration: int
    loss: float
    learning_rate: float
    kept_fraction: float
    miou: float | None = None


@dataclass
class Curve:
    """The points so far.

    Attributes:
        points: by iteration.
        best_miou: the highest so far.
        best_iteration: where that was.
    """

    points: list[Point] = field(default_factory=list)
    best_miou: float | None = None
    best_iteration: int | None = None

    def add_miou(self, miou: float) -> None:
        """Say what the last point's network scores, in [0, 1]; nan where no pixel has a truth."""
        if math.isnan(miou) or not self.points:
            return
        self.points[-1] = replace(self.points[-1], miou=miou)
        if self.best_miou is None or miou > self.best_miou:
            self.best_miou, self.best_iteration = miou, self.points[-1].iteration

    def plain(self) -> list[dict[str, Any]]:
        """The points as plain values."""
        return [asdict(point) for point in self.points]

    def take_over(self, plain: Sequence[Mapping[str, Any]]) -> None:
        """Begin with the points of a checkpoint."""
        self.points, self.best_miou, self.best_iteration = [], None, None
        for values in plain:
            self.points.append(Point(**{**values, "miou": None}))
            if values["miou"] is not None:
                self.add_miou(values["miou"])


class CurveHook(Hook):
    """Adds points to a curve, counts steps, and stops a training whose loss is no number or runs away.

    Args:
        curve: gets the points.
        counters: gets the steps; None in all processes of a training but one.
        iterations: in all.
        half: whether it trains in fp16, whose scale takes a few steps to fit.
        also: steps from one to the next of what wants a point of its own: checkpoints, for a mean over steps before and
            after one would not be gone on with, and scores; 0 is passed over.
    """

    priority = "NORMAL"  # before the learning rate moves on

    def __init__(
        self, curve: Curve, counters: SlotCounters | None, iterations: int, half: bool, also: Sequence[int] = ()
    ) -> None:
        self._curve, self._counters = curve, counters
        self._every = [every for every in (max(1, iterations // POINTS), *also) if every]
        self._bearable = OVERFLOWS if half else 0
        self._sums, self._overflows = torch.zeros(3, dtype=torch.float64), 0  # of losses, kept fractions, steps
        self._losses: list[float] = []

    def before_train_epoch(self, runner: Runner) -> None:
        """Count what a checkpoint has brought."""
        if self._counters is not None:
            self._counters.add(STAGE, runner.train_loop.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Take in a step.

        Raises:
            StageError: the loss is no number, or runs away; says where, and what the cause may be.
        """
        done, loss, rate = batch_idx + 1, outputs["loss"].item(), runner.optim_wrapper.get_lr()["lr"][0]
        kept = _kept_fraction(runner)
        self._check(done, loss, rate, kept)
        if math.isfinite(loss):
            self._sums += torch.tensor([loss, kept, 1.0], dtype=torch.float64)
        if self._counters is not None:
            self._counters.add(STAGE)
        if any(done % every == 0 for every in self._every) or done == runner.max_iters:
            all_reduce(self._sums)
            loss, kept, steps = self._sums.tolist()
            if steps:
                self._curve.points.append(Point(done, loss / steps, rate, kept / steps))
            self._sums = torch.zeros(3, dtype=torch.float64)

    def _check(self, done: int, loss: float, rate: float, kept: float) -> None:
        if not math.isfinite(loss):
            self._overflows += 1
            if self._overflows > self._bearable:
                raise StageError(_stopped(f"the loss is {loss}", done, rate, kept))
            return
        self._overflows = 0
        self._losses = [*self._losses, loss][-RECENT:]
        first, recent = self._first_loss(), sum(self._losses) / len(self._losses)
        if first and len(self._losses) == RECENT and recent > RUNAWAY * max(first, CHANCE):
            raise StageError(_stopped(f"the loss has grown from {first:.3g} to {recent:.3g}", done, rate, kept))

    def _first_loss(self) -> float:
        """Of the first points, which another attempt may have made; 0 before there are any of so many steps."""
        losses: list[float] = []
        for point in self._curve.points:
            losses.append(point.loss)
            if point.iteration >= FIRST:
                return sum(losses) / len(losses)
        return 0.0


def _kept_fraction(runner: Runner) -> float:
    return float(runner.message_hub.get_scalar("train/kept_fraction").current())


def _stopped(what: str, done: int, rate: float, kept: float) -> str:
    return (
        f"{what} at iteration {done} (learning rate {rate:.3g}, {kept:.1%} of the labelled pixels kept). Likely: a "
        "learning rate too high for these initial weights; initial weights of another normalisation or layout; fp16 "
        "(try train.precision=fp32); batches with hardly any sure pixels (try a lower train.mu). The checkpoints "
        "before it are kept; another setting begins anew."
    )
