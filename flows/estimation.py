"""The command `estimate`: run a sample of a data set with the pipeline, and forecast the whole run."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from clipes.flows.exit_codes import explain_resume
from clipes.tasks.commands.estimate.forecast import Forecast, Machines, Measurement, Work, forecast
from clipes.tasks.commands.estimate.sample import (
    PHOTOS_PER_WORKER,
    made_with,
    measured_costs,
    read_measurement,
    sample_config,
    work_of,
    write_measurement,
)
from clipes.tasks.execution.runner import Runner, runner_for
from clipes.tasks.inputs.configs import resolve_config
from clipes.tasks.machine.prefect_server import load_prefect
from clipes.tasks.machine.processes import seconds_since_start
from clipes.tasks.runs.preparation import count_evaluation, count_iterations, list_photos
from clipes.tasks.stages.registry import STAGES
from clipes_core.config.run import RunConfig
from clipes_core.errors import ConfigError


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
    """A forecast, and what it is made from."""

    config: RunConfig
    measured: Measurement
    work: Work
    machines: Machines
    forecast: Forecast


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
    with runner_for(config) as runner:
        slots = runner.slots
        own, on_gpu = _machines(runner), _stages_on_gpu(runner)
    if request.gpus == 0 and on_gpu:
        raise ConfigError(
            "--gpus 0: this machine runs networks on its GPU, so clipes cannot measure their time on processor cores: "
            "leave out --gpus, or set clip.device=cpu"
        )
    if request.gpus and not own.gpus:
        raise ConfigError(
            f"--gpus {request.gpus}: this machine has no GPU, so clipes cannot measure the time of a photo on one: "
            "leave out --gpus, or estimate on a machine with a GPU"
        )
    photos, evaluated = len(list_photos(config).photos), count_evaluation(config)
    most_workers = max(len(of_kind) for of_kind in slots.values())
    sampled = min(max(request.sample, PHOTOS_PER_WORKER * most_workers), photos)
    sample = resolve_config(sample_config(config, sampled, most_workers))
    made = made_with(sample, slots)
    measured = read_measurement(sample, made)
    if measured is None:
        with runner_for(config) as runner:  # what happens once per installation is not part of the costs
            for stage in STAGES.values():
                runner.prepare(stage)
        measured = _measure(sample, own, on_gpu, age)
        write_measurement(sample, measured, made)
    work = work_of(config, request.photos or photos, evaluated, count_iterations(config, slots["gpu"]))
    machines = Machines(own.gpus if request.gpus is None else request.gpus, request.cores or own.cores)
    return Estimate(config, measured, work, machines, forecast(measured, work, machines))


def _measure(sample: RunConfig, machines: Machines, on_gpu: Sequence[str], age: float) -> Measurement:
    """Run a sample, and return its costs.

    Args:
        sample: config of the sample, with its name resolved.
        machines: the machines that run the sample.
        on_gpu: names of the stages that run on GPUs.
        age: age of this process when it had loaded the config [s]; `clipes run` needs as long until then.
    """
    begun = time.monotonic()
    load_prefect()
    from clipes.flows.server import provide_server

    with provide_server() as server, explain_resume():  # The server starts while torch is imported.
        from clipes.flows.flow_runs import keep_sigterm_handler
        from clipes.flows.pipeline import LAST_STAGE, pipeline

        flow = keep_sigterm_handler(pipeline)
        summary = server.record(lambda resumes: flow(sample, LAST_STAGE, not resumes, False, False))
    return measured_costs(sample, summary.metrics, machines, on_gpu, age + time.monotonic() - begun)


def _machines(runner: Runner) -> Machines:
    networks = runner.slots["gpu"]
    gpus = sum(slot.device != "cpu" for slot in networks)
    threads = 0 if gpus else sum(slot.threads for slot in networks)
    return Machines(gpus, max(threads, len(runner.slots["cpu"])))


def _stages_on_gpu(runner: Runner) -> tuple[str, ...]:
    """Return the names of the stages whose workers have a GPU."""
    gpu = any(slot.device != "cpu" for slot in runner.slots["gpu"])
    return tuple(name for name, stage in STAGES.items() if gpu and runner.workers_for(stage) == "gpu")
