"""A joint stage of two processes that does nothing but wait and fail as its job says."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clipes.tasks.plan.row_kinds import TRAINING_ROWS
from clipes.tasks.plan.row_schema import column
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage import JointStage


@dataclass(frozen=True)
class Act:
    """What a process does.

    Attributes:
        seconds: time before it ends.
        error: error that it then raises; None if it succeeds.
    """

    seconds: float
    error: Exception | None = None

    def perform(self) -> str:
        """Wait, and raise the error or return "done"."""
        time.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return "done"


@dataclass(frozen=True)
class JointJob:
    """A job for two processes: the acts of the first and of the assisting process."""

    first: Act
    assistant: Act
    stage: JointStage
    processes: int = 1
    rendezvous_url: str = ""

    def for_processes(self, processes: int, rendezvous_url: str) -> "JointJob":
        """Return the job with the number of its processes and the address at which they meet."""
        return replace(self, processes=processes, rendezvous_url=rendezvous_url)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row that nobody makes."""

    step: int = column("int64")


class ToyJoint(JointStage):
    """Performs the acts of its job in two processes."""

    name, version = "toy_joint", 1
    row, kind, workers = Row, TRAINING_ROWS, "gpu"

    def reads(self, inputs: RunInputs) -> dict[str, Any]:
        """Return no settings."""
        return {}

    def rows(self, job: Any) -> Iterator[Row]:
        """Yield no rows."""
        return iter(())

    def processes(self, job: Any, devices: Sequence[str]) -> int:
        """Return 2."""
        return 2

    def assist(self, job: Any, rank: int) -> None:
        """Perform the act of the assisting process."""
        job.assistant.perform()


TOY_JOINT = ToyJoint()


def perform_first(job: JointJob) -> str:
    """Perform the act of the first process."""
    return job.first.perform()
