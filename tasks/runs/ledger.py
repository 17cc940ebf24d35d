"""What became of each shard of a run: counted as it happens, from many threads."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

import pyarrow as pa

from clipes.tasks.inputs.photos import Reject
from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.stages.cams import CAMS
from clipes.tasks.stages.embeddings import EMBEDDINGS
from clipes.tasks.stages.prompt_scores import PROMPT_SCORES
from clipes.tasks.stages.registry import all_names
from clipes_core.errors import ClipesError, StageError, UpstreamError

STATUS_SCHEMA = pa.schema(
    [
        ("stage", pa.string()),
        ("shard", pa.int32()),
        ("state", pa.string()),
        ("images", pa.int64()),
        ("errors", pa.int64()),
        ("seconds", pa.float64()),
        ("attempt", pa.int32()),
        ("artifact", pa.string()),
    ]
)
ShardState = Literal["pending", "running", "cached", "completed", "failed"]
SHARD_STATES = get_args(ShardState)  # in the order they are shown


@dataclass(frozen=True)
class ShardStatus:
    """A row of status.parquet."""

    stage: str
    shard: int
    state: ShardState
    images: int = 0
    errors: int = 0
    seconds: float = 0.0
    attempt: int = 1
    artifact: str = ""


class Ledger:
    """The state of every shard a run has touched.

    What is asked for each shard, or while the run goes on, is counted as it comes: a run has 100 000 shards.

    Args:
        photos: of the data set, what failure rates are measured against.
        max_failure_rate: permanent failures / photos that a stage may have.
        evaluated: photos that the segmenter is scored on, for the rates of its scores.
    """

    def __init__(self, photos: int, max_failure_rate: float, evaluated: int = 0) -> None:
        self.photos, self.evaluated, self.max_failure_rate = photos, evaluated, max_failure_rate
        self._lock = threading.Lock()
        self._status: dict[tuple[str, int], ShardStatus] = {}
        self._records: dict[tuple[str, int], ShardRecord] = {}
        self._failures: dict[tuple[str, int], Exception] = {}
        self._counts: dict[str, Callable[[], int]] = {}
        self._spans: dict[str, tuple[float, float]] = {}
        self._busy: dict[str, float] = {}
        self._permanent, self._reused = Counter[str](), Counter[str]()

    def planned(self, stage: str, shard: int) -> None:
        """A shard is part of the run."""
        with self._lock:
            self._status[stage, shard] = ShardStatus(stage, shard, "pending", attempt=0)

    def started(self, stage: str, shard: int, attempt: int) -> None:
        """A shard is being worked on."""
        with self._lock:
            self._status[stage, shard] = ShardStatus(stage, shard, "running", attempt=attempt)
            self._stretch(stage)

    def counted(self, stage: str, rows: Callable[[], int]) -> None:
        """What tells how many rows the running shard of a stage has, where there is one shard that takes hours."""
        with self._lock:
            self._counts[stage] = rows

    def finished(self, record: ShardRecord, attempt: int) -> None:
        """A shard has an artifact."""
        state: Literal["cached", "completed", "failed"] = "cached" if record.cached else "completed"
        place = (record.stage, record.shard)
        with self._lock:
            self._count(self._records.get(place), -1)
            self._count(record, 1)
            self._records[place] = record
            self._status[place] = ShardStatus(
                *place,
                state,
                record.images,
                len(record.rejects),
                record.seconds,
                attempt,
                record.uri,
            )
            self._busy[record.stage] = self._busy.get(record.stage, 0.0) + record.seconds
            self._failures.pop(place, None)
            self._stretch(record.stage)

    def failed(self, stage: str, shard: int, attempt: int, failure: Exception) -> None:
        """A shard has no artifact, or no whole one, and why; it is still to be done where what it reads has failed."""
        state: Literal["pending", "failed"] = "pending" if isinstance(failure, UpstreamError) else "failed"
        with self._lock:
            before = self._status[stage, shard]
            self._status[stage, shard] = replace(before, state=state, attempt=attempt)
            self._failures[stage, shard] = failure
            self._stretch(stage)

    def not_begun(self, stage: str, shard: int, failure: Exception) -> None:
        """A shard's task run came to nothing, and why; one that has a whole artifact is done all the same."""
        if not self.has_whole(stage, shard):
            self.failed(stage, shard, 0, failure)

    def rejects(self, stage: str | None = None) -> list[Reject]:
        """Photos that failed in a stage, or in all; one that could not be embedded and then had no CAM is told once."""
        rejects = [reject for record in self.records(stage) for reject in record.rejects]
        later = {reject.image_id for reject in rejects if reject.stage in (CAMS.name, PROMPT_SCORES.name)}
        return [reject for reject in rejects if reject.stage != EMBEDDINGS.name or reject.image_id not in later]

    def records(self, stage: str | None = None) -> list[ShardRecord]:
        """The shards of a stage (or of all) that have an artifact, by shard."""
        with self._lock:
            places = [place for place in sorted(self._records, key=_in_order) if stage in (None, place[0])]
            return [self._records[place] for place in places]

    def record(self, stage: str, shard: int) -> ShardRecord:
        """What became of a shard that has an artifact."""
        with self._lock:
            return self._records[stage, shard]

    def failures(self) -> list[tuple[str, int, Exception]]:
        """Return why each shard has no complete artifact, stages as they run; one without an end counts as failed."""
        with self._lock:
            undone = {place for place, status in self._status.items() if status.state in ("pending", "running")}
            never = {place: StageError("its task run came to no end") for place in undone - self._failures.keys()}
            failed = {**self._failures, **never}
        return [(*place, failed[place]) for place in sorted(failed, key=_in_order)]

    def permanent_failures(self, stage: str) -> int:
        """Return how many photos of a stage failed for a permanent cause."""
        with self._lock:
            return self._permanent[stage]

    def seconds(self, stage: str) -> tuple[float, float]:
        """Return a stage's wall time from its first start to its last end, and the summed time of its workers [s]."""
        with self._lock:
            first, last = self._spans.get(stage, (0.0, 0.0))
            return last - first, self._busy.get(stage, 0.0)

    def failure(self, stage: str, shard: int) -> Exception | None:
        """Why a shard has no whole artifact, of its last attempt."""
        with self._lock:
            return self._failures.get((stage, shard))

    def has_whole(self, stage: str, shard: int) -> bool:
        """Whether a shard has a whole artifact."""
        with self._lock:
            return (stage, shard) in self._records and (stage, shard) not in self._failures

    def reused_rows(self, stage: str) -> int:
        """Rows of a stage that were there already: of cached shards, or copied."""
        with self._lock:
            return self._reused[stage]

    def statuses(self) -> list[ShardStatus]:
        """The state of every shard, stages as they run."""
        with self._lock:
            return [self._as_it_stands(self._status[place]) for place in sorted(self._status, key=_in_order)]

    def table(self) -> pa.Table:
        """The content of status.parquet."""
        return pa.Table.from_pylist([asdict(status) for status in self.statuses()], schema=STATUS_SCHEMA)

    def _as_it_stands(self, status: ShardStatus) -> ShardStatus:
        if status.state == "running" and status.stage in self._counts:
            return replace(status, images=self._counts[status.stage]())
        return status

    def _count(self, record: ShardRecord | None, sign: int) -> None:
        if record is not None:
            self._permanent[record.stage] += sign * sum(not reject.kind.transient for reject in record.rejects)
            self._reused[record.stage] += sign * (record.images if record.cached else record.copied)

    def _stretch(self, stage: str) -> None:
        now = time.monotonic()
        first, _ = self._spans.get(stage, (now, now))
        self._spans[stage] = (first, now)


def _in_order(place: tuple[str, int]) -> tuple[int, int]:
    """Stages as they run, shards by number."""
    return all_names().index(place[0]), place[1]


def reason_of(failure: Exception) -> str:
    """What a failure says; one that was not raised on purpose is named."""
    return str(failure) if isinstance(failure, ClipesError) else f"{type(failure).__name__}: {failure}"
