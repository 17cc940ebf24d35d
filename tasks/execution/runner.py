"""The base class of runners, which make shards. To add a runner, write a file in this folder and a line in RUNNERS."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pkgutil import resolve_name
from types import TracebackType
from typing import Self

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.machine.devices import cores
from clipes.tasks.machine.terminal import announce
from clipes.tasks.machine.worker_state import NetworkWorkers, WorkerSlot
from clipes.tasks.plan.jobs import ShardJob, ShardRecord
from clipes.tasks.plan.stage import Stage, Workers
from clipes_core.config.choice import look_up
from clipes_core.config.run import RunConfig, check_section
from clipes_core.config.section import Section
from clipes_core.config.uri import shown

# value of execution.runner.kind -> class of the runner; its module is imported only if the runner is chosen
RUNNERS: dict[str, str] = {
    "local": "clipes.tasks.execution.local_runner:LocalRunner",
    "inline": "clipes.tasks.execution.inline_runner:InlineRunner",
    "ray": "clipes.tasks.execution.ray.runner:RayRunner",
}


class Runner(ABC):
    """Makes shards. A runner is a context manager: entering it starts its workers, and leaving it ends them.

    A worker is a process in which `start_worker` or `act_as_worker` has set the device and the number of threads. A
    worker makes a shard by calling `make_shard`. Several workers may share the job of a joint stage: the first worker
    calls `make_shard`, and each further worker calls `JointStage.assist`.

    A runner translates the errors of the libraries that it uses into WorkerError (a worker died, ran out of memory or
    took too long) and StoppedError (a job was cancelled).

    Attributes:
        slots: kind of worker (gpu, cpu) -> device and threads of each worker. A runner determines the slots on the host
            where the workers run, at the latest when the runner is entered.
        Settings: pydantic model of the runner's own settings. These are all keys of `execution.runner` except `kind`.
        writes: false if the runner only plans a run (`--plan`): it makes no shard, and must not write to the store.
        photos: photos of the run, with which a runner can check its machines; empty if they are not known.
    """

    slots: Mapping[str, tuple[WorkerSlot, ...]]
    Settings: type[Section] = Section
    writes: bool = True
    photos: Sequence[Photo] = ()

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.settings = self.settings_of(config)

    @classmethod
    def settings_of(cls, config: RunConfig) -> Section:
        """Return the runner's own settings; raise ConfigError if a key is unknown or a value is invalid."""
        return check_section(cls.Settings, config.execution.runner.model_extra or {}, "execution.runner")

    @classmethod
    def examine(cls, config: RunConfig) -> Iterable[tuple[str, bool | None, str]]:
        """Check what the runner needs besides this machine.

        Yield what was checked, whether it works (None if it does, but the details are a warning), and details.
        """
        return ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel all jobs and end the workers."""
        self.cancel()

    def workers_for(self, stage: Stage) -> Workers:
        """Return the kind of worker that makes the shards of a stage."""
        devices = {kind: [slot.device for slot in slots] for kind, slots in self.slots.items()}
        return stage.workers_for(self.config, devices)

    def network_workers(self) -> NetworkWorkers:
        """Return what the keys of artifacts depend on: the slots of the GPU workers, and the weights on their host.

        Missing weights are downloaded, unless the runner only plans a run.

        Raises:
            WeightsError: the weights of `clip.pretrained` cannot be used.
            TransientError: the server from which the weights are downloaded does not answer.
        """
        from clipes.tasks.models.clip import weights_digest
        from clipes.tasks.models.clip_models.pretrained import has_weights

        clip, slots = self.config.clip, tuple(self.slots["gpu"])
        with announce("reading the weights of CLIP"):
            if self.writes or has_weights(clip):
                return NetworkWorkers(slots, weights_digest(clip))
        missing = shown(f"{clip.pretrained} of {clip.model}")
        return NetworkWorkers(slots, f"missing: {missing}", missing)

    def gpus(self) -> int:
        """Return how many GPUs all workers share; 0 if networks run on processors. Call it while the runner is open."""
        return len({slot.device for slot in self.slots["gpu"]} - {"cpu"})

    def cores(self) -> int:
        """Return how many processor cores all workers together can keep busy; call it while the runner is open."""
        return min(cores(), sum(slot.threads for slots in self.slots.values() for slot in slots))

    def most_jobs(self, workers: str) -> int:
        """Return how many jobs at once this kind of worker can need a thread for; call it while the runner is open."""
        return len(self.slots[workers])

    def prepare(self, stage: Stage) -> None:
        """Prepare the hosts of the workers for a stage; called once, before the first job of the stage."""
        stage.prepare(self.config, self.workers_for(stage))

    @abstractmethod
    def run(self, job: ShardJob) -> ShardRecord:
        """Wait for an idle worker, let it make a shard, and return the shard's record.

        Raises:
            WorkerError: the worker died, ran out of memory or took longer than `execution.shard_timeout_s`.
            NodeLostError: the machine of the worker was lost.
            StoppedError: the job was cancelled, or the runner is closed.
            Exception: whatever the stage raises.
        """

    @abstractmethod
    def rows(self, stage: str) -> int:
        """Return how many rows of a stage, or steps of a joint stage, the running jobs have computed so far.

        The rows of a job that has ended do not count: those of a finished shard are in its record, and those of a
        failed attempt are lost or will be copied.
        """

    @abstractmethod
    def cancel(self) -> None:
        """Refuse new jobs, and end running jobs if possible. `run` raises StoppedError for refused and ended jobs."""


def check_runner(config: RunConfig) -> type[Runner]:
    """Check the section `execution.runner`, and return the runner's class. No runner is started.

    Raises:
        ConfigError: there is no such runner, or a setting of the runner is unknown or invalid.
    """
    runner: type[Runner] = resolve_name(look_up(RUNNERS, config.execution.runner.kind, "execution.runner.kind"))
    runner.settings_of(config)
    return runner


def runner_for(config: RunConfig, writes: bool = True, photos: Sequence[Photo] = ()) -> Runner:
    """Return the runner that the section `execution.runner` names.

    Args:
        config: configuration of the run.
        writes: false if the runner only plans a run, and must not write to the store.
        photos: photos of the run, with which a runner can check its machines; empty if they are not known.

    Raises:
        ConfigError: there is no such runner, a setting of the runner is unknown or invalid, or the host of the workers
            does not have the device that `clip.device` names.
    """
    runner = check_runner(config)(config)
    runner.writes, runner.photos = writes, photos
    return runner
