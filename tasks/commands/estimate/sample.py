"""The sample of a data set that `clipes estimate` measures: its config, its costs, and the file that keeps them."""

import math
import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter, ValidationError

from clipes.tasks.commands.estimate.forecast import Machines, Measurement, StageCost, TrainingCost, Work
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.plan.sharding import count_shards
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.storage.layout import ESTIMATE_FILE
from clipes.tasks.storage.listing import find_file
from clipes.tasks.storage.run_files import RunFiles, read_estimate
from clipes_core.config.run import NAME_LENGTH, RunConfig
from clipes_core.errors import BrokenArtifactError, StageError

SUFFIX = "-estimate"  # of the name of the run that measures a sample
SHARDS_PER_WORKER = 4  # the first one of each worker also loads the network, so the others are timed
PHOTOS_PER_WORKER = 2 * SHARDS_PER_WORKER
MOST_ITERATIONS = 20  # of the sample's training; it is validated twice, because the first validation takes longer
MEASUREMENT = TypeAdapter(Measurement)


def without_placeholders(config: RunConfig) -> RunConfig:
    """Return a config without {date} and {time} in the name of its run, so that later calls find the measurement."""
    # A name begins with a letter or digit.
    return config.model_copy(update={"name": re.sub(r"\{(date|time)\}", "", config.name).strip("-_.") or "run"})


