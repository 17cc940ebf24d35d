"""Retries of shards: which failures are worth a retry, and how long to wait before each retry."""

from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from clipes.tasks.storage.retry_policy import FIRST_WAIT_S, LONGEST_WAIT_S
from clipes_core.errors import TransientError

JITTER = 0.5  # each delay varies by up to this share, so that shards do not retry at the same time


def is_worth_a_retry(failure: object) -> bool:
    """Return whether a failure is transient, so that another attempt may succeed."""
    return isinstance(failure, TransientError | ConnectionError | TimeoutError)


def retry_condition(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    """Return whether Prefect may retry a failed task run; Prefect itself limits the number of retries."""
    return is_worth_a_retry(state.result(raise_on_failure=False))


def retry_delays(retries: int) -> list[float]:
    """Return the delay before each retry [s]: it doubles each time, up to LONGEST_WAIT_S."""
    return [min(FIRST_WAIT_S * 2**attempt, LONGEST_WAIT_S) for attempt in range(retries)]
