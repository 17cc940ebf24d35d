"""Run one process of a training run: build the network, resume from a checkpoint, train, and write the segmenter."""

import clipes_core.segmentation  # noqa: F401 - registers modules; first, because it hides MMSegmentation's warnings

# isort: split

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.runner import Runner
from mmseg.models.segmentors import BaseSegmentor
from torch import distributed, nn
from torch.utils.data import DataLoader

from clipes.tasks.machine.devices import training_threads
from clipes.tasks.machine.worker_state import Worker, current_worker
from clipes.tasks.models.segmenter_file import save_segmenter
from clipes.tasks.plan.keys import validation_digest
from clipes.tasks.storage.checksums.weights import describe_weights
from clipes.tasks.storage.filesystem import first_line
from clipes.tasks.storage.layout import weights_uri
from clipes.tasks.training.building import build_network, register_modules, translate_recipe_errors
from clipes.tasks.training.data.cached_files import CachedFiles
from clipes.tasks.training.data.dataset import PseudoMaskDataset
from clipes.tasks.training.data.loader import LoadErrorHook, training_loader
from clipes.tasks.training.data.read_counts import ReadCounts
from clipes.tasks.training.data.training_set import TrainingSet
from clipes.tasks.training.hooks.checkpoints import CheckpointFolder, CheckpointHook, unwrapped_model
from clipes.tasks.training.hooks.clock import Clock, ClockHook
from clipes.tasks.training.hooks.curve import Curve, CurveHook
from clipes.tasks.training.hooks.randomness import RandomnessHook, seed_all
from clipes.tasks.training.hooks.unusable_photos import UnusablePhotosHook
from clipes.tasks.training.hooks.validation import ValidationHook
from clipes.tasks.training.job import Trained, TrainingJob
from clipes.tasks.training.mmengine_runner import OPTIM_WRAPPER_OF_PRECISION, TrainingRunner
from clipes_core.errors import StageError
from clipes_core.finite import is_finite
from clipes_core.segmentation import ConfidenceHook

MIB = 1 << 20


