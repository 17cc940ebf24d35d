import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub

from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.training.hooks.curve import POINTS, Curve, CurveHook, Point
from clipes_core.errors import StageError

STAGE = "segmenter"


class Steps:
    """What a hook asks of a runner, for steps whose losses are made up."""

    def __init__(self, iterations=30, half=False, also=(), curve=None, counters=None, begun=0):
        self.curve = Curve() if curve is None else curve
        self.max_iters = iterations
        self.message_hub = MessageHub(f"curve-{id(self)}")
        self.optim_wrapper = SimpleNamespace(get_lr=lambda: {"lr": [0.1, 1.0]})
        self.train_loop = SimpleNamespace(iter=begun)
        self._hook = CurveHook(self.curve, counters, iterations, half, also)
        self._hook.before_train_epoch(self)
        self._done = begun

    def take(self, *losses, kept=1.0):
        for loss in losses:
            self.message_hub.update_scalar("train/kept_fraction", kept)
            self._hook.after_train_iter(self, self._done, outputs={"loss": torch.tensor(loss)})
            self._done += 1


def test_a_short_training_has_a_point_per_step():
    steps = Steps()
    steps.take(4.0, 2.0, kept=0.5)
    assert steps.curve.points == [Point(1, 4.0, 0.1, 0.5), Point(2, 2.0, 0.1, 0.5)]


def test_a_point_of_a_long_training_is_a_mean_of_steps_and_the_last_one_is_never_left_out():
    steps = Steps(iterations=2 * POINTS + 1)
    steps.take(4.0, kept=0.5)
    assert steps.curve.points == []
    steps.take(2.0, kept=1.0)
    assert steps.curve.points == [Point(2, 3.0, 0.1, 0.75)]
    steps.take(*[1.0] * (2 * POINTS - 1))
    assert [point.iteration for point in steps.curve.points] == [*range(2, 2 * POINTS + 1, 2), 2 * POINTS + 1]


def test_a_step_that_is_validated_or_kept_has_a_point():
    steps = Steps(iterations=10 * POINTS, also=(4, 0))
    steps.take(*[1.0, 3.0] * 6)
    assert [(point.iteration, point.loss) for point in steps.curve.points] == [(4, 2.0), (8, 2.0), (10, 2.0), (12, 2.0)]


def test_the_highest_miou_and_its_step_are_kept():
    steps = Steps()
    for miou in (0.25, 0.5, 0.5, 0.375, math.nan):
        steps.take(1.0)
        steps.curve.add_miou(miou)
    assert [point.miou for point in steps.curve.points] == [0.25, 0.5, 0.5, 0.375, None]
    assert (steps.curve.best_miou, steps.curve.best_iteration) == (0.5, 2)


def test_a_curve_goes_on_from_its_plain_values():
    steps = Steps()
    for miou in (0.5, 0.25):
        steps.take(1.0)
        steps.curve.add_miou(miou)
    steps.take(1.0)

    curve = Curve([Point(9, 0.0, 0.0, 0.0)], best_miou=0.9, best_iteration=9)
    curve.take_over(steps.curve.plain())

    assert curve == steps.curve


def test_steps_are_counted_with_those_of_an_earlier_attempt():
    counters = Counters((STAGE,))
    steps = Steps(counters=counters.of_slot(), begun=7)
    assert counters.count(STAGE) == 7
    steps.take(1.0, 1.0)
    assert counters.count(STAGE) == 9


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_stops_the_training_and_says_where_and_why(loss):
    steps = Steps()
    steps.take(1.0, 1.0)
    message = (
        rf"^the loss is {loss} at iteration 3 \(learning rate 0\.1, 25\.0% of the labelled pixels kept\)\. Likely: "
        r".*learning rate too high.*initial weights of another normalisation.*train\.precision=fp32.*train\.mu"
    )
    with pytest.raises(StageError, match=message):
        steps.take(loss, kept=0.25)
    assert [point.iteration for point in steps.curve.points] == [1, 2]


def test_half_precision_may_overflow_a_few_times_in_a_row():
    steps = Steps(iterations=100, half=True)
    steps.take(*[math.inf] * 10, 1.0, *[math.inf] * 10)
    with pytest.raises(StageError, match="the loss is inf at iteration 22 "):
        steps.take(math.inf)


def test_a_loss_that_grows_fivefold_stops_the_training():
    steps = Steps(iterations=200)
    steps.take(*[2.0] * 20, *[1.0] * 30)  # the first 20: 2; the last 50: 1.4
    steps.take(*[10.0] * 50)  # the last 50: 10, which is 5 times 2 and not more
    with pytest.raises(StageError, match=r"^the loss has grown from 2 to 10 at iteration 101 "):
        steps.take(11.0)


def test_a_loss_that_grows_less_goes_on():
    steps = Steps(iterations=400)
    steps.take(*[2.0] * 20, *[9.9] * 100)
    assert len(steps.curve.points) == 120


def test_a_single_bad_step_goes_on():
    steps = Steps(iterations=200)
    steps.take(*[1.0] * 60, 150.0, *[1.0] * 60)  # mean of 50: 3.98
    assert len(steps.curve.points) == 121


def test_a_training_that_is_gone_on_with_grows_from_the_same_first_loss():
    before = Steps(iterations=200)
    before.take(*[4.0] * 20, *[1.0] * 40)

    steps = Steps(iterations=200, curve=before.curve, begun=60)
    steps.take(*[8.0] * 60)  # eight times the loss before it stopped, twice that of the beginning
    with pytest.raises(StageError, match="the loss has grown from 4 to "):
        steps.take(*[40.0] * 60)


def test_the_first_loss_of_a_long_training_is_that_of_its_first_points():
    steps = Steps(iterations=4 * POINTS)
    steps.take(*[1.0] * 20, *[3.0] * 100)
    with pytest.raises(StageError, match="the loss has grown from 1 to "):
        steps.take(*[9.0] * 50)
