from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from clipes.flows.resume import how_to_retry, told_how_to_retry
from clipes_core.errors import StageError


def test_a_run_of_a_deployment_is_retried():
    run = FlowRun(flow_id=uuid4(), deployment_id=uuid4())
    assert how_to_retry(run).endswith(f"retry the flow run in the UI, or prefect flow-run retry {run.id}")


def test_a_run_without_one_is_not():
    assert how_to_retry(FlowRun(flow_id=uuid4())) is None


def test_outside_of_a_run_the_reason_stays_as_it_is():
    with pytest.raises(StageError, match=r"^cams shard 0: no$"), told_how_to_retry():
        raise StageError("cams shard 0: no")
