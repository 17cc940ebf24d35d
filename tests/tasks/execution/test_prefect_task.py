"""The Prefect task of a stage's shards."""

import pytest

from clipes.tasks.execution.prefect_task import named_task
from clipes_core.config.run import parse_config


@pytest.mark.parametrize(("retries", "delays"), [(0, []), (3, [2, 4, 8])])
def test_a_task_has_the_name_of_its_stage_and_the_retries_of_the_config(retries, delays):
    config = parse_config({"name": "tiny", "dataset": {"root": "/data"}, "execution": {"retries": retries}})
    task = named_task("cams", config)
    assert (task.name, task.retries, task.retry_delay_seconds) == ("cams", retries, delays)
