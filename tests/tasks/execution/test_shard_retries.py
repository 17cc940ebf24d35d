"""The failures that are worth a retry, and the delays between the attempts."""

import pytest
from prefect.states import Failed

from clipes.tasks.execution.shard_retries import is_worth_a_retry, retry_condition, retry_delays
from clipes_core.errors import BrokenArtifactError, StageError, TransientError, UpstreamError, WorkerError

TRANSIENT = [TransientError("the store does not answer"), WorkerError("died"), ConnectionResetError(), TimeoutError()]
LASTING = [
    StageError("too many rejects"),
    UpstreamError("not run"),
    BrokenArtifactError("a", "cut"),
    ValueError(),
    None,
]


@pytest.mark.parametrize("failure", TRANSIENT, ids=repr)
def test_a_transient_failure_is_worth_a_retry(failure):
    assert is_worth_a_retry(failure)
    assert retry_condition(None, None, Failed(data=failure))


@pytest.mark.parametrize("failure", LASTING, ids=repr)
def test_a_lasting_failure_is_not_worth_a_retry(failure):
    assert not is_worth_a_retry(failure)
    if failure is not None:
        assert not retry_condition(None, None, Failed(data=failure))


def test_each_delay_is_twice_the_one_before_up_to_a_limit():
    assert retry_delays(0) == []
    assert retry_delays(9) == [2, 4, 8, 16, 32, 64, 120, 120, 120]
