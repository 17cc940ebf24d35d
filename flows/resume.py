"""How a run that failed is gone on with where there is no command line to call again: in a deployment."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext

from clipes_core.errors import StageError


@contextmanager
def told_how_to_retry() -> Iterator[None]:
    """A run of a deployment that fails in the block says how to go on; the command line says so itself.

    Raises:
        StageError: as it came, with that line where it belongs.
    """
    try:
        yield
    except StageError as exc:
        context = FlowRunContext.get()
        retry = how_to_retry(context.flow_run) if context and context.flow_run else None
        if retry is None:
            raise
        raise StageError(f"{exc}\n{retry}") from exc


def how_to_retry(flow_run: FlowRun) -> str | None:
    """What goes on with a flow run; None where no deployment started it."""
    if flow_run.deployment_id is None:
        return None
    return f"What is done is kept. To resume: retry the flow run in the UI, or prefect flow-run retry {flow_run.id}"