def train(job: TrainingJob, rank: int) -> Trained | None:
    """Train a segmenter together with the job's other processes. The process with rank 0 writes the trained network.

    Args:
        job: recipe, photos and settings of the training.
        rank: rank of this process among the job's processes, starting at 0.

    Returns:
        The result of the training in the process with rank 0; None in the other processes.

    Raises:
        ConfigError: a part of the recipe cannot be built.
        WeightsError: the initial weights cannot be loaded, or belong to a different network.
        DatasetError: no photo has a pseudo mask.
        StageError: the loss or the trained network is not finite, the loss grows too much, too many photos are
            unusable, or the GPU has too little memory.
        PhotoError: 100 photos in a row are unusable, or all photos if there are fewer than 100.
        ArtifactError: a mask cannot be read.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    worker = current_worker()
    torch.set_num_threads(training_threads(worker.slot, job.processes))
    if worker.slot.device.startswith("cuda"):
        torch.cuda.set_device(worker.slot.device)
    warnings.filterwarnings("ignore", message="Detected call of `scheduler.step")  # expected while gradients accumulate
    try:
        with _process_group(job, rank), register_modules(job.recipe), _work_folder() as folder:
            return _Training(job, rank, worker).run(folder)
    except torch.OutOfMemoryError as exc:
        raise StageError(
            f"the training ran out of GPU memory ({first_line(exc)}): either set train.precision=bf16, or set smaller "
            "crops in the MMSegmentation config, or combine a smaller batch with a higher accumulative_counts there"
        ) from exc


class _Training:
    def __init__(self, job: TrainingJob, rank: int, worker: Worker) -> None:
        self._job, self._rank, self._worker = job, rank, worker
        self._curve = Curve(validation=validation_digest(job.validation))
        self._clock, self._reads = Clock(), ReadCounts()
        self._photos = TrainingSet.of_manifest(job.files, job.mask_uris, job.vocabulary, job.config.dataset.exif)

    def run(self, folder: str) -> Trained | None:
        job, recipe = self._job, self._job.recipe
        seed_all(recipe.seed)
        runner = TrainingRunner(
            model=self._wrapped(build_network(job.recipe)),
            work_dir=folder,
            train_dataloader=self._loader(),
            train_cfg={"type": "IterBasedTrainLoop", "max_iters": recipe.iterations},
            optim_wrapper={**recipe.optim_wrapper, **OPTIM_WRAPPER_OF_PRECISION[recipe.precision]},
            param_scheduler=[dict(each) for each in recipe.param_scheduler],
            default_hooks={"logger": None, "checkpoint": None, "sampler_seed": None, "timer": None},
            custom_hooks=[*map(dict, recipe.hooks), *self._hooks()],
            randomness={"seed": recipe.seed},
            launcher="pytorch" if job.processes > 1 else "none",
            log_level="ERROR",
            env_cfg={"mp_cfg": {"mp_start_method": "spawn", "opencv_num_threads": 0}},
            default_scope="mmseg",
            experiment_name=f"{job.key.content_key}-{time.monotonic_ns()}",
        )
        runner.train()
        return self._trained(runner) if self._rank == 0 else None

    def _hooks(self) -> list[Hook]:
        job, first, limits = self._job, self._rank == 0, self._job.config.execution
        iterations, half = job.recipe.iterations, job.recipe.precision == "fp16"
        intervals = (job.checkpoint_every, job.validate_every)
        folder = CheckpointFolder(job.checkpoints, job.config.train.keep_checkpoints, job.training)
        hooks = [
            ClockHook(self._clock),
            LoadErrorHook(),
            RandomnessHook(job.recipe.seed, self._rank),
            UnusablePhotosHook(self._reads, len(self._photos), limits.max_failure_rate, limits.tolerated_failures),
            ConfidenceHook(),
            CurveHook(self._curve, self._iteration_counter(), iterations, half, intervals),
            CheckpointHook(folder, job.checkpoint_every, self._curve, self._clock, writes=first),
        ]
        if first and job.validate_every:
            hooks.append(
                ValidationHook(
                    photos=job.validation,
                    dataset=job.config.dataset,
                    every=job.validate_every,
                    num_classes=1 + len(job.vocabulary.classes),
                    curve=self._curve,
                    clock=self._clock,
                    memory_mib=job.config.execution.decode_memory_mib,
                )
            )
        return hooks

    def _iteration_counter(self) -> Callable[[int], None]:
        """Return the function that counts iterations for the progress display.

        All processes do the same iterations, so only the process with rank 0 counts. In any other process, the function
        does nothing.
        """
        return partial(self._worker.counters.add, self._job.key.stage) if self._rank == 0 else _count_nothing

    def _loader(self) -> DataLoader[Any]:
        job = self._job
        with translate_recipe_errors("train_pipeline"):
            dataset = PseudoMaskDataset(
                self._photos,
                pipeline=[dict(each) for each in job.recipe.pipeline],
                seed=job.recipe.seed,
                ignore_below=job.recipe.ignore_below,
                cache=CachedFiles(size_gb=job.config.execution.cache_gb),
            )
        batch_size = job.recipe.batch_size // job.processes
        return training_loader(dataset, batch_size, self._worker.slot, job.config.execution.loader_workers)

    def _wrapped(self, model: BaseSegmentor) -> nn.Module:
        device = self._worker.slot.device
        if self._job.processes == 1 or device == "cpu":
            model = revert_sync_batchnorm(model)
        model.to(device)
        if self._job.processes == 1:
            return model
        return MMDistributedDataParallel(model, device_ids=None if device == "cpu" else [device])

    def _trained(self, runner: Runner) -> Trained:
        """Write the trained network next to the artifact, and return the result of the training."""
        job = self._job
        names = [entry.name for entry in job.vocabulary.classes]
        model = unwrapped_model(runner)
        if not all(map(is_finite, model.state_dict().values())):  # also the statistics of batch norm
            raise StageError("the trained network contains NaN or infinity: set train.precision=fp32, or a lower rate")
        save_segmenter(weights_uri(job.uri), job.recipe.model, model.state_dict(), names, job.vocabulary.palette)
        return Trained(self._curve.plain(), self._facts(model), describe_weights(job.uri))

    def _facts(self, model: nn.Module) -> dict[str, Any]:
        """Return statistics of the training for the artifact's footer and metrics.json."""
        job, clock, device = self._job, self._clock, self._worker.slot.device
        kept = [point.kept_fraction for point in self._curve.points]
        gpu = torch.cuda.max_memory_allocated() // MIB if device.startswith("cuda") else None
        return {
            "iterations": job.recipe.iterations,
            "resumed_at": job.recipe.iterations - clock.iterations,
            "photos": len(self._photos),
            "photos_without_mask": self._photos.left_out,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "precision": job.recipe.precision,
            "processes": job.processes,
            "device": device.partition(":")[0],
            "iterations_per_second": clock.iterations_per_second,
            "waited_seconds": clock.waited,
            "validation_seconds": sum(clock.validations),
            "first_validation_seconds": sum(clock.validations[:1]),
            "checkpoint_seconds": sum(clock.writes),
            "peak_memory_mib": self._worker.peak_memory_mib,
            "peak_gpu_memory_mib": gpu,
            "kept_fraction": sum(kept) / len(kept),
            "best_miou": self._curve.best_miou,
            "best_iteration": self._curve.best_iteration,
            "validation": self._curve.validation,
            "reads": self._reads.plain(),
        }


@contextmanager
def _process_group(job: TrainingJob, rank: int) -> Iterator[None]:
    """During the block, join the job's torch.distributed process group, unless the job has only one process."""
    if job.processes == 1:
        yield
        return
    cuda = current_worker().slot.device.startswith("cuda")
    distributed.init_process_group(
        "nccl" if cuda else "gloo",
        init_method=job.rendezvous_url,
        rank=rank,
        world_size=job.processes,
        timeout=timedelta(seconds=job.config.execution.shard_timeout_s),
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _work_folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="clipes-training-")


def _count_nothing(_iterations: int) -> None:
    """Do nothing, because the process with rank 0 counts the iterations."""
