import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub

from clipes.tasks.training.hooks.curve import POINTS, Curve, CurveHook, Point
from clipes_core.errors import StageError


class Iterations:
    """A runner with the attributes that the hook reads, for iterations with given losses."""

    def __init__(self, iterations=30, half=False, also=(), curve=None, begun=0):
        self.curve = Curve() if curve is None else curve
        self.max_iters = iterations
        self.message_hub = MessageHub(f"curve-{id(self)}")
        self.optim_wrapper = SimpleNamespace(get_lr=lambda: {"lr": [0.1, 1.0]})
        self.train_loop = SimpleNamespace(iter=begun)
        self.counted = []
        self._hook = CurveHook(self.curve, self.counted.append, iterations, half, also)
        self._hook.before_train_epoch(self)
        self._done = begun

    def take(self, *losses, kept=1.0):
        for loss in losses:
            self.message_hub.update_scalar("train/kept_fraction", kept)
            self._hook.after_train_iter(self, self._done, outputs={"loss": torch.tensor(loss)})
            self._done += 1


def test_a_short_training_has_one_point_per_iteration():
    iterations = Iterations()
    iterations.take(4.0, 2.0, kept=0.5)
    assert iterations.curve.points == [Point(1, 4.0, 0.1, 0.5), Point(2, 2.0, 0.1, 0.5)]


def test_a_long_training_has_points_of_mean_losses_and_a_last_point():
    iterations = Iterations(iterations=2 * POINTS + 1)
    iterations.take(4.0, kept=0.5)
    assert iterations.curve.points == []
    iterations.take(2.0, kept=1.0)
    assert iterations.curve.points == [Point(2, 3.0, 0.1, 0.75)]
    iterations.take(*[1.0] * (2 * POINTS - 1))
    assert [point.iteration for point in iterations.curve.points] == [*range(2, 2 * POINTS + 1, 2), 2 * POINTS + 1]


def test_validations_and_checkpoints_have_their_own_points():
    iterations = Iterations(iterations=10 * POINTS, also=(4, 0))
    iterations.take(*[1.0, 3.0] * 6)
    assert [(point.iteration, point.loss) for point in iterations.curve.points] == [
        (4, 2.0),
        (8, 2.0),
        (10, 2.0),
        (12, 2.0),
    ]


def test_the_best_miou_and_its_iteration_are_kept():
    iterations = Iterations()
    for miou in (0.25, 0.5, 0.5, 0.375, math.nan):
        iterations.take(1.0)
        iterations.curve.add_miou(miou)
    assert [point.miou for point in iterations.curve.points] == [0.25, 0.5, 0.5, 0.375, None]
    assert (iterations.curve.best_miou, iterations.curve.best_iteration) == (0.5, 2)


def test_a_curve_restored_from_plain_values_continues():
    iterations = Iterations()
    for miou in (0.5, 0.25):
        iterations.take(1.0)
        iterations.curve.add_miou(miou)
    iterations.take(1.0)

    curve = Curve([Point(9, 0.0, 0.0, 0.0)], best_miou=0.9, best_iteration=9)
    lost = curve.restore(iterations.curve.plain(), None)

    assert curve == iterations.curve
    assert lost == 0


@pytest.mark.parametrize("validation", ["digest of other photos", None])
def test_a_restored_curve_loses_the_miou_of_other_photos_or_of_unknown_photos(validation):
    iterations = Iterations()
    for miou in (0.5, 0.25):
        iterations.take(1.0)
        iterations.curve.add_miou(miou)
    iterations.take(1.0)

    curve = Curve(validation="digest of own photos")
    lost = curve.restore(iterations.curve.plain(), validation)

    assert [point.miou for point in curve.points] == [None, None, None]
    assert (lost, curve.best_miou, curve.best_iteration) == (2, None, None)
    curve.add_miou(0.1)
    assert (curve.best_miou, curve.best_iteration) == (0.1, 3)


def test_iterations_of_an_earlier_attempt_are_counted():
    iterations = Iterations(begun=7)
    assert iterations.counted == [7]
    iterations.take(1.0, 1.0)
    assert iterations.counted == [7, 1, 1]


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_the_error_for_a_loss_that_is_not_finite_gives_likely_causes(loss):
    iterations = Iterations()
    iterations.take(1.0, 1.0)
    message = (
        rf"^the loss is {loss} at iteration 3 \(learning rate 0\.1; 25\.0% of the labelled pixels count in the "
        r"loss\)\. Likely causes: .*learning rate that is too high.*initial weights that expect another normalisation.*"
        r"train\.precision=fp32.*train\.mu"
    )
    with pytest.raises(StageError, match=message):
        iterations.take(loss, kept=0.25)
    assert [point.iteration for point in iterations.curve.points] == [1, 2]


def test_fp16_may_overflow_a_few_times_in_a_row():
    iterations = Iterations(iterations=100, half=True)
    iterations.take(*[math.inf] * 10, 1.0, *[math.inf] * 10)
    with pytest.raises(StageError, match="the loss is inf at iteration 22 "):
        iterations.take(math.inf)


def test_a_loss_that_grows_fivefold_stops_the_training():
    iterations = Iterations(iterations=200)
    iterations.take(*[2.0] * 20, *[1.0] * 30)  # mean of the first 20: 2; mean of the last 50: 1.4
    iterations.take(*[10.0] * 50)  # mean of the last 50: 10, which is exactly 5 times 2
    with pytest.raises(StageError, match=r"^the loss has grown from 2 to 10 at iteration 101 "):
        iterations.take(11.0)


def test_a_loss_that_grows_less_does_not_stop_the_training():
    iterations = Iterations(iterations=400)
    iterations.take(*[2.0] * 20, *[9.9] * 100)
    assert len(iterations.curve.points) == 120


def test_a_single_bad_iteration_does_not_stop_the_training():
    iterations = Iterations(iterations=200)
    iterations.take(*[1.0] * 60, 150.0, *[1.0] * 60)  # mean of the last 50: 3.98
    assert len(iterations.curve.points) == 121


def test_a_resumed_training_is_compared_with_its_original_first_loss():
    before = Iterations(iterations=200)
    before.take(*[4.0] * 20, *[1.0] * 40)

    iterations = Iterations(iterations=200, curve=before.curve, begun=60)
    iterations.take(*[8.0] * 60)  # eight times the last loss, but twice the first
    with pytest.raises(StageError, match="the loss has grown from 4 to "):
        iterations.take(*[40.0] * 60)


def test_a_long_training_is_compared_with_the_loss_of_its_first_points():
    iterations = Iterations(iterations=4 * POINTS)
    iterations.take(*[1.0] * 20, *[3.0] * 100)
    with pytest.raises(StageError, match="the loss has grown from 1 to "):
        iterations.take(*[9.0] * 50)
