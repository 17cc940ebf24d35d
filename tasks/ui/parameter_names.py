"""The names that the Prefect UI shows for the options of `clipes run`."""

import re

from prefect.context import FlowRunContext

PARAMETERS = {  # option of `clipes run` -> the parameter of the flow
    "--fresh": "the parameter fresh",
    "--verify": "the parameter verify",
    "--retry-errors": "the parameter retry_errors",
    "--until": "the parameter until",
}


def in_own_words(text: str) -> str:
    """Return a text in the words of the user who started the current flow run.

    If a deployment started it, the text names parameters of the flow (`retry_errors`) instead of options of the command
    line (`--retry-errors`). Otherwise the text stays as it is.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        return text
    return with_parameters(text)


def with_parameters(text: str) -> str:
    """Replace the options of `clipes run` in a text by the parameters of the flow."""
    for option, parameter in PARAMETERS.items():
        text = re.sub(rf"(?<![\w-]){option}(?![\w-])", parameter, text)
    return text
