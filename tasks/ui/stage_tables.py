"""A table per stage in the Prefect UI, with the totals of the stage, some failed shards and the slowest shards."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from prefect.artifacts import TableArtifact

from clipes.tasks.runs.ledger import Ledger, ShardStatus, in_words
from clipes.tasks.runs.stage_summary import StageSummary, summaries
from clipes.tasks.stages.registry import all_names
from clipes.tasks.ui.publishing import ServerWatch, TaskRuns, artifact_key, create_artifact, in_flow_run

LISTED_FAILED, LISTED_SLOWEST = 10, 5


@dataclass(frozen=True)
class StageLine:
    """A line of a stage's table: one shard, or the totals of all shards.

    Attributes:
        shard: number of the shard; `all` in the line of totals.
        state: state of the shard; in the line of totals, the number of shards in each state.
        shards: number of shards in this line.
        images: number of rows in the artifacts of these shards.
        errors: number of photos without a result.
        seconds: time that the worker spent on the shard [s]; in the line of totals, the wall time of the stage.
        images_per_s: rows computed per second; None if no row was computed.
        cached: number of cached shards in this line.
        copied: number of rows copied from earlier artifacts.
        worker: worker that made the shard, as device:pid or node/device:pid; empty if no worker made it. In the line
            of totals, the number of workers that made shards, on each machine if there are several.
        reason: reason why the shard failed; empty if the shard did not fail.
    """

    shard: str
    state: str
    shards: int
    images: int
    errors: int
    seconds: float
    images_per_s: float | None
    cached: int
    copied: int
    worker: str
    reason: str


@dataclass(frozen=True)
class StageTable:
    """The table of one stage.

    Attributes:
        stage: name of the stage.
        lines: the totals of all shards, then the first failed shards, then the slowest shards.
        text: text above the table.
    """

    stage: str
    lines: tuple[StageLine, ...]
    text: str


@contextmanager
def show_stage_tables_in_ui(run: str, ledger: Ledger, task_runs: TaskRuns) -> Iterator[None]:
    """After the block, show a table per stage in the Prefect UI, even if the block fails.

    Outside of a Prefect flow run, show nothing.

    Args:
        run: name of the run.
        ledger: states of the run's shards.
        task_runs: name of a stage -> its first task run, to which the table of the stage belongs. The tables of stages
            without task runs are not shown; the manifest is the only one.
    """
    try:
        yield
    finally:
        if in_flow_run():
            with ServerWatch("tables of the stages").tolerate_failures():
                for table in stage_tables(ledger):
                    if task_run := task_runs.get(table.stage):
                        lines, key = [asdict(line) for line in table.lines], artifact_key(run, table.stage)
                        create_artifact(
                            TableArtifact(table=lines, key=key, description=table.text, task_run_id=task_run)
                        )


def stage_tables(ledger: Ledger) -> list[StageTable]:
    """Return a table for each stage of the run. A table is short even if the stage has many shards."""
    shards: dict[str, list[ShardStatus]] = {}
    for status in ledger.statuses():
        shards.setdefault(status.stage, []).append(status)
    counts = summaries(ledger, all_names()).items()
    return [StageTable(stage, _lines(ledger, shards[stage], summary), _text(summary)) for stage, summary in counts]


def _lines(ledger: Ledger, shards: Sequence[ShardStatus], summary: StageSummary) -> tuple[StageLine, ...]:
    failed = [status for status in shards if status.state == "failed"][:LISTED_FAILED]
    made = [status for status in shards if status.state == "completed"]
    slowest = sorted(made, key=lambda status: -status.seconds)[:LISTED_SLOWEST]
    return (_sum_line(shards, summary), *(_shard_line(ledger, status) for status in (*failed, *slowest)))


def _sum_line(shards: Sequence[ShardStatus], summary: StageSummary) -> StageLine:
    states = Counter(status.state for status in shards)
    return StageLine(
        shard="all",
        state=", ".join(f"{count} {in_words(state)}" for state, count in states.items()),
        shards=summary.shards,
        images=summary.images,
        errors=sum(status.errors for status in shards),
        seconds=round(summary.wall_seconds, 2),
        images_per_s=_speed(summary.computed_rows, summary.wall_seconds),
        cached=summary.cached_shards,
        copied=summary.copied_rows,
        worker=_count_workers({status.worker for status in shards if status.worker}),
        reason="",
    )


def _shard_line(ledger: Ledger, status: ShardStatus) -> StageLine:
    place = status.stage, status.shard
    record = ledger.record(*place) if status.artifact else None
    return StageLine(
        shard=f"{status.shard:03d}",
        state=in_words(status.state),
        shards=1,
        images=status.images,
        errors=status.errors,
        seconds=round(status.seconds, 2),
        images_per_s=None if record is None else _speed(record.computed, record.seconds),
        cached=int(status.state == "cached"),
        copied=0 if record is None else record.copied,
        worker=status.worker or "",
        reason=status.reason or "",
    )


def _count_workers(names: Collection[str]) -> str:
    """Return the number of workers as text; if their names state their machines, for each machine."""
    nodes = Counter(name.rpartition("/")[0] for name in sorted(names))
    return ", ".join(f"{count} on {node}" if node else str(count) for node, count in nodes.items())


def _speed(rows: int, seconds: float) -> float | None:
    return round(rows / seconds, 2) if rows and seconds else None


def _text(summary: StageSummary) -> str:
    return (
        f"{summary.computed_rows} rows computed, {summary.copied_rows} copied, {summary.cached_shards} of "
        f"{summary.shards} shards cached; workers were busy for {summary.busy_seconds:.0f} s. Below the "
        f"row of totals: the first {LISTED_FAILED} failed shards and the {LISTED_SLOWEST} slowest completed shards. "
        "`status.parquet` lists all shards."
    )
