import logging
import time

import pytest

from clipes.tasks.storage.retry_policy import ONE_MINUTE, RetryPolicy
from clipes_core.errors import StorageError, TransientError


class Flaky:
    """A function that fails `failures` times and then returns its argument."""

    def __init__(self, failures, error=TransientError):
        self.failures, self.error, self.calls = failures, error, []

    def __call__(self, value):
        self.calls.append(time.monotonic())
        if len(self.calls) <= self.failures:
            raise self.error(f"attempt {len(self.calls)}")
        return value


def test_a_call_is_retried_until_it_succeeds(caplog):
    flaky = Flaky(failures=2)
    with caplog.at_level(logging.WARNING):
        assert RetryPolicy(attempts=3, first_wait_s=0.01, longest_wait_s=1).call(flaky, "value") == "value"
    assert len(flaky.calls) == 3
    assert [message.partition(" as it raised ")[2] for message in caplog.messages] == [
        "TransientError: attempt 1.",
        "TransientError: attempt 2.",
    ]


def test_the_error_of_the_last_attempt_is_raised():
    flaky = Flaky(failures=5)
    with pytest.raises(TransientError, match=r"^attempt 2$"):
        RetryPolicy(attempts=2, first_wait_s=0, longest_wait_s=0).call(flaky, "value")
    assert len(flaky.calls) == 2


def test_waits_double_up_to_the_longest_wait():
    flaky = Flaky(failures=3)
    RetryPolicy(attempts=4, first_wait_s=0.1, longest_wait_s=0.2).call(flaky, "value")
    waits = [later - earlier for earlier, later in zip(flaky.calls, flaky.calls[1:], strict=False)]
    assert waits == pytest.approx([0.1, 0.2, 0.2], abs=0.09)


def test_a_refusal_is_not_retried():
    flaky = Flaky(failures=1, error=StorageError)
    with pytest.raises(StorageError):
        ONE_MINUTE.call(flaky, "value")
    assert len(flaky.calls) == 1


def test_one_minute_waits_for_about_a_minute():
    waits = [min(ONE_MINUTE.first_wait_s * 2**n, ONE_MINUTE.longest_wait_s) for n in range(ONE_MINUTE.attempts - 1)]
    assert sum(waits) == pytest.approx(60, abs=5)
