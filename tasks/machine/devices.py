"""The devices of this host that run networks, their numerical precision, and their largest batches.

Importing torch takes seconds, so only the functions that need torch import it.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from clipes.tasks.machine.memory_budget import available_bytes
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes_core.config.execution import ExecutionConfig
from clipes_core.config.pseudo_masks import ClipConfig, CrfConfig
from clipes_core.config.segmenter import TrainConfig
from clipes_core.errors import ConfigError

ENOUGH_CPU_WORKERS = 8  # per GPU worker: with this many, the CRF keeps up with the CAMs
WORKER_BYTES = 3 << 30  # with ViT-B/16 and photos of 1024x768, a CPU worker was measured to need 2.7 GB
TOKENS_PER_GIB = 2048  # patch tokens per GiB of free GPU memory; a 500x375 photo has 768 tokens at patch size 16
# Files in /dev of the drivers of NVIDIA, also on Jetson and on Windows (WSL), and of AMD.
GPU_FILES = ("nvidia*", "nvhost*", "nvgpu*", "nvmap", "dxg", "kfd")
GPU_LIBRARIES = ("libcuda.so.1", "libnvidia-ml.so.1", "libamdhip64.so")


def gpu_slots(clip: ClipConfig, execution: ExecutionConfig) -> tuple[WorkerSlot, ...]:
    """Return the slots (device and threads) of the GPU workers, which run networks.

    If `gpu_workers` is auto, each GPU has one worker. Without a GPU, each core has one worker with one thread, but
    there are no more workers than the free memory allows. Such workers compute more photos per second than one worker
    with several threads. The number of threads decides the last bit of the results. Without a GPU, it is therefore
    always 1, even if the free memory differs between two runs. If `gpu_workers` is a number, that many workers share
    the devices and cores.

    Raises:
        ConfigError: this host does not have the device that `clip.device` names.
    """
    devices = available_devices(clip.device)
    if execution.gpu_workers == "auto" and devices == ("cpu",):
        return (WorkerSlot("cpu", 1),) * max(1, min(cores(), available_bytes() // WORKER_BYTES))
    count = len(devices) if execution.gpu_workers == "auto" else execution.gpu_workers
    threads = max(1, cores() // count)
    return tuple(WorkerSlot(devices[index % len(devices)], threads) for index in range(count))


def cpu_slots(execution: ExecutionConfig) -> tuple[WorkerSlot, ...]:
    """Return the slots (device and threads) of the CPU workers, which run the stages without networks.

    If `cpu_workers` is auto, each processor core has one worker. Otherwise, there are `cpu_workers` workers. Each
    worker has one thread.
    """
    count = cores() if execution.cpu_workers == "auto" else execution.cpu_workers
    return (WorkerSlot("cpu", 1),) * count


def measured_gpu_memory(slot: WorkerSlot) -> Callable[[], int | None]:
    """Start to measure the memory of the tensors on a worker's GPU.

    Returns:
        A function that returns the peak since now [MiB]; None if the worker has no CUDA GPU.
    """
    if not slot.on_cuda:
        return lambda: None
    import torch

    if not torch.cuda.is_available():
        return lambda: None
    torch.cuda.init()
    torch.cuda.reset_peak_memory_stats(slot.device)
    return lambda: torch.cuda.max_memory_allocated(slot.device) >> 20


def available_devices(device: str, key: str = "clip.device") -> tuple[str, ...]:
    """Return the devices that a setting stands for.

    `auto` stands for all CUDA GPUs. Without a CUDA GPU, it stands for mps if that is available, otherwise for cpu.

    Args:
        device: value of the setting: auto, cpu, cuda, cuda:N or mps.
        key: key of the setting, for the error message.

    Raises:
        ConfigError: this host does not have the device.
    """
    if device == "cpu":
        return ("cpu",)
    gpus, mps = _accelerators()
    known = {"cuda": gpus, "mps": mps}
    if device == "auto":
        return gpus or mps or ("cpu",)
    found = known.get(device, tuple(gpu for gpu in gpus if gpu == device))
    if not found:
        raise ConfigError(
            f"{key}: this host has no {device}; set {key} to one of {', '.join(('auto', 'cpu', *gpus, *mps))}"
        )
    return found


def _accelerators() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the CUDA GPUs and the MPS device that torch can use. Ask torch only if this host may have one of them."""
    if lacks_accelerator():
        return (), ()
    import torch

    gpus = tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    return gpus, ("mps",) if torch.backends.mps.is_available() else ()


