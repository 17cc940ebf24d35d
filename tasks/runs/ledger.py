"""The ledger of a run, in which many threads record the state of each shard."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from clipes.tasks.inputs.photos import Reject
from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.stages.cams import CAMS
from clipes.tasks.stages.embeddings import EMBEDDINGS
from clipes.tasks.stages.prompt_scores import PROMPT_SCORES
from clipes.tasks.stages.registry import all_names
from clipes_core.errors import ClipesError, NotRunError, StageError

ShardState = Literal["pending", "running", "cached", "completed", "failed", "not_run"]
SHARD_STATES = get_args(ShardState)  # in the order in which tables show them


UNFINISHED: tuple[ShardState, ...] = ("pending", "running")


@dataclass(frozen=True)
class ShardStatus:
    """A row of status.parquet.

    Attributes:
        worker: name of the worker that made the artifact; None without an artifact, or if it is cached.
        reason: why the shard has failed or was not run; None in all other states.
    """

    stage: str
    shard: int
    state: ShardState
    images: int = 0
    errors: int = 0
    seconds: float = 0.0
    attempt: int = 1
    artifact: str = ""
    worker: str | None = None
    reason: str | None = None


class Ledger:
    """The state of every shard of a run. To keep queries fast, the ledger updates its counts whenever a shard changes.

    Args:
        photos: number of photos, including the photos that the listing rejected. The failure rate of a stage is the
            number of photos that failed for a permanent cause, divided by `photos`.
        max_failure_rate: largest permitted failure rate of a stage, in [0, 1].
        evaluated: number of photos that the segmenter is scored on. For the stage that scores the segmenter, the
            number of failed photos is divided by `evaluated` instead of `photos`.
        tolerated_failures: number of photos that may fail in a stage at any rate; see `permitted_failures`.
    """

    def __init__(self, photos: int, max_failure_rate: float, evaluated: int = 0, tolerated_failures: int = 0) -> None:
        self.photos, self.evaluated = photos, evaluated
        self.max_failure_rate, self.tolerated_failures = max_failure_rate, tolerated_failures
        self._lock = threading.Lock()
        self._status: dict[tuple[str, int], ShardStatus] = {}
        self._records: dict[tuple[str, int], ShardRecord] = {}
        self._failures: dict[tuple[str, int], Exception] = {}
        self._counts: dict[str, Callable[[], int]] = {}
        self._times = _StageTimes()
        self._rows = _RowCounts()

    def planned(self, stage: str, shard: int) -> None:
        """Record that a shard is part of the run."""
        with self._lock:
            self._status[stage, shard] = ShardStatus(stage, shard, "pending", attempt=0)

    def started(self, stage: str, shard: int, attempt: int) -> None:
        """Record that a task run has begun to work on a shard."""
        with self._lock:
            self._status[stage, shard] = ShardStatus(stage, shard, "running", attempt=attempt)
            self._times.extend(stage)

    def set_row_counter(self, stage: str, rows: Callable[[], int]) -> None:
        """Set a function that returns how many rows of a running shard are finished; for stages with a single shard."""
        with self._lock:
            self._counts[stage] = rows

    def finished(self, record: ShardRecord, attempt: int) -> None:
        """Record that a shard has an artifact, and forget an earlier failure of this shard."""
        state: Literal["cached", "completed", "failed"] = "cached" if record.cached else "completed"
        place = (record.stage, record.shard)
        with self._lock:
            self._rows.replace(self._records.get(place), record)
            self._records[place] = record
            self._status[place] = ShardStatus(
                *place,
                state=state,
                images=record.images,
                errors=len(record.rejects),
                seconds=record.seconds,
                attempt=attempt,
                artifact=record.uri,
                worker=record.worker or None,
            )
            self._times.add_work(record.stage, record.seconds)
            self._failures.pop(place, None)
            self._times.extend(record.stage)

    def failed(self, stage: str, shard: int, attempt: int, failure: Exception) -> None:
        """Record why a shard has no complete artifact. Its state becomes not_run for a NotRunError, else failed."""
        state: Literal["not_run", "failed"] = "not_run" if isinstance(failure, NotRunError) else "failed"
        with self._lock:
            before = self._status[stage, shard]
            self._status[stage, shard] = replace(before, state=state, attempt=attempt, reason=reason_of(failure))
            self._failures[stage, shard] = failure
            self._times.extend(stage)

    def end(self, reason: str) -> None:
        """Record that the run has ended, so that unfinished shards are not made; `reason` says why the run ended."""
        with self._lock:
            for place in [place for place, status in self._status.items() if status.state in UNFINISHED]:
                self._status[place] = replace(self._status[place], state="not_run", reason=reason)

    def could_not_start(self, stage: str, shard: int, failure: Exception) -> None:
        """Record that a shard's task run could not start; do nothing if the shard has a complete artifact."""
        if not self.has_complete_artifact(stage, shard):
            self.failed(stage, shard, 0, failure)

    def rejects(self, stage: str | None = None) -> list[Reject]:
        """Return the photos that failed in a stage, or in any stage if `stage` is None.

        If `stage` is None, and a photo failed in `cams` or `prompt_scores`, the list leaves out a failure of the same
        photo in `embeddings`.
        """
        rejects = [reject for record in self.records(stage) for reject in record.rejects]
        later = {reject.image_id for reject in rejects if reject.stage in (CAMS.name, PROMPT_SCORES.name)}
        return [reject for reject in rejects if reject.stage != EMBEDDINGS.name or reject.image_id not in later]

    def records(self, stage: str | None = None) -> list[ShardRecord]:
        """Return the record of each shard that has an artifact, in order. None as `stage` selects all stages."""
        with self._lock:
            places = [place for place in sorted(self._records, key=_in_order) if stage in (None, place[0])]
            return [self._records[place] for place in places]

    def record(self, stage: str, shard: int) -> ShardRecord:
        """Return the record of a shard that has an artifact."""
        with self._lock:
            return self._records[stage, shard]

    def failures(self) -> list[tuple[str, int, Exception]]:
        """Return stage, shard and error of each shard without a complete artifact, in the order of the stages.

        For a shard that is still pending or running without an error, the error says that the task run did not finish.
        """
        with self._lock:
            undone = {place for place, status in self._status.items() if status.state in UNFINISHED}
            never = {place: StageError("the task run did not finish") for place in undone - self._failures.keys()}
            failed = {**self._failures, **never}
        return [(*place, failed[place]) for place in sorted(failed, key=_in_order)]

    def permanent_failures(self, stage: str) -> int:
        """Return how many photos of a stage failed for a permanent cause."""
        with self._lock:
            return self._rows.permanent[stage]

    def seconds(self, stage: str) -> tuple[float, float]:
        """Return the wall time of a stage and the total time of its workers [s], as `_StageTimes` defines them."""
        with self._lock:
            return self._times.seconds(stage)

    def failure(self, stage: str, shard: int) -> Exception | None:
        """Return the error of the last attempt at a shard; None if this attempt has not failed."""
        with self._lock:
            return self._failures.get((stage, shard))

    def has_complete_artifact(self, stage: str, shard: int) -> bool:
        """Return whether a shard has a complete artifact."""
        with self._lock:
            return (stage, shard) in self._records and (stage, shard) not in self._failures

    def finished_rows(self, stage: str) -> tuple[int, int]:
        """Return how many rows of finished shards were computed, and how many were reused (cached or copied).

        Rows that failed for a transient cause do not count, because the next attempt computes them again.
        """
        with self._lock:
            return self._rows.computed[stage], self._rows.reused[stage]

    def statuses(self) -> list[ShardStatus]:
        """Return the state of every shard, in the order of the stages."""
        with self._lock:
            return [self._as_it_stands(self._status[place]) for place in sorted(self._status, key=_in_order)]

    def _as_it_stands(self, status: ShardStatus) -> ShardStatus:
        if status.state == "running" and status.stage in self._counts:
            return replace(status, images=self._counts[status.stage]())
        return status


