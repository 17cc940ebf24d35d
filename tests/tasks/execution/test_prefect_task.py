"""The Prefect task of a stage's shards."""

import pytest
from prefect.states import Failed

from clipes.tasks.execution.prefect_task import named_task, retry_condition
from clipes_core.config.run import parse_config
from clipes_core.errors import StageError, TransientError


def task_with(retries):
    config = parse_config({"name": "tiny", "dataset": {"root": "/data"}, "execution": {"retries": retries}})
    return named_task("cams", config)


@pytest.mark.parametrize(("retries", "delays"), [(0, []), (3, [2, 4, 8])])
def test_a_task_has_the_name_of_its_stage_and_the_retries_of_the_config(retries, delays):
    task = task_with(retries)
    assert (task.retries, task.retry_delay_seconds) == (retries, delays)
    assert (task.name, task.retry_condition_fn) == ("cams", retry_condition)


@pytest.mark.parametrize(("failure", "retried"), [(TransientError("no answer"), True), (StageError("no"), False)])
def test_only_a_transient_failure_is_retried(failure, retried):
    assert retry_condition(None, None, Failed(data=failure)) is retried
