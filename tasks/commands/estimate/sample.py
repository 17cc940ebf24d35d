"""The sample of a data set that `clipes estimate` measures: its config, and its costs."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from clipes.tasks.commands.estimate.forecast import Machines, Measurement, StageCost, TrainingCost, Work
from clipes.tasks.plan.sharding import count_shards
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.storage.listing import find_file
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.config.run import NAME_LENGTH, RunConfig
from clipes_core.errors import StageError

SUFFIX = "-estimate"  # of the name of the run that measures a sample
SHARDS_PER_WORKER = 4  # the first one of each worker also loads the network, so the others are timed
PHOTOS_PER_WORKER = 2 * SHARDS_PER_WORKER
MOST_ITERATIONS = 20  # of the sample's training; it is validated twice, because the first validation takes longer


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
    stored = _stored_bytes(RunFiles(config.store, config.name))
    counts = {
        name: counted for name, counted in metrics["stages"].items() if name in STAGES and STAGES[name].kind.per_photo
    }
    photos, evaluated = (_most_photos(counts, of_evaluation) for of_evaluation in (False, True))
    if not photos:
        raise StageError("no photo of the sample could be used: choose a larger --sample")
    costs = tuple(
        _stage_cost(
            name, counted, evaluated if STAGES[name].kind.of_evaluation else photos, gpus.get(name), stored[name]
        )
        for name, counted in counts.items()
        if counted["seconds_per_row"] is not None
    )
    training = metrics.get("training")
    if training is None:
        work, cost = work_of(config, photos, evaluated), None
    else:
        work = work_of(config, photos, evaluated, training["iterations"], training["processes"])
        cost = _training_cost(training, work, min(config.train.validate_photos, evaluated))
    return Measurement(work, machines, wall_seconds, costs, cost)


def _stored_bytes(files: RunFiles) -> Counter[str]:
    """Return name of each stage -> size of its artifacts [bytes]."""
    stored = Counter[str]()
    for row in files.read_status():
        found = find_file(row["artifact"]) if row["artifact"] else None
        stored[row["stage"]] += found.size_bytes if found else 0
    return stored


def _most_photos(counts: Mapping[str, Mapping[str, Any]], of_evaluation: bool) -> int:
    """Return the largest number of photos of a stage; of the stages that score the segmenter, if `of_evaluation`."""
    own = (counted["images"] for name, counted in counts.items() if STAGES[name].kind.of_evaluation is of_evaluation)
    return max(own, default=0)


def _stage_cost(name: str, counted: Mapping[str, Any], photos: int, gpus: float | None, stored_bytes: int) -> StageCost:
    """Return what a stage costs for each photo of the sample, including those without a row in this stage.

    Args:
        name: name of the stage.
        counted: entry of the stage in metrics.json.
        photos: number of photos of the sample, or of its evaluation.
        gpus: GPUs of a worker; None if the stage did not run on GPU workers.
        stored_bytes: size of the artifacts of the stage.
    """
    share = counted["images"] / photos
    return StageCost(
        stage=name,
        workers="cpu" if gpus is None else "gpu",
        of_evaluation=STAGES[name].kind.of_evaluation,
        seconds=share * counted["seconds_per_row"],
        gpu_seconds=(gpus or 0.0) * share * counted["seconds_per_row"],
        cpu_seconds=share * counted["cpu_seconds_per_row"],
        stored_bytes=share * stored_bytes / counted["images"],
        peak_memory_mib=counted["peak_memory_mib"],
    )


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
