"""Trainings of a tiny network on the pseudo masks of a few photos, in real processes that tests can kill."""

import fcntl
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors.torch import load_file
from support.pool_calls import worker_pool
from support.prepared import prepare_run
from support.small_runs import TINY_NETWORK, TinyPhotos, all_stage_shards, make_stage_shards
from torch import Tensor

from clipes.tasks.execution.stage_shards import StageShards
from clipes.tasks.execution.worker_pool import WorkerPool
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.plan.caching import REUSE_ALL, Reuse
from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.stages.segmenter import read_training_facts
from clipes.tasks.storage.layout import checkpoints_uri, weights_uri
from clipes_core.config.run import RunConfig

VALIDATED_AT = 21  # a second validation follows the last iteration


@dataclass(frozen=True)
class Result:
    """The output of a training.

    Attributes:
        curve: rows of the artifact, which record the training curve.
        weights: tensors of the trained network.
        facts: facts about the training from the metadata of the artifact.
        checkpoints: file names of the checkpoints.
    """

    curve: list[dict[str, Any]]
    weights: dict[str, Tensor]
    facts: dict[str, Any]
    checkpoints: set[str]


class SmallTraining:
    """A training of 30 iterations on the pseudo masks of five photos of 64 x 48 px.

    One of the photos validates the network at iterations 21 and 30.

    Args:
        photos: data set without photos.
    """

    def __init__(self, photos: TinyPhotos) -> None:
        self.photos, self.truth = photos, photos.folder / "seen.png"
        self._lease: int | None = None  # open file of the true mask, while trainings are blocked
        Image.new("L", (64, 48), 8).save(self.truth)
        for name, labels in {"a": "cat", "b": "dog", "c": "cat;dog", "d": "", "e": "cat"}.items():
            photos.add(name, labels)
        (photos.folder / "seen.csv").write_text("image,labels,truth\na.png,cat,seen.png\n")

    def prepared(self, reuse: Reuse = REUSE_ALL, until: str = "segmenter", **sections: Any) -> PreparedRun:
        """Prepare the run, with some settings changed."""
        return prepare_run(self.config(**sections), until, reuse)

    def config(self, **sections: Any) -> RunConfig:
        """Return the run's config, with some settings changed."""
        values = {
            "train": {"enabled": True, "mmseg_config": str(TINY_NETWORK), "init": "none", "checkpoint_every": 5},
            "evaluation": {"split": str(self.photos.folder / "seen.csv")},
            "execution": {"shards": 2, "max_failure_rate": 1},
        }
        values["train"]["validate_every"] = VALIDATED_AT
        given = {name: {**values.get(name, {}), **value} for name, value in sections.items()}
        return self.photos.config(**{**values, **given})

    def resume(self) -> None:
        """Let a process that is blocked at its validation continue, if there is one."""
        if self._lease is not None:
            os.close(self._lease)
            self._lease = None

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Block trainings at their validation at iteration 21: this process holds a lease on the true mask.

        Other processes wait when they open the file, but for at most 45 s (/proc/sys/fs/lease-break-time).
        """
        before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # Linux sends SIGIO when a process opens the file
        self._lease = os.open(self.truth, os.O_RDONLY)
        fcntl.fcntl(self._lease, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        try:
            yield
        finally:
            self.resume()
            signal.signal(signal.SIGIO, before)


@contextmanager
def training_work(run: PreparedRun, pool: WorkerPool | None = None, processes: int = 1) -> Iterator[StageShards]:
    """Run the earlier stages, and yield the shards of the stage `segmenter`, to be made in new training processes.

    Args:
        run: run whose last stage is `segmenter`.
        pool: running pool for the earlier stages; None: the training processes run them.
        processes: number of training processes.
    """
    with worker_pool([WorkerSlot("cpu", 1)] * processes, Counters(tuple(STAGES))) as training_pool:
        ledger = Ledger(run.photos, run.evaluated)
        *earlier, work = all_stage_shards(run, ledger, training_pool)
        for each in all_stage_shards(run, ledger, pool)[:-1] if pool else earlier:
            make_stage_shards(each, run)
        yield work


def result_of(run: PreparedRun, record: ShardRecord) -> Result:
    """Read the output of a training from the store."""
    return Result(
        run.store.read(record.uri).to_pylist(),
        load_file(weights_uri(record.uri)),
        read_training_facts(record.uri),
        {path.name for path in Path(checkpoints_uri(record.uri)).iterdir()},
    )


def failed_attempt(work: StageShards, disturb: Callable[[], None]) -> BaseException | None:
    """Train the segmenter, disturb the training once the checkpoint of iteration 20 exists, and return its error."""
    folder = Path(work.run.store.uri) / "artifacts" / "segmenter" / work.run.keys["segmenter"]
    assert not list(folder.glob("*.checkpoints/00000020.pt")), "an earlier training left its checkpoint"
    with ThreadPoolExecutor(1) as thread:
        attempt = thread.submit(work.make, 0)
        while not list(folder.glob("*.checkpoints/00000020.pt")):
            assert not attempt.done(), attempt.exception()
            time.sleep(0.02)
        disturb()
        return attempt.exception()


def killer(signal_number: int = signal.SIGKILL) -> Callable[[], None]:
    """Return a function that signals the youngest child process started after this call."""
    before = {process.pid for process in multiprocessing.active_children()}

    def send() -> None:
        started = [process for process in multiprocessing.active_children() if process.pid not in before]
        os.kill(started[-1].pid, signal_number)

    return send


def same_weights(one: Result, other: Result, atol: float = 0.0) -> bool:
    """Return whether two trained networks have the same tensors, up to an absolute tolerance."""
    return one.weights.keys() == other.weights.keys() and all(
        tensor.sub(other.weights[name]).abs().max() <= atol for name, tensor in one.weights.items()
    )
