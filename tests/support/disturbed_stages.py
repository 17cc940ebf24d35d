"""Stages whose worker is killed, hangs or runs out of memory in the middle of a shard. Workers import this module."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from support.plain_runs import LengthRow, Lengths, photo, plain_run, run_inputs

from clipes.tasks.plan import shard_parts
from clipes.tasks.plan.caching import REUSE_ALL, Reuse
from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes_core.config.run import RunConfig

End = Literal["killed", "hangs", "out of memory"]


class Undisturbed(Lengths):
    """Counts the letters of each photo's id, and appends the id to the file `<store>-computed`.

    It has the name of a real stage, because a run takes the keys of its stages from the registry.

    Args:
        marks: path that replaces the URI of the store in the names of the files, for a store that is not local.
    """

    name = "masks"

    def __init__(self, marks: str | None = None) -> None:
        super().__init__()
        self.marks = marks

    def mark(self, job: ShardJob, name: str) -> Path:
        """Return the path of a file beside the store."""
        return Path(f"{self.marks or job.store.uri}-{name}")

    def rows(self, job: ShardJob) -> Iterator[LengthRow]:
        """Yield a row per photo."""
        for row in super().rows(job):
            with self.mark(job, "computed").open("a") as file:
                file.write(f"{row.image_id}\n")
            yield row


class Disturbed(Undisturbed):
    """Ends each attempt after a few rows. The rows are kept if the last one ends a part because of its size.

    Args:
        end: what happens to the worker. Before it hangs, it creates the file `<store>-hangs-<pid>`.
        rows: number of rows that each attempt computes.
        attempts_with_part: number of attempts that keep their rows; the following ones compute a row and end.
        marks: see `Undisturbed`.
    """

    def __init__(self, end: End, rows: int = 2, attempts_with_part: int = 1000, marks: str | None = None) -> None:
        super().__init__(marks)
        self.end, self.count, self.attempts_with_part = end, rows, attempts_with_part

    def rows(self, job: ShardJob) -> Iterator[LengthRow]:
        """Yield some rows, and end the attempt."""
        attempts = self.mark(job, "attempts")
        with attempts.open("a") as file:
            file.write(".")
        keeps = attempts.stat().st_size <= self.attempts_with_part
        for number, row in enumerate(super().rows(job), start=1):
            with pytest.MonkeyPatch.context() as patch:
                if keeps and number == self.count:
                    patch.setattr(shard_parts, "PART_BYTES", 0)
                yield row
            if number == (self.count if keeps else 1):
                self._end(job)

    def _end(self, job: ShardJob) -> None:
        if self.end == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.end == "out of memory":
            raise MemoryError
        self.mark(job, f"hangs-{os.getpid()}").touch()
        time.sleep(300)


class Slow(Undisturbed):
    """Needs the same time for each row.

    Args:
        seconds: time per row [s].
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def rows(self, job: ShardJob) -> Iterator[LengthRow]:
        """Yield a row per photo, slowly."""
        for row in Lengths.rows(self, job):
            time.sleep(self.seconds)
            yield row


def disturbed_run(
    store: str, image_ids: list[str], timeout_s: float, reuse: Reuse = REUSE_ALL, config: RunConfig | None = None
) -> PreparedRun:
    """Return a run of the stages of this module, with one shard.

    Args:
        store: URI of the store.
        image_ids: ids of the photos.
        timeout_s: time limit of a shard [s].
        reuse: which rows of the store are reused.
        config: config with the runner and what its workers need; None for the default values.
    """
    settings = {} if config is None else config.model_dump(mode="json")
    settings["execution"] = {**settings.get("execution", {}), "shard_timeout_s": timeout_s}
    inputs = run_inputs(tuple(photo(image_id) for image_id in image_ids), settings=settings)
    run = plain_run(store, inputs, ("masks",))
    return PreparedRun(run.inputs, run.store, run.stages, run.rejects, run.until, reuse)


def computed(store: str) -> list[str]:
    """Return the ids of the computed photos, in the order in which they were computed.

    Args:
        store: path of the store, or `marks` of the stage.
    """
    file = Path(f"{store}-computed")
    return file.read_text().splitlines() if file.exists() else []
