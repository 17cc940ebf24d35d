"""Fail a run if too many of its photos failed, or if a shard has no complete artifact."""

from clipes.tasks.runs.ledger import Ledger, reason_of
from clipes.tasks.stages.registry import STAGES
from clipes_core.config.execution import describe_limit, permitted_failures
from clipes_core.errors import StageError, UpstreamError, UsageError


def check_failure_rate(ledger: Ledger, stage: str) -> None:
    """Fail if too many photos of a stage have failed for a permanent cause.

    Raises:
        StageError: more photos failed than `execution.max_failure_rate` and `execution.tolerated_failures` permit. The
            message states the number of failed photos, both settings, and why the first of the photos failed.
    """
    failed = ledger.permanent_failures(stage)
    of_evaluation = stage in STAGES and STAGES[stage].kind.of_evaluation
    photos = ledger.evaluated if of_evaluation else ledger.photos
    limits = ledger.max_failure_rate, ledger.tolerated_failures
    permitted = permitted_failures(photos, *limits)
    if failed > permitted:
        first = next(reject for reject in ledger.rejects(stage) if not reject.kind.transient)
        raise StageError(
            f"{stage}: {failed} of {photos} photos failed, {describe_limit(permitted, *limits)}; "
            f"first failure: {first.image_id}: {first.reason}\n"
            "Repair these photos and rerun with --retry-errors, or raise the limit."
        )


def check_shards(ledger: Ledger) -> None:
    """Fail if a shard has no complete artifact.

    Raises:
        UsageError: a shard failed with a UsageError, which is raised again here.
        StageError: shards failed for other reasons. The message has one line per stage and reason, with the numbers of
            the shards. The message leaves out shards that were skipped because an upstream shard failed.
    """
    failures = [each for each in ledger.failures() if not isinstance(each[2], UpstreamError)]
    for _, _, failure in failures:
        if isinstance(failure, UsageError):
            raise failure
    shards: dict[tuple[str, str], list[str]] = {}
    for stage, shard, failure in failures:
        shards.setdefault((stage, reason_of(failure)), []).append(str(shard))
    if shards:
        lines = (f"{stage} shard {', '.join(failed)}: {reason}" for (stage, reason), failed in shards.items())
        raise StageError("\n".join(lines))
