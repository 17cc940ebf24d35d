import logging
import time

import pytest

from clipes.tasks.storage import retry_policy
from clipes.tasks.storage.retry_policy import ONE_MINUTE, RetryPolicy, is_transient, shard_policy
from clipes_core.errors import (
    BrokenArtifactError,
    StageError,
    StorageError,
    TransientError,
    UpstreamError,
    WorkerError,
)


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
    assert sum(ONE_MINUTE.waits_s) == pytest.approx(60, abs=5)


@pytest.mark.parametrize(("retries", "waits"), [(0, []), (3, [2, 4, 8]), (9, [2, 4, 8, 16, 32, 64, 120, 120, 120])])
def test_a_shard_waits_longer_before_each_retry(retries, waits):
    assert shard_policy(retries).waits_s == waits


@pytest.mark.parametrize(
    ("failure", "transient"),
    [
        (TransientError("the store does not answer"), True),
        (WorkerError("died"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (StageError("too many rejects"), False),
        (UpstreamError("not run"), False),
        (BrokenArtifactError("a", "cut"), False),
        (ValueError(), False),
        (None, False),
    ],
)
def test_only_failures_that_may_be_over_soon_are_transient(failure, transient):
    assert is_transient(failure) is transient


def test_the_waits_that_a_server_asks_for_do_not_add_up_to_more_than_the_longest_one(monkeypatch):
    monkeypatch.setattr(retry_policy, "LONGEST_ASKED_WAIT_S", 0.05)

    def busy(text):
        error = TransientError(text)
        error.retry_after_s = 0.02
        return error

    flaky = Flaky(failures=9, error=busy)
    with pytest.raises(TransientError, match=r"^attempt 3$"):
        RetryPolicy(attempts=9, first_wait_s=0, longest_wait_s=0).call(flaky, "value")
