from contextlib import suppress
from time import perf_counter, sleep

from clipes.tasks.training.hooks.clock import Clock, ClockHook


def test_computing_and_waiting_add_up_to_the_elapsed_time():
    clock, began = Clock(), perf_counter()
    hook = ClockHook(clock)
    hook.before_train_epoch(None)
    for step in range(3):
        sleep(0.02)  # waiting for photos
        hook.before_train_iter(None, step)
        sleep(0.01)  # computing the step
        hook.after_train_iter(None, step)
    gone = perf_counter() - began

    assert clock.iterations == 3
    assert clock.waited >= 0.06
    assert clock.seconds >= 0.03
    assert clock.waited + clock.seconds <= gone


def test_time_before_the_training_is_not_counted():
    clock = Clock()
    sleep(0.05)
    began = perf_counter()
    hook = ClockHook(clock)
    hook.before_train_epoch(None)
    hook.before_train_iter(None, 0)
    assert clock.waited <= perf_counter() - began


def test_a_pause_is_not_counted():
    clock, began = Clock(), perf_counter()
    clock.lap()
    with clock.paused():
        paused = perf_counter()
        sleep(0.05)
        paused = perf_counter() - paused
    lap = clock.lap()
    assert 0 <= lap <= perf_counter() - began - paused


def test_a_pause_that_ends_with_an_error_is_not_counted():
    clock, began = Clock(), perf_counter()
    clock.lap()
    try:
        with clock.paused():
            sleep(0.05)
            raise KeyError
    except KeyError:
        lap = clock.lap()
    assert lap <= perf_counter() - began - 0.05


def test_the_rate_leaves_out_the_first_iteration():
    clock = Clock()
    assert clock.iterations_per_second is None
    clock.iterations, clock.seconds, clock.waited, clock.first = 1, 2.0, 8.0, 10.0
    assert clock.iterations_per_second == 0.1
    clock.iterations, clock.seconds, clock.waited = 5, 3.0, 9.0
    assert clock.iterations_per_second == 2.0


def test_the_hook_records_the_first_iteration():
    clock = Clock()
    hook = ClockHook(clock)
    hook.before_train_epoch(None)
    for step in range(2):
        hook.before_train_iter(None, step)
        hook.after_train_iter(None, step)
        if step == 0:
            first = clock.seconds + clock.waited
    assert clock.first == first <= clock.seconds + clock.waited


def test_the_durations_of_pauses_are_kept_even_if_they_fail():
    clock = Clock()
    with suppress(KeyError), clock.paused(clock.validations):
        sleep(0.01)
        raise KeyError
    for _ in range(2):
        with clock.paused(clock.writes):
            sleep(0.02)
    assert [len(clock.validations), len(clock.writes)] == [1, 2]
    assert clock.validations[0] >= 0.01
    assert min(clock.writes) >= 0.02
