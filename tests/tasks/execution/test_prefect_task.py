import pytest
from prefect.states import Failed

from clipes.tasks.execution.prefect_task import named_task
from clipes_core.config.run import parse_config
from clipes_core.errors import StageError, TransientError, WorkerError


def task_with(retries):
    config = parse_config({"name": "tiny", "dataset": {"root": "/data"}, "execution": {"retries": retries}})
    return named_task("cams", config)


@pytest.mark.parametrize(("retries", "delays"), [(0, []), (3, [2, 4, 8]), (8, [2, 4, 8, 16, 32, 64, 120, 120])])
def test_attempts_wait_longer_each_time_but_not_for_ever(retries, delays):
    task = task_with(retries)
    assert (task.retries, task.retry_delay_seconds) == (retries, delays)
    assert task.name == "cams"


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        (WorkerError("killed"), True),
        (TransientError("network"), True),
        (ConnectionResetError("store"), True),
        (TimeoutError("store"), True),
        (StageError("too many"), False),
        (KeyError("a fault of ours"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(failure, again):
    state = Failed(data=failure)
    assert task_with(1).retry_condition_fn(None, None, state) is again
