"""Forecast the time, the memory and the store size of a run from the measured cost of a sample.

The forecast assumes that the time of a stage is proportional to its photos, and that its workers share the work evenly.
Stages on GPUs run at the same time as stages on processor cores. Without a GPU, all stages share the cores, but those
that run networks have no more workers than the memory or `execution.gpu_workers` permits. The stages that score the
segmenter run after the training.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from clipes.tasks.plan.stage import Workers
from clipes_core.config.execution import ExecutionConfig

# Measured costs of the process that runs the flow; see docs/performance.md.
ORCHESTRATION_S = 0.016  # of a shard that is made
HEAD_BASE_BYTES = 380 << 20
HEAD_BYTES_PER_PHOTO = 1_300
TRAFFIC_PER_ROW = 300  # [bytes]; a row's digests (130), and its part of the job that is sent to a worker (150)
TRAFFIC_PER_SHARD = 5_000  # [bytes]; the footer of an artifact, and requests
LIMITS = ("gpus", "cores", "gpu_workers", "cpu_workers")  # what may decide how long the stages take


@dataclass(frozen=True)
class Work:
    """The amount of work of a run.

    Attributes:
        photos: number of photos.
        shards: number of shards of a stage.
        evaluated: number of photos that the segmenter is scored on.
        iterations: number of iterations of the training; 0 if the run trains no segmenter.
        validated: number of photos of all validations together.
        checkpoints: number of checkpoints that the training writes.
        processes: number of processes that train together.
    """

    photos: int
    shards: int
    evaluated: int = 0
    iterations: int = 0
    validated: int = 0
    checkpoints: int = 0
    processes: int = 1


@dataclass(frozen=True)
class Machines:
    """The processors of a run, on all of its machines together.

    Attributes:
        gpus: number of GPUs; 0 if the networks run on processor cores.
        cores: number of processor cores.
        gpu_workers: number of workers for the stages that run networks; None if they are as many as suffice. With GPUs,
            the GPUs decide the time of these stages.
        cpu_workers: number of workers for the other stages; None if they are as many as suffice.
    """

    gpus: int
    cores: int
    gpu_workers: int | None = None
    cpu_workers: int | None = None


@dataclass(frozen=True)
class StageCost:
    """What a stage costs for each photo; for a stage that scores the segmenter, for each photo of the evaluation.

    Attributes:
        stage: name of the stage.
        workers: kind of its workers, gpu (which run networks, also without a GPU) or cpu.
        of_evaluation: whether the stage has a row for each photo that the segmenter is scored on.
        seconds: time of a worker [s].
        gpu_seconds: time of a GPU [s]; less than `seconds` if several workers share it, and 0 without a GPU.
        cpu_seconds: processor time [s].
        stored_bytes: size of the artifacts in the store.
        peak_memory_mib: peak memory of a worker [MiB].
    """

    stage: str
    workers: Workers
    of_evaluation: bool
    seconds: float
    gpu_seconds: float
    cpu_seconds: float
    stored_bytes: float
    peak_memory_mib: int

    def rows(self, work: Work) -> int:
        """Return the number of photos of the stage."""
        return work.evaluated if self.of_evaluation else work.photos


@dataclass(frozen=True)
class TrainingCost:
    """What the training costs.

    Attributes:
        iteration_seconds: time of an iteration [s].
        validation_seconds: time of a validation for each of its photos [s].
        checkpoint_seconds: time to write a checkpoint [s].
        processes: number of processes that trained.
        peak_memory_mib: peak memory of a process [MiB].
    """

    iteration_seconds: float
    validation_seconds: float
    checkpoint_seconds: float
    processes: int
    peak_memory_mib: int


@dataclass(frozen=True)
class Measurement:
    """The measured costs of a sample.

    Attributes:
        work: the work of the sample.
        machines: the machines that ran the sample.
        wall_seconds: duration of the whole command that ran the sample [s].
        stages: costs of the stages that have a row for each photo, or that depend on the number of photos.
        training: cost of the training; None if the run trains no segmenter.
    """

    work: Work
    machines: Machines
    wall_seconds: float
    stages: tuple[StageCost, ...]
    training: TrainingCost | None


@dataclass(frozen=True)
class Forecast:
    """The forecast of a run.

    Attributes:
        gpu_seconds: time of all GPUs together, without the training [s].
        core_seconds: time of all processor cores together, without the training [s].
        stages_seconds: duration of all stages except the training [s].
        training_seconds: duration of the training [s].
        wall_seconds: duration of the whole run [s].
        stored_bytes: size of the artifacts in the store, without the segmenter.
        head_bytes: memory of the process that runs the flow.
        traffic_bytes: bytes that this process reads from the store and sends to workers.
        bottleneck: what takes longest: one of LIMITS, training or start.
    """

    gpu_seconds: float
    core_seconds: float
    stages_seconds: float
    training_seconds: float
    wall_seconds: float
    stored_bytes: float
    head_bytes: float
    traffic_bytes: float
    bottleneck: str


def requested_machines(own: Machines, execution: ExecutionConfig, gpus: int | None, cores: int | None) -> Machines:
    """Return the machines of a forecast. Unless the config states a number of workers, it grows with the cores.

    Args:
        own: the machines that run the sample.
        execution: section of the config.
        gpus: number of GPUs; None for that of `own`.
        cores: number of processor cores; None for that of `own`.
    """
    cores = cores or own.cores
    gpu_workers, cpu_workers = (
        max(1, round(count * cores / own.cores)) if stated == "auto" and count is not None else count
        for stated, count in ((execution.gpu_workers, own.gpu_workers), (execution.cpu_workers, own.cpu_workers))
    )
    return Machines(own.gpus if gpus is None else gpus, cores, gpu_workers, cpu_workers)


def forecast(measured: Measurement, work: Work, machines: Machines) -> Forecast:
    """Forecast a run.

    The costs that do not depend on the amount of work, such as the start of workers and the loading of networks, are
    those of the sample: its duration without the spans that `_spans` explains.

    Args:
        measured: costs of the sample. If its machines had no GPU, `machines` has none either.
        work: work of the run.
        machines: machines of the run.
    """
    explained = sum(_spans(measured, measured.work, measured.machines).values())
    spans = _spans(measured, work, machines)
    spans["start"] += max(0.0, measured.wall_seconds - explained)
    rows = sum(stage.rows(work) for stage in measured.stages)
    return Forecast(
        gpu_seconds=sum(stage.gpu_seconds * stage.rows(work) for stage in measured.stages),
        core_seconds=sum(stage.cpu_seconds * stage.rows(work) for stage in measured.stages),
        stages_seconds=sum(spans[limit] for limit in LIMITS),
        training_seconds=spans["training"],
        wall_seconds=sum(spans.values()),
        stored_bytes=sum(stage.stored_bytes * stage.rows(work) for stage in measured.stages),
        head_bytes=HEAD_BASE_BYTES + HEAD_BYTES_PER_PHOTO * (work.photos + work.evaluated),
        traffic_bytes=TRAFFIC_PER_ROW * rows + TRAFFIC_PER_SHARD * work.shards * len(measured.stages),
        bottleneck=max(spans, key=lambda name: spans[name]),
    )


def _spans(measured: Measurement, work: Work, machines: Machines) -> dict[str, float]:
    """Divide the duration of a run [s], except the fixed costs, into the spans in which one thing decides the speed.

    The stages before the training overlap, and so do those after it. During either time, the slowest of GPUs, cores and
    workers decides.
    """
    spans = dict.fromkeys(LIMITS, 0.0)
    for after_training in (False, True):
        needed = _needed([stage for stage in measured.stages if stage.of_evaluation is after_training], work, machines)
        slowest = max(needed, key=lambda limit: needed[limit])
        spans[slowest] += needed[slowest]
    return {
        **spans,
        "training": _training_seconds(measured.training, work),
        "start": ORCHESTRATION_S * work.shards * len(measured.stages),
    }


def _needed(stages: Sequence[StageCost], work: Work, machines: Machines) -> dict[str, float]:
    """Return limit -> how long stages that overlap take at least because of it [s].

    Waiting does not count: a worker with one thread is busy for its processor time. A worker with several threads is
    busy for as long as in the sample, which is less than its processor time.
    """
    gpu = sum(stage.gpu_seconds * stage.rows(work) for stage in stages)
    cpu = sum(stage.cpu_seconds * stage.rows(work) for stage in stages)
    needed = {"gpus": gpu / machines.gpus if gpu else 0.0, "cores": cpu / machines.cores}
    workers: dict[Workers, int | None] = {"gpu": machines.gpu_workers, "cpu": machines.cpu_workers}
    for kind, count in workers.items():
        own = [stage for stage in stages if stage.workers == kind and not stage.gpu_seconds]
        busy = sum(min(stage.seconds, stage.cpu_seconds) * stage.rows(work) for stage in own)
        needed[f"{kind}_workers"] = busy / count if count else 0.0
    return needed


def _training_seconds(cost: TrainingCost | None, work: Work) -> float:
    """Return the duration of the training [s]. An iteration is assumed to shrink with the number of processes."""
    if cost is None:
        return 0.0
    return (
        work.iterations * cost.iteration_seconds * cost.processes / work.processes
        + work.validated * cost.validation_seconds
        + work.checkpoints * cost.checkpoint_seconds
    )
