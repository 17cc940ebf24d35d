"""Trainings of a tiny network on the masks of a few photos, with processes of their own, and their ends."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors.torch import load_file
from support.small_runs import TINY_NETWORK, TinyPhotos, shard_runners, work_on
from torch import Tensor

from clipes.tasks.execution.shard_runner import ShardRunner
from clipes.tasks.execution.worker_pool import worker_pool
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker import WorkerSlot
from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.plan.shard_plan import REUSE_ALL, Reuse
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.preparation import prepare_run
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.stages.segmenter import training_facts
from clipes.tasks.storage.artifact_store import checkpoints_uri, weights_uri

SCORED_AT = 21  # and at the end


@dataclass(frozen=True)
class Result:
    """What a training has written.

    Attributes:
        curve: rows of the artifact.
        weights: the tensors beside it.
        facts: what the artifact says of the training.
        checkpoints: names of the files.
    """

    curve: list[dict[str, Any]]
    weights: dict[str, Tensor]
    facts: dict[str, Any]
    checkpoints: set[str]


class SmallTraining:
    """Thirty steps on the masks of five photos of 64 x 48 px, scored at step 21 and at the end on one of them.

    Args:
        photos: an empty data set.
    """

    def __init__(self, photos: TinyPhotos) -> None:
        self.photos, self.truth = photos, photos.folder / "seen.png"
        Image.new("L", (64, 48), 8).save(self.truth)
        for name, labels in {"a": "cat", "b": "dog", "c": "cat;dog", "d": "", "e": "cat"}.items():
            photos.add(name, labels)
        (photos.folder / "seen.csv").write_text("image,labels,truth\na.png,cat,seen.png\n")

    def prepared(self, reuse: Reuse = REUSE_ALL, until: str = "segmenter", **sections: Any) -> PreparedRun:
        """The run, with some settings changed."""
        values = {
            "train": {"enabled": True, "mmseg_config": str(TINY_NETWORK), "init": "none", "checkpoint_every": 5},
            "evaluation": {"split": str(self.photos.folder / "seen.csv")},
            "execution": {"shards": 2, "max_failure_rate": 1},
        }
        values["train"]["validate_every"] = SCORED_AT
        given = {name: {**values.get(name, {}), **value} for name, value in sections.items()}
        return prepare_run(self.photos.config(**{**values, **given}), until, reuse)

    def go_on(self) -> None:
        """Give the truth to the process that waits for it, where there still is one."""
        with suppress(OSError):
            os.close(os.open(self.truth, os.O_WRONLY | os.O_NONBLOCK))

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """A training in this block stands still at its score at step 21, for it waits for the truth."""
        content = self.truth.read_bytes()
        self.truth.unlink()
        os.mkfifo(self.truth)
        try:
            yield
        finally:
            self.truth.unlink()
            self.truth.write_bytes(content)


@contextmanager
def training_work(run: PreparedRun, processes: int = 1) -> Iterator[ShardRunner]:
    """The work of stage segmenter with processes of its own; the stages before it are done."""
    with worker_pool([WorkerSlot("cpu", 1)] * processes, Counters(tuple(STAGES))) as pool:
        *before, work = shard_runners(run, Ledger(run.photos, run.evaluated), pool)
        for each in before:
            work_on(each, run)
        yield work


def result_of(run: PreparedRun, record: ShardRecord) -> Result:
    """Read what a training has written."""
    return Result(
        run.store.read(record.uri).to_pylist(),
        load_file(weights_uri(record.uri)),
        training_facts(run.store, record.uri),
        {path.name for path in Path(checkpoints_uri(record.uri)).iterdir()},
    )


def failed_attempt(work: ShardRunner, disturb: Callable[[], None]) -> BaseException | None:
    """Make the segmenter, disturb that when the checkpoint of step 20 is there, and give the error it ends with."""
    folder = Path(work.run.store.uri) / "artifacts" / "segmenter" / work.run.keys["segmenter"]
    assert not list(folder.glob("*.checkpoints/00000020.pt")), "left by an earlier training"
    with ThreadPoolExecutor(1) as thread:
        attempt = thread.submit(work.make, 0)
        while not list(folder.glob("*.checkpoints/00000020.pt")):
            assert not attempt.done(), attempt.exception()
            time.sleep(0.02)
        disturb()
        return attempt.exception()


def killer(signal_number: int = signal.SIGKILL) -> Callable[[], None]:
    """A call that sends a signal to one of the processes that this one has started since now."""
    before = {process.pid for process in multiprocessing.active_children()}

    def send() -> None:
        started = [process for process in multiprocessing.active_children() if process.pid not in before]
        os.kill(started[-1].pid, signal_number)

    return send


def same_weights(one: Result, other: Result, atol: float = 0.0) -> bool:
    """Whether two networks have the same tensors, to a tolerance."""
    return one.weights.keys() == other.weights.keys() and all(
        tensor.sub(other.weights[name]).abs().max() <= atol for name, tensor in one.weights.items()
    )
