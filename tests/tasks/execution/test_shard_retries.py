"""The retries of failed task runs."""

import pytest
from prefect.states import Failed

from clipes.tasks.execution.shard_retries import retry_options, shards_to_make
from clipes.tasks.runs.ledger import Ledger
from clipes_core.errors import StageError, TransientError


@pytest.mark.parametrize(("failure", "retried"), [(TransientError("no answer"), True), (StageError("no"), False)])
def test_only_a_transient_failure_is_retried(failure, retried):
    assert retry_options(2)["retry_condition_fn"](None, None, Failed(data=failure)) is retried


def test_a_retry_makes_only_the_shards_that_failed_for_a_transient_cause():
    ledger = Ledger(3, 1)
    for shard, failure in {0: TransientError("no answer"), 1: StageError("no")}.items():
        ledger.planned("cams", shard)
        ledger.started("cams", shard, 1)
        ledger.failed("cams", shard, 1, failure)
    assert shards_to_make(ledger, "cams", (0, 1, 2), attempt=1) == (0, 1, 2)
    assert shards_to_make(ledger, "cams", (0, 1, 2), attempt=2) == (0,)