def lacks_accelerator() -> bool:
    """Return True if torch surely finds no accelerator on this host; False if it may find one.

    A GPU needs a driver, which provides device files and libraries. torch itself looks for these libraries. MPS exists
    only on macOS.
    """
    return (
        sys.platform == "linux"
        and not any(any(Path("/dev").glob(pattern)) for pattern in GPU_FILES)
        and not any(map(_can_be_loaded, GPU_LIBRARIES))
    )


def _can_be_loaded(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def clip_precision(clip: ClipConfig, slots: Sequence[WorkerSlot]) -> str:
    """Return the numerical precision of CLIP's image network.

    `auto` stands for fp16 on CUDA devices, as in the published program of CLIP-ES, and for fp32 on other devices.

    Args:
        clip: settings of CLIP.
        slots: slots of the GPU workers, which run networks.

    Raises:
        ConfigError: `auto` stands for different precisions on different workers.
    """
    return clip.precision if clip.precision != "auto" else _native_precision(slots, "clip.precision")


def training_precision(train: TrainConfig, slots: Sequence[WorkerSlot]) -> str:
    """Return the numerical precision of the training.

    `auto` stands for fp16 with loss scaling on CUDA devices, and for fp32 on other devices.

    Args:
        train: settings of the training.
        slots: slots of the workers that train.

    Raises:
        ConfigError: `train.precision` is fp16, but a worker has no CUDA device. Or `train.precision` is auto, and
            stands for different precisions on different workers.
    """
    if train.precision == "fp16" and not all(slot.on_cuda for slot in slots):
        raise ConfigError("train.precision is fp16, which needs a CUDA device; set it to bf16, fp32 or auto")
    return train.precision if train.precision != "auto" else _native_precision(slots, "train.precision")


def crf_workers(crf: CrfConfig, devices: Mapping[str, Sequence[str]]) -> Literal["gpu", "cpu"]:
    """Return the kind of worker that computes the CRF of the pseudo masks.

    `auto` stands for the GPU workers if all of them use CUDA, the backend supports devices, and there are fewer than
    ENOUGH_CPU_WORKERS CPU workers per GPU worker. Otherwise it stands for the CPU workers. A GPU computes the CRF much
    faster than a processor core does, but a GPU worker also computes CAMs, and cannot do both at once. CPU
    workers compute the CRF while the GPU workers compute the CAMs, so they are better if there are enough of them.

    Args:
        crf: settings of the CRF.
        devices: kind of worker (gpu, cpu) -> device of each worker.
    """
    if not crf.enabled or crf.device == "cpu":
        return "cpu"
    on_cuda = all(device.startswith("cuda") for device in devices["gpu"])
    few = len(devices["cpu"]) < ENOUGH_CPU_WORKERS * len(devices["gpu"])
    return "gpu" if crf.device == "cuda" or (crf.runs_on_devices and on_cuda and few) else "cpu"


def check_crf_device(crf: CrfConfig, slots: Sequence[WorkerSlot]) -> None:
    """Check that `crf.device` suits the GPU workers.

    Args:
        crf: settings of the CRF.
        slots: slots of the GPU workers.

    Raises:
        ConfigError: `crf.device` is cuda, but a GPU worker has no CUDA device.
    """
    others = sorted({slot.device for slot in slots if not slot.on_cuda})
    if crf.device == "cuda" and others:
        raise ConfigError(
            f"crf.device is cuda, but clip.device stands for {', '.join(others)} on this host; set crf.device to auto "
            "or cpu"
        )


def training_threads(slot: WorkerSlot, processes: int) -> int:
    """Return the number of threads of a process that trains together with others.

    On a CPU, the processes share all cores, because all other workers are idle during a training.

    Args:
        slot: slot of the process.
        processes: number of processes that train.
    """
    return max(1, cores() // processes) if slot.device == "cpu" else slot.threads


def token_budget(device: str) -> int:
    """Return the largest number of patch tokens that a batch may have on a device.

    On devices other than CUDA GPUs, larger batches are slower. The result is 1 there, so each batch has one photo.
    """
    if not device.startswith("cuda"):
        return 1
    import torch

    free, _ = torch.cuda.mem_get_info(torch.device(device))
    reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch holds it for later
    return max(1, int(TOKENS_PER_GIB * (free + reusable) / 2**30))


def _native_precision(slots: Sequence[WorkerSlot], key: str) -> str:
    found = {"fp16" if slot.on_cuda else "fp32" for slot in slots}
    if len(found) > 1:
        raise ConfigError(
            f"{key}: auto stands for fp16 on CUDA devices and for fp32 on other devices, and the workers have both "
            f"kinds: {', '.join(sorted({slot.device for slot in slots}))}; set {key} to fp16 or fp32"
        )
    return found.pop()


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
