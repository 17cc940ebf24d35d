"""How the errors of Ray appear as those of clipes; no cluster runs."""

import pytest
from ray.exceptions import OutOfMemoryError, RayActorError

from clipes.tasks.execution.ray.errors import translate_ray_errors
from clipes_core.errors import NodeLostError, StoppedError, WorkerError


def test_low_memory_is_reported_without_asking_whether_the_machine_lives():
    with (
        pytest.raises(
            WorkerError, match=r"^its worker process was killed, because the memory of second ran out$"
        ) as told,
        translate_ray_errors("id", "second", None, lambda: False),
    ):
        raise OutOfMemoryError("the memory monitor has killed a worker")
    assert not isinstance(told.value, NodeLostError)


def test_the_end_of_a_closed_worker_is_no_loss():
    with (
        pytest.raises(StoppedError, match=r"^stopped before it was done$"),
        translate_ray_errors("id", "second", None, lambda: True),
    ):
        raise RayActorError
