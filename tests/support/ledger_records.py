"""Records of shards and rejects of photos, for tests that fill a ledger."""

from collections.abc import Iterable
from typing import Any

from clipes.tasks.inputs.photos import Reject
from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.runs.ledger import Ledger
from clipes_core.errors import ErrorKind


def reject(image_id: str, kind: ErrorKind = ErrorKind.MISSING, stage: str = "cams") -> Reject:
    """Return a reject whose reason names the photo and the kind."""
    return Reject(image_id, f"/photos/{image_id}.jpg", stage, kind, f"{image_id} is {kind}")


def record(
    shard: int = 0, stage: str = "cams", images: int = 10, rejects: Iterable[Reject] = (), **values: Any
) -> ShardRecord:
    """Return the record of a shard that took two seconds, and whose artifact has cost nothing that is known."""
    uri = f"/store/{stage}-{shard}.parquet"
    settings = {"cached": False, "computed": images, "seconds": 2.0, **values}
    return ShardRecord(stage, shard, uri, images, rejects=tuple(rejects), **settings)


def finished(ledger: Ledger, made: ShardRecord, attempt: int = 1) -> None:
    """Record in the ledger that a shard started and finished."""
    ledger.started(made.stage, made.shard, attempt)
    ledger.finished(made, attempt)
