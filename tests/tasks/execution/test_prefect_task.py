import pytest
from prefect.states import Failed

from clipes.tasks.execution.prefect_task import named_task
from clipes.tasks.execution.shard_runner import StageWork
from clipes.tasks.plan.stages import STAGES
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.preparation import prepare_run
from clipes_core.errors import StageError, TransientError, WorkerError


@pytest.fixture
def work_of(tiny, pool):
    """The work of the stage cams over one photo, with some retries."""
    tiny.add("a", "cat")

    def work_of(retries):
        run = prepare_run(tiny.config(execution={"retries": retries}), "cams")
        return StageWork(run, Ledger(1, 0), STAGES["cams"], pool, {})

    return work_of


@pytest.mark.parametrize(("retries", "delays"), [(0, []), (3, [2, 4, 8]), (8, [2, 4, 8, 16, 32, 64, 120, 120])])
def test_attempts_wait_longer_each_time_but_not_for_ever(work_of, retries, delays):
    task = named_task(work_of(retries))
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
def test_only_what_may_pass_is_tried_again(work_of, failure, again):
    state = Failed(data=failure)
    assert named_task(work_of(1)).retry_condition_fn(None, None, state) is again
