"""When a run fails: too many photos of a stage, or shards without a complete artifact."""

from clipes.tasks.runs.ledger import Ledger, reason_of
from clipes.tasks.stages.registry import STAGES
from clipes_core.errors import StageError, UpstreamError, UsageError


def check_failure_rate(ledger: Ledger, stage: str) -> None:
    """Stop a stage in which too many photos failed for a permanent cause.

    Raises:
        StageError: says how many, how many are allowed, and the first reason.
    """
    failed = ledger.permanent_failures(stage)
    of_evaluation = stage in STAGES and STAGES[stage].kind.of_evaluation
    photos = ledger.evaluated if of_evaluation else ledger.photos
    if failed > ledger.max_failure_rate * photos:
        first = next(reject for reject in ledger.rejects(stage) if not reject.kind.transient)
        raise StageError(
            f"{stage}: {failed} of {photos} photos failed, more than execution.max_failure_rate "
            f"{ledger.max_failure_rate:g} allows; the first: {first.image_id}: {first.reason}\n"
            "Repair them and add --retry-errors, or raise the rate."
        )


def check_shards(ledger: Ledger) -> None:
    """Fail a run that has shards without a complete artifact; shards skipped for a failed upstream are not listed.

    Raises:
        UsageError: that is why a shard failed.
        StageError: one line per reason, with the shards that failed for it.
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
