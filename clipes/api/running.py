"""Run the whole pipeline in the calling process, and open its results."""

from typing import Any

from clipes.api.opened_run import Run, open_run
from clipes.api.settings import ConfigSource, run_config
from clipes.flows.prefect_settings import use_settings
from clipes.tasks.execution.runner import check_runner
from clipes.tasks.runs.inputs.checks import check_request, check_store
from clipes.tasks.stages.registry import run_names
from clipes_core.errors import StageError


def run(
    config: ConfigSource,
    *,
    until: str | None = None,
    fresh: bool = False,
    verify: bool = False,
    retry_errors: bool = False,
    **settings: Any,
) -> Run:
    """Start or resume a run, as the command `clipes run` does, and return its results.

    The run uses worker processes, and the Prefect server of the command line. While it runs, its progress is written to
    standard error, and Prefect itself writes only critical messages there. DO_NOT_TRACK and the other environment
    variables that the run sets have their old values afterwards.

    Args:
        config: path or URI of a YAML file, a dict like its content, or a RunConfig.
        until: last stage to run, such as masks; by default, all stages run.
        fresh: if true, reuse nothing from the store.
        verify: if true, read every artifact completely before it counts as cached.
        retry_errors: if true, also retry photos that failed for a permanent cause.
        settings: values that replace those of `config`, such as `name="first"`, `store="s3://bucket/store"` or
            `train={"enabled": False}`.

    Returns:
        The run with its results.

    Raises:
        UsageError: the config, the data set or the weights must be corrected before the run can start.
        StageError: some shards failed, or too many photos failed. To resume, call the function again.
        StorageError: the store refuses access.
        TransientError: a server does not answer.
    """
    stated = run_config(config, settings)
    last = until or run_names()[-1]
    check_runner(stated)
    check_request(stated, last)
    check_store(stated, writes=True)
    with use_settings():
        from clipes.flows.server import provide_server

        with provide_server() as server:  # The server starts while torch is imported.
            from clipes.flows.pipeline import pipeline

            try:
                made = server.record(
                    lambda resumes: pipeline(stated, last, fresh and not resumes, verify, retry_errors)
                )
            except StageError as exc:
                hint = "Finished work is kept. To resume, call clipes.run again, without fresh"
                raise type(exc)(f"{exc}\n{hint}") from exc
    return open_run(made.name, stated.store)
