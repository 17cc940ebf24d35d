"""Stage segmenter: a segmentation network trained on the pseudo masks, by processes of its own."""

import json
import logging
import tempfile
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from clipes.tasks.execution.worker_pool import WorkerPool
from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.plan.keys import sample_of
from clipes.tasks.plan.shard_plan import ShardPlan
from clipes.tasks.storage.artifact_store import ArtifactStore, checkpoints_uri
from clipes.tasks.storage.listing import files_in
from clipes.tasks.training.job import STAGE, Trained, TrainingJob
from clipes_core.errors import BrokenArtifactError, ClipesError, WorkerError

if TYPE_CHECKING:
    from clipes.tasks.runs.preparation import PreparedRun

POLL_SECONDS = 1.0
GRACE_SECONDS = 30.0  # until the other processes of a training have seen that one has failed

logger = logging.getLogger(__name__)


def cached_segmenter(plan: ShardPlan, store: ArtifactStore) -> ShardRecord:
    """The record of a segmenter that is there.

    Raises:
        ArtifactError: it cannot be read.
    """
    uri = store.artifact_uri(plan.key)
    return ShardRecord(STAGE, 0, uri, training_facts(store, uri)["iterations"], cached=True)


def training_facts(store: ArtifactStore, uri: str) -> dict[str, Any]:
    """What an artifact says of its training, see `clipes.tasks.training.process`.

    Raises:
        BrokenArtifactError: it cannot be read, or says nothing.
    """
    stated = store.footer(uri).metadata.get("training")
    if stated is None:
        raise BrokenArtifactError(uri, "says nothing of its training")
    return json.loads(stated)


def forget_checkpoints(plan: ShardPlan, store: ArtifactStore) -> None:
    """Let a training begin anew, whatever an earlier one has left.

    Raises:
        StorageError: the store refuses.
        TransientError: it does not answer.
    """
    for file in files_in(checkpoints_uri(store.artifact_uri(plan.key))):
        store.discard(file.uri)


def make_segmenter(run: "PreparedRun", plan: ShardPlan, pool: WorkerPool) -> ShardRecord:
    """Train a segmenter with all processes of a pool, from the newest checkpoint that is there, and write it.

    Raises:
        ConfigError: the training cannot begin with these settings.
        WeightsError: the initial weights are of another network.
        WorkerError: a process died, ran out of memory, or made no step for `execution.shard_timeout_s`.
        StageError: the loss is not a number, or runs away, or too many photos cannot be used.
        PhotoError: a hundred photos in a row cannot be used.
        ArtifactError: a mask, or the store, cannot be used.
    """
    assert run.recipe is not None  # a run with this stage has one
    with tempfile.TemporaryDirectory(prefix="clipes-training-") as folder:
        job = TrainingJob(
            *(plan.key, run.store, run.config, run.vocabulary, run.recipe, plan.photos, plan.upstream["masks"]),
            validation=_validation(run),
            processes=_processes(run.recipe.batch_size, pool.devices),
            meeting=str(Path(folder) / "meeting"),
        )
        pool.counters.reset(STAGE)
        pool.renew()  # CLIP, and what it holds, is not needed any more
        try:
            trained = _together(job, pool)
        finally:
            pool.renew()
    return ShardRecord(
        *(STAGE, 0, job.uri, run.recipe.iterations),
        cached=False,
        computed=run.recipe.iterations,
        seconds=trained.seconds,
        worker=trained.worker,
        peak_memory_mib=trained.peak_memory_mib,
    )


def _processes(batch_size: int, devices: Sequence[str]) -> int:
    """How many processes train: one per GPU, or per worker on a CPU, as far as they can share a batch evenly."""
    most = len(devices) if set(devices) == {"cpu"} else len(set(devices))
    processes = max(count for count in range(1, most + 1) if batch_size % count == 0)
    if processes < most:
        logger.info("a batch of %d is shared by %d of %d devices", batch_size, processes, most)
    return processes


def _together(job: TrainingJob, pool: WorkerPool) -> Trained:
    """Call `train` in each process; the first that fails ends the others, and the cause is told."""
    with ThreadPoolExecutor(job.processes, thread_name_prefix="training") as threads:
        ranks = [threads.submit(pool.run, _train, job, rank, timeout_s=None) for rank in range(job.processes)]
        try:
            ended = _ended(job, pool, ranks)
        finally:
            if wait(ranks, timeout=0).not_done:
                wait(ranks, timeout=GRACE_SECONDS)
                pool.stop_calls()
    failures = [failure for rank in (*ended, *ranks) if (failure := rank.exception())]
    if failures:  # one that lost another says no more than that, in torch's words, and may be the first to see it
        raise next((failure for failure in failures if isinstance(failure, ClipesError)), failures[0])
    return ranks[0].result()


def _train(job: TrainingJob, rank: int) -> Trained:
    """Runs in a worker, which imports MMSegmentation with its losses and hooks."""
    from clipes.tasks.training.process import train

    return train(job, rank)


def _ended(job: TrainingJob, pool: WorkerPool, ranks: "list[Future[Trained]]") -> "set[Future[Trained]]":
    """Those that have ended when all have, or one has failed; one that stands still counts as failed."""
    limit = job.config.execution.shard_timeout_s
    steps, moved = pool.counters.count(STAGE), monotonic()
    while True:
        ended, going_on = wait(ranks, timeout=POLL_SECONDS, return_when=FIRST_EXCEPTION)
        if not going_on or any(rank.exception() for rank in ended):
            return ended
        if pool.counters.count(STAGE) != steps:
            steps, moved = pool.counters.count(STAGE), monotonic()
        if monotonic() - moved > limit:
            pool.stop_calls()
            raise WorkerError(f"no step for {limit:g} s: stopped; raise execution.shard_timeout_s")


def _validation(run: "PreparedRun") -> tuple[Any, ...]:
    """Photos with truth to score on the way, the same ones in every attempt."""
    with_truth = {
        photo.image_id: photo for photos in run.evaluation.values() for photo in photos if photo.truth_uri is not None
    }
    chosen = sample_of(with_truth, run.config.train.validate_photos)
    return tuple(with_truth[image_id] for image_id in sorted(chosen))
