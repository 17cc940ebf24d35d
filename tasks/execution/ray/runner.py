"""The runner `ray`, which makes shards in worker processes on all machines of a Ray cluster, and its settings."""

from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pydantic import Field, field_validator
from typing_extensions import override

from clipes.tasks.execution.runner import Runner
from clipes.tasks.machine.worker_state import NetworkWorkers
from clipes.tasks.plan.jobs import ShardJob, ShardRecord
from clipes.tasks.plan.stage import Stage
from clipes_core.config.extras import RAY
from clipes_core.config.run import RunConfig
from clipes_core.config.section import Section

if TYPE_CHECKING:
    from clipes.tasks.execution.ray.cluster import ClusterWorkers


NO_CLIENT = (
    "clipes must itself run on a machine of the cluster, so it accepts no ray:// address: start the command there, and "
    "set the address to auto or HOST:6379"
)


class RaySettings(Section):
    """Keys of `execution.runner` besides `kind`."""

    address: str = Field(
        "auto",
        description="Address of the Ray cluster, such as 10.0.0.1:6379. auto: the address in the variable RAY_ADDRESS, "
        "otherwise the cluster that was started on this machine.",
    )
    gpus_per_worker: float = Field(
        1,
        gt=0,
        le=8,
        description="GPUs of a GPU worker. With 0.5, two workers share a GPU. A number above 1 wastes GPUs.",
    )
    cpus_per_gpu_worker: int = Field(4, ge=1, le=256, description="Processor cores of a worker that has a GPU.")
    wait_s: float = Field(
        600,
        gt=0,
        le=1_000_000,
        description="How long clipes waits for the first worker at the start, or while the cluster has no worker [s].",
    )
    training_nodes: int = Field(
        1, ge=1, le=1024, description="Largest number of machines that train the segmenter together."
    )

    @field_validator("address")
    @classmethod
    def _is_not_a_client(cls, address: str) -> str:
        if address.startswith("ray://"):
            raise ValueError(NO_CLIENT)
        if address == "local":
            raise ValueError("names no cluster; set execution.runner.kind to local to use this machine alone")
        return address

    @field_validator("gpus_per_worker")
    @classmethod
    def _is_whole_above_one(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError("Ray shares only single GPUs; set a number up to 1, or a whole number")
        return gpus


class RayRunner(Runner):
    """Hands each job to an idle worker of a Ray cluster, and replaces workers that die, hang or run out of memory.

    The slots, the precision and the digest of the weights are those that the workers find on their machines. They are
    known once the runner is entered.
    """

    Settings = RaySettings
    settings: RaySettings

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.slots = {}
        self._stack = ExitStack()
        self._workers: ClusterWorkers

    @override
    @classmethod
    def settings_of(cls, config: RunConfig) -> Section:
        RAY.check("execution.runner.kind=ray")
        return super().settings_of(config)

    @override
    @classmethod
    def examine(cls, config: RunConfig) -> Iterator[tuple[str, bool | None, str]]:
        settings = cls.settings_of(config)
        from clipes.tasks.execution.ray.doctor import examine_cluster  # imports Ray

        assert isinstance(settings, RaySettings)
        return examine_cluster(config, settings)

    @override
    def __enter__(self) -> Self:
        from clipes.tasks.execution.ray.cluster import cluster_workers  # imports Ray, which takes a moment

        self._workers = self._stack.enter_context(cluster_workers(self.config, self.settings, self.writes, self.photos))
        self.slots = self._workers.slots
        return self

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._stack.close()

    @override
    def network_workers(self) -> NetworkWorkers:
        return NetworkWorkers(tuple(self.slots["gpu"]), self._workers.weights)

    @override
    def gpus(self) -> int:
        return self._workers.gpus

    @override
    def cores(self) -> int:
        return self._workers.cores

    @override
    def most_jobs(self, workers: str) -> int:
        return self._workers.most_jobs(workers)

    @override
    def prepare(self, stage: Stage) -> None:
        """Do nothing: each worker prepares its machine before it makes its first shard of a stage."""

    @override
    def run(self, job: ShardJob) -> ShardRecord:
        return self._workers.run(job, self.workers_for(job.stage))

    @override
    def rows(self, stage: str) -> int:
        return self._workers.counters.count(stage)

    @override
    def cancel(self) -> None:
        self._workers.cancel()
