"""One process of a training: builds the network, goes on from the newest checkpoint, trains, writes the segmenter."""

import clipes_core.segmentation  # noqa: F401 - registers modules; first, for it quietens MMSegmentation

# isort: split

import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner
from mmseg.models.segmentors import BaseSegmentor
from torch import distributed, nn
from torch.utils.data import DataLoader

from clipes.tasks.machine.worker import Worker, current_worker
from clipes.tasks.models.segmenter_file import save_segmenter
from clipes.tasks.storage.filesystem import first_line
from clipes.tasks.storage.layout import weights_uri
from clipes.tasks.storage.weights import describe_weights
from clipes.tasks.training.building import from_recipe, network, registered
from clipes.tasks.training.data.cached_files import CachedFiles
from clipes.tasks.training.data.dataset import PseudoMaskDataset
from clipes.tasks.training.data.loader import LoadedHook, training_loader
from clipes.tasks.training.data.reads import Reads, ReadsHook
from clipes.tasks.training.data.training_set import TrainingSet
from clipes.tasks.training.hooks.checkpoints import CheckpointFolder, CheckpointHook, unwrapped
from clipes.tasks.training.hooks.clock import Clock, ClockHook
from clipes.tasks.training.hooks.curve import Curve, CurveHook
from clipes.tasks.training.hooks.randomness import RandomnessHook, seed_all
from clipes.tasks.training.hooks.validation import ValidationHook
from clipes.tasks.training.job import Trained, TrainingJob
from clipes_core.errors import StageError
from clipes_core.segmentation import ConfidenceHook

MIB = 1 << 20


def train(job: TrainingJob, rank: int) -> Trained | None:
    """Train a segmenter, together with the other processes of the job; the first one writes the network.

    Args:
        job: what to train, and on what.
        rank: which process this is, from 0.

    Raises:
        ConfigError: the network cannot be built from the recipe.
        WeightsError: the initial weights are of another network.
        StageError: the loss is no number, or runs away; too many photos cannot be used; the GPU has too little memory.
        PhotoError: a hundred photos in a row cannot be used.
        ArtifactError: a mask cannot be read.
        StorageError: the store refuses.
        TransientError: it does not answer.
    """
    worker = current_worker()
    torch.set_num_threads(worker.slot.threads)
    if worker.slot.device.startswith("cuda"):
        torch.cuda.set_device(worker.slot.device)
    warnings.filterwarnings("ignore", message="Detected call of `scheduler.step")  # so it is while gradients add up
    try:
        with _met(job, rank), registered(job.recipe), tempfile.TemporaryDirectory(prefix="clipes-training-") as folder:
            return _Training(job, rank, worker).run(folder)
    except torch.OutOfMemoryError as exc:
        raise StageError(
            f"the training ran out of GPU memory ({first_line(exc)}): smaller crops or a smaller batch in "
            "train.mmseg_config, with more accumulative_counts, or train.precision=bf16"
        ) from exc


class _Runner(Runner):
    """MMEngine's, with the model where it was put: that of MMEngine takes any GPU that it finds."""

    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> nn.Module:
        return model

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        with from_recipe("optim_wrapper"):
            return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        with from_recipe("param_scheduler"):
            return super().build_param_scheduler(scheduler)

    def register_custom_hooks(self, hooks: Any) -> None:
        with from_recipe("custom_hooks"):
            super().register_custom_hooks(hooks)


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """Trains in bfloat16 where torch's autocast does, on any device; its range needs no scaling of the loss."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Any:
        """The forward pass within is in mixed precision."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield


OF_PRECISION: Mapping[str, Mapping[str, Any]] = {
    "fp32": {"type": "OptimWrapper"},
    "bf16": {"type": "Bf16OptimWrapper"},
    "fp16": {"type": "AmpOptimWrapper", "dtype": "float16", "loss_scale": "dynamic"},
}


