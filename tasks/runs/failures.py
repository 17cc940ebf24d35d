"""Fail a run if too many of its photos failed, or if a shard has no complete artifact."""

from collections.abc import Iterable

from clipes.tasks.runs.ledger import Ledger, reason_of
from clipes.tasks.stages.registry import STAGES
from clipes_core.config.execution import describe_limit, permitted_failures
from clipes_core.errors import FailureLimitError, NotRunError, StageError, UpstreamError, UsageError


def check_failure_rate(ledger: Ledger, stage: str) -> None:
    """Fail if too many photos of a stage have failed for a permanent cause.

    Raises:
        FailureLimitError: more photos failed than `execution.max_failure_rate` and `execution.tolerated_failures`
            permit. The message states the number of failed photos, both settings, and why the first of them failed.
    """
    if (excess := _describe_excess(ledger, stage)) is not None:
        raise FailureLimitError(excess)


def _describe_excess(ledger: Ledger, stage: str) -> str | None:
    failed = ledger.permanent_failures(stage)
    of_evaluation = stage in STAGES and STAGES[stage].kind.of_evaluation
    photos = ledger.evaluated if of_evaluation else ledger.photos
    limits = ledger.max_failure_rate, ledger.tolerated_failures
    permitted = permitted_failures(photos, *limits)
    if failed <= permitted:
        return None
    first = next(reject for reject in ledger.rejects(stage) if not reject.kind.transient)
    return (
        f"{stage}: {failed} of {photos} photos failed, {describe_limit(permitted, *limits)}; "
        f"first failure: {first.image_id}: {first.reason}\n"
        "Repair these photos and rerun with --retry-errors, or raise the limit."
    )


def check_upstream(ledger: Ledger, read: Iterable[tuple[str, int]], stages: Iterable[str]) -> None:
    """Check that a shard may be made.

    Args:
        ledger: states of the run's shards.
        read: stage and number of each shard that it reads.
        stages: stages in which not too many photos may have failed.

    Raises:
        UpstreamError: a shard that it reads has no complete artifact, or too many photos have failed. The shard with
            the last of these photos reports them itself.
    """
    for stage, shard in read:
        if not ledger.has_complete_artifact(stage, shard):
            ended = "was not run" if isinstance(ledger.failure(stage, shard), NotRunError) else "has failed"
            raise UpstreamError(f"not run: it reads {stage} shard {shard}, which {ended}")
    for stage in stages:
        try:
            check_failure_rate(ledger, stage)
        except FailureLimitError as exc:
            raise UpstreamError(f"not run: too many photos failed in the stage {stage}") from exc


def check_shards(ledger: Ledger) -> None:
    """Fail if a shard has no complete artifact.

    Raises:
        UsageError: a shard failed with a UsageError, which is raised again here.
        StageError: shards failed for other reasons. The message has one line per stage and reason, with the numbers of
            the shards. The message leaves out shards that were not run because another shard failed. A stage in which
            too many photos failed has one line, even if several shards report it.
    """
    found = ledger.failures()
    failures = [each for each in found if not isinstance(each[2], NotRunError)] or found
    for _, _, failure in failures:
        if isinstance(failure, UsageError):
            raise failure
    shards: dict[tuple[str, str], list[str]] = {}
    limits: dict[str, str | None] = {}
    for stage, shard, failure in failures:
        if isinstance(failure, FailureLimitError):  # with the number of all photos that have failed meanwhile
            limits[stage] = _describe_excess(ledger, stage)
        else:
            shards.setdefault((stage, reason_of(failure)), []).append(str(shard))
    if failures:
        lines = (f"{stage} shard {', '.join(failed)}: {reason}" for (stage, reason), failed in shards.items())
        raise StageError("\n".join((*lines, *filter(None, limits.values()))))
