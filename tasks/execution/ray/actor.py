"""The worker process on a machine of the cluster, as a Ray actor."""

import logging
import os
import socket
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import ray
from filelock import FileLock

from clipes.tasks.execution.make_shard import make_shard
from clipes.tasks.execution.ray.handshake import HandshakeRequest, HostFacts, host_facts
from clipes.tasks.execution.ray.reports import Records, Report
from clipes.tasks.machine.log import LOGGER
from clipes.tasks.machine.row_counters import SlotCounters
from clipes.tasks.machine.worker_state import WorkerSlot, start_worker
from clipes.tasks.plan.jobs import ShardJob, ShardRecord
from clipes.tasks.stages.registry import STAGES


class ShardWorker:
    """A worker process; `ray.remote` makes an actor of this class. Reports have a thread of their own.

    Args:
        slot: device and threads of the worker; `answer_handshake` replaces the device by the one that the worker finds.
        log_level: lowest level that the worker logs.
    """

    def __init__(self, slot: WorkerSlot, log_level: int) -> None:
        self._slot, self._log_level = slot, log_level
        self._counters, self._records, self._numbers = SlotCounters(tuple(STAGES)), Records(), count()
        logging.getLogger(LOGGER).addHandler(self._records)

    def place(self) -> str:
        """Return Ray's id of the machine."""
        return str(ray.get_runtime_context().get_node_id())

    def answer_handshake(self, request: HandshakeRequest, node: str) -> HostFacts:
        """Set this process up as a worker, and return what its machine computes with.

        Args:
            request: what to find out.
            node: name of the machine.
        """
        facts = host_facts(request)
        slot = WorkerSlot(facts.device, self._slot.threads)
        start_worker(slot, self._counters, self._log_level, node)
        return facts

    def call(self, function: Callable[..., Any], *args: Any) -> tuple[Any, Report]:
        """Call a function, and return its result with a report that follows the call."""
        try:
            result = function(*args)
        finally:
            self._counters.clear()
        return result, self._report()

    @ray.method(concurrency_group="reports")
    def report(self) -> Report:
        """Return what this worker has done so far."""
        return self._report()

    def _report(self) -> Report:
        number = next(self._numbers)  # before the rows are counted, so that a later report is never older
        rows = {stage: rows for stage in STAGES if (rows := self._counters.count(stage))}
        return Report(number, rows, self._records.take())


def rendezvous_url() -> str:
    """Return a URL with a free port of this machine, at which the processes of a training find each other."""
    host = ray.util.get_node_ip_address()
    with socket.socket() as listener:
        listener.bind((host, 0))
        return f"tcp://{host}:{listener.getsockname()[1]}"


def make_prepared_shard(job: ShardJob, workers: str) -> ShardRecord:
    """Prepare this machine for the stage of a job unless that was done, and make the shard; called in a worker.

    Only one process of a user on a machine at a time prepares a stage. The others find its result, such as compiled
    code.

    Args:
        job: job of the shard.
        workers: kind of worker that makes the shards of the stage.
    """
    if job.stage.name not in _prepared:
        lock = Path(tempfile.gettempdir()) / f"clipes-{os.getuid()}-prepare-{job.stage.name}.lock"
        with FileLock(lock):
            job.stage.prepare(job.config, workers)  # type: ignore[arg-type]
        _prepared.add(job.stage.name)
    return make_shard(job)


_prepared: set[str] = set()  # stages that this process is prepared for
