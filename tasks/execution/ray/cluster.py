"""The workers of a run on a Ray cluster."""

import contextvars
import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import cast

from ray.exceptions import RayError

from clipes.tasks.execution.joint_work import joint_work
from clipes.tasks.execution.ray.actor import make_prepared_shard
from clipes.tasks.execution.ray.hosts import Hosts
from clipes.tasks.execution.ray.nodes import WorkerRequest, connected, worker_requests
from clipes.tasks.execution.ray.pool import RayPool
from clipes.tasks.execution.ray.reports import RowCounts
from clipes.tasks.execution.ray.runner import RaySettings
from clipes.tasks.execution.ray.training import TrainingPool
from clipes.tasks.inputs.photos import Photo
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.plan.jobs import ShardJob, ShardRecord
from clipes.tasks.plan.stage import JointStage, Workers
from clipes.tasks.storage.filesystem import first_line
from clipes_core.config.run import RunConfig
from clipes_core.errors import ClipesError, ConfigError

GRACE_SECONDS = 30.0  # that a run waits for the other workers once the first has answered
WATCH_SECONDS = 5.0  # between two looks for machines that have joined
LEAVE_SECONDS = 10.0  # that a run which ends waits for this look; it hangs if the head node of the cluster is gone
MOST_GROWTH = 2  # a run uses at most this many times as many workers as it had room for at its start
WASTED_GPUS = (
    "the machine %s of the Ray cluster has GPUs, but the networks of the run compute on processors, because no machine "
    "had a GPU at the start: to use the GPUs, stop the run, and start it again with clip.device=cuda and a number as "
    "execution.gpu_workers"
)

logger = logging.getLogger(__name__)


class ClusterWorkers:
    """Makes shards in the workers of a cluster.

    Attributes:
        counters: counts of the rows of the run.
        slots: kind of worker (gpu, cpu) -> device and threads of each worker.
        weights: digest of CLIP's weights on the machines.
        gpus: number of GPUs that all workers share; 0 if networks run on processors.
        cores: number of processor cores that all workers together can keep busy.
    """

    def __init__(
        self, config: RunConfig, settings: RaySettings, requests: dict[str, WorkerRequest], pools: dict[str, RayPool]
    ) -> None:
        self._config, self._pools, self._requests = config, pools, requests
        self.counters, self.weights = pools["gpu"].counters, pools["gpu"].hosts.weights
        device = next((slot.device for slot in pools["gpu"].slots if slot.started), requests["gpu"].device)
        self.slots = {
            "gpu": (WorkerSlot(device, requests["gpu"].threads),) * requests["gpu"].count,
            "cpu": (WorkerSlot("cpu", requests["cpu"].threads),) * requests["cpu"].count,
        }
        nodes = pools["gpu"].hosts.look()
        self.gpus = math.ceil(requests["gpu"].count * requests["gpu"].gpus)
        threads = sum(request.count * request.threads for request in requests.values())
        self.cores = max(1, min(sum(node.cpus for node in nodes), threads))
        other = pools.get("cpu", pools["gpu"])  # a planned run has no other workers, and trains nothing
        self._training = TrainingPool(pools["gpu"], other, settings.training_nodes, settings.wait_s)

    def run(self, job: ShardJob, workers: Workers) -> ShardRecord:
        """Make a shard; see `Runner.run`."""
        timeout_s = self._config.execution.shard_timeout_s
        if isinstance(job.stage, JointStage):
            with joint_work(job, self._training, timeout_s) as shared, self._training.joint_worker(rank=0) as start:
                return cast(ShardRecord, start(make_prepared_shard, shared, workers).result())
        with self._pools[workers].worker(timeout_s) as start:
            return cast(ShardRecord, start(make_prepared_shard, job, workers).result())

    def most_jobs(self, workers: str) -> int:
        """Return how many workers of a kind the run may have, if machines join the cluster."""
        request = self._requests[workers]
        return request.count * (1 if request.fixed else MOST_GROWTH)

    def cancel(self) -> None:
        """End all workers."""
        self._training.close()
        for pool in self._pools.values():
            pool.close()


@contextmanager
def cluster_workers(
    config: RunConfig, settings: RaySettings, writes: bool, photos: Sequence[Photo]
) -> Iterator[ClusterWorkers]:
    """Connect to the cluster, start the workers, and yield them once they have answered.

    Args:
        config: configuration of the run.
        settings: settings of the runner.
        writes: false if the run is only planned. Then a single worker is started, which writes nothing.
        photos: photos of the run. Each machine must be able to open one of them.

    Raises:
        ConfigError: there is no such cluster, or its machines do not suit the run or each other.
        WorkerError: no worker has answered in time.
    """
    with ExitStack() as stack:
        stack.enter_context(connected(settings.address))
        hosts, counters = Hosts(config, writes, photos), RowCounts()
        stack.enter_context(hosts.probing())
        requests = worker_requests(config, settings, hosts.look())
        pools: dict[str, RayPool] = {}
        for kind, request in requests.items():
            if writes or request.networks:
                wanted = request if writes else replace(request, count=1)
                pools[kind] = RayPool(wanted, hosts, counters, settings.wait_s)
                stack.callback(pools[kind].close)
        for kind, pool in pools.items():
            pool.rivals = [other for name, other in pools.items() if name != kind]
            pool.wait_until_started(GRACE_SECONDS)
        hosts.accept_late = True

        device = requests["gpu"].device  # machines that join do not change it, because it decides the keys
        same_device = config.model_copy(update={"clip": config.clip.model_copy(update={"device": device})})

        def watch(stop: threading.Event) -> None:
            may_waste_gpus = device == "cpu" and config.clip.device == "auto"
            while not stop.wait(WATCH_SECONDS):
                now: dict[str, WorkerRequest] = {}
                try:
                    nodes = hosts.look()
                    if may_waste_gpus and (with_gpus := [node.name for node in nodes if node.gpus]):
                        logger.warning(WASTED_GPUS, with_gpus[0])
                        may_waste_gpus = False
                    now = worker_requests(same_device, settings, nodes)
                except ConfigError:
                    pass  # the machines that are left may have no room for a kind of worker
                except (ClipesError, RayError) as exc:
                    logger.warning("cannot look for machines that have joined the Ray cluster: %s", first_line(exc))
                for kind, first in requests.items():
                    if kind in now and not first.fixed:
                        pools[kind].extend(min(now[kind].count, MOST_GROWTH * first.count))

        if writes:
            stack.enter_context(_watching(watch))
        yield ClusterWorkers(config, settings, requests, pools)


@contextmanager
def _watching(watch: Callable[[threading.Event], None]) -> Iterator[None]:
    """Call a function in a thread during the block; its argument is an event, which is set at the end of the block."""
    stop, context = threading.Event(), contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(watch, stop), daemon=True, name="ray-nodes")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=LEAVE_SECONDS)