class _RowCounts:
    """Counts the rows of each stage: permanent failures, computed rows and reused rows. Not thread-safe."""

    def __init__(self) -> None:
        self.permanent, self.computed, self.reused = Counter[str](), Counter[str](), Counter[str]()

    def replace(self, before: ShardRecord | None, now: ShardRecord) -> None:
        """Count the rows of a shard's record instead of those of its earlier record, if there is one."""
        for record, sign in ((before, -1), (now, 1)):
            if record is not None:
                permanent = sum(not reject.kind.transient for reject in record.rejects)
                self.permanent[record.stage] += sign * permanent
                self.computed[record.stage] += sign * (record.computed + permanent - len(record.rejects))
                self.reused[record.stage] += sign * (record.images if record.cached else record.copied)


class _StageTimes:
    """Measures the wall time of each stage and the total time of its workers. Not thread-safe.

    The wall time of a stage is the time from its first event to its last one. An event is the start, the success or the
    failure of an attempt at a shard.
    """

    def __init__(self) -> None:
        self._spans: dict[str, tuple[float, float]] = {}
        self._work: dict[str, float] = {}

    def extend(self, stage: str) -> None:
        """Extend the wall time of a stage to the current time."""
        now = time.monotonic()
        first, _ = self._spans.get(stage, (now, now))
        self._spans[stage] = (first, now)

    def add_work(self, stage: str, seconds: float) -> None:
        """Add the time that a worker spent on one shard [s]."""
        self._work[stage] = self._work.get(stage, 0.0) + seconds

    def seconds(self, stage: str) -> tuple[float, float]:
        """Return the wall time of a stage and the total time of its workers [s]."""
        first, last = self._spans.get(stage, (0.0, 0.0))
        return last - first, self._work.get(stage, 0.0)


def _in_order(place: tuple[str, int]) -> tuple[int, int]:
    """Return a sort key that orders shards by stage, as in the pipeline, and then by number."""
    return all_names().index(place[0]), place[1]


def in_words(state: str) -> str:
    """Return the state of a shard as it is shown to users, such as "not run" for not_run."""
    return state.replace("_", " ")


def reason_of(failure: Exception) -> str:
    """Return the message of an error. If the error is not a ClipesError, the name of its type comes first."""
    return str(failure) if isinstance(failure, ClipesError) else f"{type(failure).__name__}: {failure}"
