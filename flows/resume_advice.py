"""Advice on how to resume a failed run that a deployment started. Such a run has no command line to repeat."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext

from clipes.tasks.ui.parameter_names import in_own_words
from clipes_core.errors import StageError


@contextmanager
def explain_retry() -> Iterator[None]:
    """If a deployment started the run, add advice on a retry to the message of any StageError that the block raises.

    The message then also names the parameters of the flow (`retry_errors`) instead of options (`--retry-errors`). For
    runs from the command line, `clipes.flows.exit_codes` adds its own advice.

    Raises:
        StageError: the error of the block, with the advice if a deployment started the run.
    """
    try:
        yield
    except StageError as exc:
        context = FlowRunContext.get()
        hint = retry_hint(context.flow_run) if context and context.flow_run else None
        if hint is None:
            raise
        raise StageError(f"{in_own_words(str(exc))}\n{hint}") from exc


def retry_hint(flow_run: FlowRun) -> str | None:
    """Return advice on how to retry a flow run; None if no deployment started the run."""
    if flow_run.deployment_id is None:
        return None
    return (
        f"Finished work is kept. To resume: retry the flow run in the UI, or run `prefect flow-run retry {flow_run.id}`"
    )