def sample_config(config: RunConfig, photos: int, workers: int) -> RunConfig:
    """Return the config of the run that measures a sample.

    Args:
        config: config of the run to forecast.
        photos: number of photos of the sample.
        workers: number of workers of the kind that has more of them.
    """
    few = min(MOST_ITERATIONS, config.train.iterations or MOST_ITERATIONS)
    half = -(-few // 2)
    every = 0 if config.train.validate_every == 0 else half
    shards = max(1, min(photos // 2, SHARDS_PER_WORKER * workers))
    return config.model_copy(
        update={
            "name": f"{config.name[: NAME_LENGTH - len(SUFFIX)]}{SUFFIX}",
            "dataset": config.dataset.model_copy(update={"sample": photos}),
            # In a small sample, a single bad photo is a larger share than in the run, so no share fails the sample.
            "execution": config.execution.model_copy(update={"shards": shards, "max_failure_rate": 1.0}),
            "train": config.train.model_copy(
                update={"iterations": few, "checkpoint_every": half, "validate_every": every}
            ),
        }
    )


def work_of(config: RunConfig, photos: int, evaluated: int, iterations: int = 0, processes: int = 1) -> Work:
    """Return the amount of work of a run.

    Args:
        config: config of the run.
        photos: number of photos.
        evaluated: number of photos that the segmenter is scored on.
        iterations: number of iterations of the training; 0 without training.
        processes: number of processes that train together.
    """
    train, shards = config.train, count_shards(config.execution.shards, photos)
    if not iterations:
        return Work(photos, shards)
    every = train.validation_interval(iterations)
    validations = math.ceil(iterations / every) if every else 0
    return Work(
        photos=photos,
        shards=shards,
        evaluated=evaluated,
        iterations=iterations,
        validated=validations * min(train.validate_photos, evaluated),
        checkpoints=math.ceil(iterations / train.checkpoint_interval(iterations)),
        processes=processes,
    )


def measured_costs(
    config: RunConfig, metrics: Mapping[str, Any], machines: Machines, gpus: Mapping[str, float], wall_seconds: float
) -> Measurement:
    """Return the costs of a sample that has been run.

    Args:
        config: config of the sample, with its name resolved.
        metrics: content of the sample's metrics.json.
        machines: the machines that ran the sample.
        gpus: name of each stage that ran on GPU workers -> GPUs of a worker: less than 1 if workers share them, and 0
            without a GPU.
        wall_seconds: duration of the whole command [s].

    Raises:
        StageError: no photo of the sample could be used.
        ArtifactError: the files of the sample cannot be read.
    """
    stored: dict[str, int] = {}
    for row in RunFiles(config.store, config.name).read_status():
        found = find_file(row["artifact"]) if row["artifact"] else None
        stored[row["stage"]] = stored.get(row["stage"], 0) + (found.size_bytes if found else 0)
    counts = {
        name: counted for name, counted in metrics["stages"].items() if name in STAGES and STAGES[name].kind.per_photo
    }
    of_photos, of_evaluation = (
        [each["images"] for name, each in counts.items() if STAGES[name].kind.of_evaluation is evaluates]
        for evaluates in (False, True)
    )
    photos, evaluated = max(of_photos, default=0), max(of_evaluation, default=0)
    if not photos:
        raise StageError("no photo of the sample could be used: choose a larger --sample")
    costs = []
    for name, each in counts.items():
        evaluates = STAGES[name].kind.of_evaluation
        if each["seconds_per_row"] is None:
            continue
        share = each["images"] / (evaluated if evaluates else photos)  # of the photos that have a row
        costs.append(
            StageCost(
                stage=name,
                workers="gpu" if name in gpus else "cpu",
                of_evaluation=evaluates,
                seconds=share * each["seconds_per_row"],
                gpu_seconds=gpus.get(name, 0.0) * share * each["seconds_per_row"],
                cpu_seconds=share * each["cpu_seconds_per_row"],
                stored_bytes=share * stored[name] / each["images"],
                peak_memory_mib=each["peak_memory_mib"],
            )
        )
    training = metrics.get("training")
    if training is None:
        work, cost = work_of(config, photos, evaluated), None
    else:
        work = work_of(config, photos, evaluated, training["iterations"], training["processes"])
        cost = _training_cost(training, work, min(config.train.validate_photos, evaluated))
    return Measurement(work, machines, wall_seconds, tuple(costs), cost)


def _training_cost(training: Mapping[str, Any], work: Work, validation: int) -> TrainingCost:
    """Return what a training costs. The first of several validations is left out, because it takes longer.

    Args:
        training: facts about the training.
        work: work of the sample.
        validation: number of photos of each validation.
    """
    photos, seconds = work.validated, training["validation_seconds"]
    if photos > validation:
        photos, seconds = photos - validation, seconds - training["first_validation_seconds"]
    return TrainingCost(
        iteration_seconds=1 / training["iterations_per_second"],
        validation_seconds=seconds / photos if photos else 0.0,
        checkpoint_seconds=training["checkpoint_seconds"] / work.checkpoints,
        processes=training["processes"],
        peak_memory_mib=training["peak_memory_mib"],
    )


def made_with(config: RunConfig, slots: Mapping[str, Sequence[WorkerSlot]]) -> dict[str, Any]:
    """Return what the costs of a sample depend on: its config, the version of clipes, the host and its workers."""
    workers = {kind: [asdict(slot) for slot in own] for kind, own in slots.items()}
    return {
        "config": config.model_dump(mode="json"),
        "version": version("clipes"),
        "host": socket.gethostname(),
        "workers": workers,
    }


def read_measurement(config: RunConfig, expected: Mapping[str, Any]) -> Measurement | None:
    """Return the costs of a sample that an earlier call has measured; None if there are none.

    Args:
        config: config of the sample, with its name resolved.
        expected: what the costs must have been measured with, as `made_with` returns it.
    """
    with suppress(BrokenArtifactError, ValidationError):  # the sample is then measured again
        kept = read_estimate(RunFiles(config.store, config.name))
        if kept is not None and kept["made_with"] == expected:
            return MEASUREMENT.validate_python(kept["measurement"])
    return None


def write_measurement(config: RunConfig, measured: Measurement, made: Mapping[str, Any]) -> None:
    """Write the costs of a sample to the folder of its run, so that later calls need not measure it again."""
    kept = {"made_with": dict(made), "measurement": MEASUREMENT.dump_python(measured, mode="json")}
    RunFiles(config.store, config.name).write_json(ESTIMATE_FILE, kept)
