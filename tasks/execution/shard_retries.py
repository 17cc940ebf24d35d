"""Decide whether and when Prefect retries the shards of a failed task run."""

from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.storage.retry_policy import is_transient, shard_policy

JITTER = 0.5  # each wait varies by up to this share, so that shards do not retry at the same time


def retry_options(retries: int) -> dict[str, Any]:
    """Return the options of a Prefect task that set whether and when Prefect retries its task runs.

    Args:
        retries: value of `execution.retries`.
    """
    return {
        "retries": retries,
        "retry_delay_seconds": shard_policy(retries).waits_s,
        "retry_jitter_factor": JITTER,
        "retry_condition_fn": _is_worth_a_retry,
    }


def shards_to_make(ledger: Ledger, stage: str, shards: tuple[int, ...], attempt: int) -> tuple[int, ...]:
    """Return the shards to make: all in the first attempt; in a retry, those that failed for a transient cause.

    Args:
        ledger: ledger of the run, which holds the failures of the previous attempt.
        stage: name of the stage.
        shards: shards of the task run.
        attempt: number of the attempt, from 1.
    """
    return tuple(shard for shard in shards if attempt == 1 or is_transient(ledger.failure(stage, shard)))


def _is_worth_a_retry(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    """Return whether the failure of a task run is transient; Prefect itself limits the number of retries."""
    return is_transient(state.result(raise_on_failure=False))
