"""The command `estimate`: run a sample of a data set with the pipeline, and forecast the whole run."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clipes.tasks.commands.estimate.forecast import Forecast, Machines, Measurement, Work, forecast, requested_machines
from clipes.tasks.commands.estimate.measurement_file import made_with, read_measurement, write_measurement
from clipes.tasks.commands.estimate.sample import PHOTOS_PER_WORKER, measured_costs, sample_config, work_of
from clipes.tasks.execution.runner import Runner, runner_for
from clipes.tasks.inputs.configs import resolve_config
from clipes.tasks.inputs.datasets.listing import Listing
from clipes.tasks.inputs.photos import Reject
from clipes.tasks.machine.prefect_server.settings import load_prefect
from clipes.tasks.machine.processes import seconds_since_start
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.plan.sharding import count_shards
from clipes.tasks.runs.inputs.photos import count_evaluation, first_reason, list_photos
from clipes.tasks.runs.preparation import training_recipe
from clipes.tasks.runs.record.shard_count import last_count
from clipes.tasks.stages.registry import STAGES
from clipes_core.config.run import RunConfig
from clipes_core.errors import ConfigError, DatasetError


@dataclass(frozen=True)
class Request:
    """What the forecast is about; None stands for the value of this machine, or of the data set.

    Attributes:
        sample: number of photos to measure; at least PHOTOS_PER_WORKER for each worker are measured.
        photos: number of photos of the run.
        gpus: number of GPUs.
        cores: number of processor cores.
    """

    sample: int
    photos: int | None = None
    gpus: int | None = None
    cores: int | None = None


@dataclass(frozen=True)
class Estimate:
    """A forecast, and what it is made from. The rejects are the photos of the data set that cannot be used."""

    config: RunConfig
    measured: Measurement
    work: Work
    machines: Machines
    forecast: Forecast
    rejects: tuple[Reject, ...]


@dataclass(frozen=True)
class _Sample:
    """The sample of a data set, and what is known before it runs.

    Attributes:
        config: config of the run that measures the sample, with its name resolved.
        made: what its measurement depends on; see `made_with`.
        measured: the measurement of an earlier call; None if there is none.
        machines: the machines that run the sample.
        gpus: name of each stage that runs on GPU workers -> GPUs of a worker.
        slots: slots of the GPU workers.
        listing: all photos of the data set.
        evaluated: number of photos that the segmenter is scored on.
    """

    config: RunConfig
    made: Mapping[str, Any]
    measured: Measurement | None
    machines: Machines
    gpus: Mapping[str, float]
    slots: Sequence[WorkerSlot]
    listing: Listing
    evaluated: int


def make_estimate(config: RunConfig, request: Request) -> Estimate:
    """Measure a sample of a run, unless an earlier call has measured it, and forecast the run.

    The sample is a run of its own, with few photos and few iterations, in the same store. It computes all of its
    stages, even if the store has their artifacts.

    Args:
        config: config of the run.
        request: what the forecast is about.

    Raises:
        UsageError: the config or the data set must be corrected; or GPUs are requested, but this machine has none.
        StageError: the run of the sample failed.
    """
    age = seconds_since_start()
    sample = _find_sample(config, request, prepares=True)
    measured = sample.measured
    if measured is None:
        measured = _measure(sample.config, sample.machines, sample.gpus, age)
        write_measurement(sample.config, measured, sample.made)
    return _estimate(config, request, sample, measured)


def kept_estimate(config: RunConfig, request: Request) -> Estimate | None:
    """Forecast a run from a sample that an earlier call has measured; return None if none has. Nothing is computed.

    Args:
        config: config of the run.
        request: what the forecast is about.

    Raises:
        UsageError: as for `make_estimate`.
    """
    sample = _find_sample(config, request, prepares=False)
    return None if sample.measured is None else _estimate(config, request, sample, sample.measured)


def _find_sample(config: RunConfig, request: Request, prepares: bool) -> _Sample:
    """Choose the sample, and look for its measurement.

    Args:
        config: config of the run to forecast.
        request: what the forecast is about.
        prepares: if true, prepare the machines for a sample that is not measured yet. This happens once per
            installation, so it is not part of the costs.
    """
    listing, evaluated = list_photos(config), count_evaluation(config)
    photos = len(listing.photos)
    if not photos:
        raise DatasetError(f"dataset: no photo can be used{first_reason(listing)}")
    # The sample is a flow run, which starts a runner of its own. This one only plans; with Ray, it has a single worker.
    with runner_for(config, writes=False) as runner:
        slots, gpus = runner.slots, _gpus_per_worker(runner)
        own = Machines(runner.gpus(), runner.cores(), len(slots["gpu"]), len(slots["cpu"]))
        _check_gpus(request, own)
        most_workers = max(len(of_kind) for of_kind in slots.values())
        sampled = min(max(request.sample, PHOTOS_PER_WORKER * most_workers), photos)
        sample = resolve_config(sample_config(config, sampled, most_workers))
        made = made_with(sample, slots)
        measured = read_measurement(sample, made)
        if measured is None and prepares:
            for stage in STAGES.values():
                runner.prepare(stage)
    return _Sample(sample, made, measured, own, gpus, slots["gpu"], listing, evaluated)


def _estimate(config: RunConfig, request: Request, sample: _Sample, measured: Measurement) -> Estimate:
    photos = len(sample.listing.photos)
    machines = requested_machines(sample.machines, config.execution, request.gpus, request.cores)
    counted = config if request.photos else _with_kept_count(config, photos)
    training = _training(config, sample.slots, measured, machines)
    work = work_of(counted, request.photos or photos, sample.evaluated, *training)
    return Estimate(config, measured, work, machines, forecast(measured, work, machines), sample.listing.rejects)


def _with_kept_count(config: RunConfig, photos: int) -> RunConfig:
    """Return a config with the number of shards that a run of these photos will have: it keeps that of the last run."""
    if config.execution.shards != "auto":
        return config
    shards = count_shards("auto", photos, last_count(config))
    return config.model_copy(update={"execution": config.execution.model_copy(update={"shards": shards})})


def _check_gpus(request: Request, own: Machines) -> None:
    """Raise ConfigError if the number of GPUs of a request cannot be forecast from a sample on this machine."""
    if request.gpus == 0 and own.gpus:
        raise ConfigError(
            "--gpus 0: this machine runs networks on its GPU, so clipes cannot measure their time on processor cores: "
            "leave out --gpus, or set clip.device=cpu"
        )
    if request.gpus and not own.gpus:
        raise ConfigError(
            f"--gpus {request.gpus}: this machine has no GPU, so clipes cannot measure the time of a photo on one: "
            "leave out --gpus, or estimate on a machine with a GPU"
        )


def _measure(sample: RunConfig, machines: Machines, gpus: Mapping[str, float], age: float) -> Measurement:
    """Run a sample, and return its costs.

    Args:
        sample: config of the sample, with its name resolved.
        machines: the machines that run the sample.
        gpus: name of each stage that runs on GPU workers -> GPUs of a worker.
        age: age of this process when it had loaded the config [s]; `clipes run` needs as long until then.
    """
    begun = time.monotonic()
    load_prefect()
    from clipes.flows.server import provide_server

    with provide_server() as server:  # The server starts while torch is imported.
        from clipes.flows.flow_runs import keep_sigterm_handler
        from clipes.flows.pipeline import LAST_STAGE, pipeline

        flow = keep_sigterm_handler(pipeline)
        summary = server.record(lambda _resumes: flow(sample, LAST_STAGE, True, False, False))
    return measured_costs(sample, summary.metrics, machines, gpus, age + time.monotonic() - begun)


def _gpus_per_worker(runner: Runner) -> dict[str, float]:
    """Return name of each stage that runs on GPU workers -> GPUs of a worker, less than 1 if workers share them."""
    share = runner.gpus() / len(runner.slots["gpu"])
    return {name: share for name, stage in STAGES.items() if runner.workers_for(stage) == "gpu"}


def _training(
    config: RunConfig, slots: Sequence[WorkerSlot], measured: Measurement, machines: Machines
) -> tuple[int, int]:
    """Return the iterations of the training, and the number of processes that train on the machines of the forecast."""
    recipe = training_recipe(config, slots)
    if recipe is None or measured.training is None:
        return 0, 1
    return recipe.iterations, recipe.processes(machines.gpus) if machines.gpus else measured.training.processes