class _Training:
    def __init__(self, job: TrainingJob, rank: int, worker: Worker) -> None:
        self._job, self._rank, self._worker = job, rank, worker
        self._curve, self._clock, self._reads = Curve(), Clock(), Reads()
        self._photos = TrainingSet.of_photos(job.photos, job.mask_uris, job.vocabulary, job.config.dataset.exif)

    def run(self, folder: str) -> Trained | None:
        job, recipe = self._job, self._job.recipe
        seed_all(recipe.seed)
        runner = _Runner(
            model=self._wrapped(network(job.recipe)),
            work_dir=folder,
            train_dataloader=self._loader(),
            train_cfg={"type": "IterBasedTrainLoop", "max_iters": recipe.iterations},
            optim_wrapper={**recipe.optim_wrapper, **OF_PRECISION[recipe.precision]},
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
        job, first = self._job, self._rank == 0
        counters = self._worker.counters if first else None
        iterations, half = job.recipe.iterations, job.recipe.precision == "fp16"
        folder = CheckpointFolder(job.checkpoints, job.config.train.keep_checkpoints)
        hooks = [
            ClockHook(self._clock),
            LoadedHook(),
            RandomnessHook(job.recipe.seed, self._rank),
            ReadsHook(self._reads, len(self._photos), job.config.execution.max_failure_rate),
            ConfidenceHook(),
            CurveHook(self._curve, counters, iterations, half, (job.checkpoint_every, job.validate_every)),
            CheckpointHook(folder, job.checkpoint_every, self._curve, self._clock, writes=first),
        ]
        if first and job.validate_every:
            known = 1 + len(job.vocabulary.classes)
            scored = (job.validation, job.config.dataset, job.validate_every, known, self._curve, self._clock)
            hooks.append(ValidationHook(*scored))
        return hooks

    def _loader(self) -> DataLoader[Any]:
        job = self._job
        with from_recipe("train_pipeline"):
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
        """Write the network, and return what the artifact states of it."""
        job = self._job
        names = [entry.name for entry in job.vocabulary.classes]
        state = unwrapped(runner).state_dict()
        save_segmenter(weights_uri(job.uri), job.recipe.model, state, names, job.vocabulary.palette)
        return Trained(self._curve.plain(), self._facts(unwrapped(runner)), describe_weights(job.uri))

    def _facts(self, model: nn.Module) -> dict[str, Any]:
        """What the artifact and metrics.json say of the training."""
        job, clock, device = self._job, self._clock, self._worker.slot.device
        kept = [point.kept_fraction for point in self._curve.points]
        gpu = torch.cuda.max_memory_allocated() // MIB if device.startswith("cuda") else None
        return {
            "iterations": job.recipe.iterations,
            "resumed_at": job.recipe.iterations - clock.steps,
            "photos": len(self._photos),
            "photos_without_mask": self._photos.left_out,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "precision": job.recipe.precision,
            "processes": job.processes,
            "device": device.partition(":")[0],
            "iterations_per_second": clock.steps / (clock.seconds + clock.waited) if clock.steps else None,
            "waited_seconds": clock.waited,
            "peak_memory_mib": self._worker.peak_memory_mib,
            "peak_gpu_memory_mib": gpu,
            "kept_fraction": sum(kept) / len(kept),
            "best_miou": self._curve.best_miou,
            "best_iteration": self._curve.best_iteration,
            "reads": self._reads.plain(),
        }


@contextmanager
def _met(job: TrainingJob, rank: int) -> Iterator[None]:
    """The processes of the job in one group, for the block."""
    if job.processes == 1:
        yield
        return
    cuda = current_worker().slot.device.startswith("cuda")
    distributed.init_process_group(
        "nccl" if cuda else "gloo",
        init_method=f"file://{job.meeting}",
        rank=rank,
        world_size=job.processes,
        timeout=timedelta(seconds=job.config.execution.shard_timeout_s),
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()
