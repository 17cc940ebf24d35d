from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from clipes.flows.resume_advice import explain_retry, retry_hint
from clipes_core.errors import StageError


def test_the_hint_for_a_run_of_a_deployment_names_the_retry_command():
    run = FlowRun(flow_id=uuid4(), deployment_id=uuid4())
    assert retry_hint(run).endswith(f"retry the flow run in the UI, or run `prefect flow-run retry {run.id}`")


def test_a_run_without_a_deployment_has_no_hint():
    assert retry_hint(FlowRun(flow_id=uuid4())) is None


def test_explain_retry_keeps_the_error_outside_a_flow_run():
    with pytest.raises(StageError, match=r"^cams shard 0: no$"), explain_retry():
        raise StageError("cams shard 0: no")
