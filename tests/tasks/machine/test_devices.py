import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clipes.tasks.machine import devices
from clipes.tasks.machine.devices import (
    available_devices,
    check_crf_device,
    clip_precision,
    cores,
    cpu_slots,
    crf_workers,
    gpu_slots,
    lacks_accelerator,
    token_budget,
    training_precision,
    training_threads,
)
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes_core.config.execution import ExecutionConfig
from clipes_core.config.pseudo_masks import ClipConfig, CrfConfig
from clipes_core.config.segmenter import TrainConfig
from clipes_core.errors import ConfigError

CPU = ClipConfig(device="cpu")
ON_CPU, ON_CUDA = [WorkerSlot("cpu", 2)], [WorkerSlot("cuda:0", 2)]
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
with_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_importing_this_module_does_not_import_torch():
    program = "import sys, clipes.tasks.machine.devices as devices; devices.cores(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_torch_finds_no_accelerator_if_the_host_lacks_one():
    if lacks_accelerator():
        assert (torch.cuda.device_count(), torch.backends.mps.is_available()) == (0, False)
    else:
        assert torch.cuda.is_available() or torch.backends.mps.is_available() or driver_is_installed()


def driver_is_installed():
    """Return whether the host has a driver, although torch cannot use a GPU with it."""
    return bool(list(Path("/dev").glob("nv*"))) or bool(shutil.which("nvidia-smi"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("GPU_FILES", ("none*", "nul*")), ("GPU_LIBRARIES", ("libnone.so", "libc.so.6"))],
)
def test_a_host_with_a_driver_may_have_an_accelerator(monkeypatch, name, value):
    monkeypatch.setattr(devices, "GPU_FILES", ())
    monkeypatch.setattr(devices, "GPU_LIBRARIES", ())
    assert lacks_accelerator() == (sys.platform == "linux")
    monkeypatch.setattr(devices, name, value)
    assert not lacks_accelerator()


def test_only_cores_available_to_this_process_are_counted():
    assert cores() == len(os.sched_getaffinity(0)) >= 1


def test_masks_have_one_worker_with_one_thread_per_core():
    assert cpu_slots(ExecutionConfig()) == (WorkerSlot("cpu", 1),) * cores()


def test_the_config_may_set_the_number_of_mask_workers():
    assert cpu_slots(ExecutionConfig(cpu_workers=5)) == (WorkerSlot("cpu", 1),) * 5


@pytest.mark.parametrize(
    ("gib", "expected"),
    [(100, 8), (16, 5), (9, 3), (3, 1), (1, 1)],
)
def test_cams_on_the_cpu_have_a_worker_with_one_thread_per_core_if_the_memory_suffices(monkeypatch, gib, expected):
    monkeypatch.setattr("clipes.tasks.machine.devices.cores", lambda: 8)
    monkeypatch.setattr("clipes.tasks.machine.devices.available_bytes", lambda: gib << 30)
    assert gpu_slots(CPU, ExecutionConfig()) == (WorkerSlot("cpu", 1),) * expected


@pytest.mark.parametrize("workers", [1, 2, 3, 1000])
def test_workers_for_cams_share_the_cores(workers):
    slots = gpu_slots(CPU, ExecutionConfig(gpu_workers=workers))

    assert len(slots) == workers
    assert {slot.device for slot in slots} == {"cpu"}
    assert {slot.threads for slot in slots} == {max(1, cores() // workers)}


@with_gpu
def test_workers_are_distributed_over_the_gpus():
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    slots = gpu_slots(ClipConfig(), ExecutionConfig(gpu_workers=2 * len(gpus)))
    assert [slot.device for slot in slots] == gpus * 2


@with_gpu
def test_automatic_devices_are_all_gpus():
    gpus = tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    assert available_devices("auto") == available_devices("cuda") == gpus
    assert available_devices("cuda:0") == ("cuda:0",)


@without_gpu
@pytest.mark.skipif(torch.backends.mps.is_available(), reason="needs a machine without MPS")
def test_the_automatic_device_without_gpu_is_the_cpu():
    assert available_devices("auto") == ("cpu",)


def test_the_cpu_is_always_available():
    assert available_devices("cpu") == ("cpu",)


@pytest.mark.parametrize("device", ["cuda:99", pytest.param("cuda", marks=without_gpu)])
def test_the_error_for_a_missing_device_lists_the_available_ones(device):
    with pytest.raises(ConfigError, match=rf"clip\.device: this host has no {device}; set clip\.device to one of auto"):
        gpu_slots(ClipConfig(device=device), ExecutionConfig())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_configured_precision_is_kept(precision):
    assert clip_precision(ClipConfig(precision=precision, device="cpu"), ON_CPU) == precision


def test_automatic_precision_on_the_cpu_is_fp32():
    assert clip_precision(CPU, ON_CPU) == "fp32"
    assert training_precision(TrainConfig(), ON_CPU) == "fp32"


def test_automatic_precision_on_a_gpu_is_fp16():
    assert clip_precision(ClipConfig(), ON_CUDA) == "fp16"
    assert training_precision(TrainConfig(), ON_CUDA) == "fp16"


@with_gpu
def test_workers_are_placed_on_the_gpu_if_there_is_one():
    slots = gpu_slots(ClipConfig(), ExecutionConfig())
    assert all(slot.on_cuda for slot in slots)
    assert clip_precision(ClipConfig(), slots) == "fp16"


def test_fp16_training_on_a_cpu_is_refused():
    with pytest.raises(
        ConfigError, match=r"^train\.precision is fp16, which needs a CUDA device; set it to bf16, fp32 or auto"
    ):
        training_precision(TrainConfig(precision="fp16"), (*ON_CUDA, *ON_CPU))


@pytest.mark.parametrize(
    ("device", "processes", "expected"), [("cpu", 1, 8), ("cpu", 3, 2), ("cpu", 9, 1), ("cuda:0", 1, 4)]
)
def test_processes_that_train_on_the_cpu_share_all_cores(monkeypatch, device, processes, expected):
    monkeypatch.setattr("clipes.tasks.machine.devices.cores", lambda: 8)
    assert training_threads(WorkerSlot(device, 4), processes) == expected


def test_workers_on_cpu_and_gpu_need_a_configured_precision():
    mixed, message = (*ON_CUDA, *ON_CPU), r"auto stands for .+ have both kinds: cpu, cuda:0; set .+ to fp16 or fp32$"
    with pytest.raises(ConfigError, match=rf"^clip\.precision: {message}"):
        clip_precision(ClipConfig(), mixed)
    with pytest.raises(ConfigError, match=rf"^train\.precision: {message}"):
        training_precision(TrainConfig(), mixed)


@pytest.mark.parametrize(
    ("crf", "gpus", "cpus", "workers"),
    [
        ({}, ["cuda:0"], 7, "gpu"),
        ({}, ["cuda:0"], 8, "cpu"),
        ({}, ["cuda:0", "cuda:1"], 15, "gpu"),
        ({}, ["cuda:0", "cuda:1"], 16, "cpu"),
        ({}, ["cuda:0", "cpu"], 2, "cpu"),
        ({}, ["mps"], 2, "cpu"),
        ({}, ["cpu"], 2, "cpu"),
        ({"backend": "pydensecrf"}, ["cuda:0"], 2, "cpu"),
        ({"enabled": False}, ["cuda:0"], 2, "cpu"),
        ({"enabled": False, "device": "cuda"}, ["cuda:0"], 2, "cpu"),
        ({"device": "cpu"}, ["cuda:0"], 2, "cpu"),
        ({"device": "cuda"}, ["cuda:0"], 100, "gpu"),
    ],
    ids=str,
)
def test_the_crf_runs_on_gpus_on_request_or_if_they_have_few_cpu_workers(crf, gpus, cpus, workers):
    config = CrfConfig(**{"backend": "lattice", **crf})
    assert crf_workers(config, {"gpu": gpus, "cpu": ["cpu"] * cpus}) == workers


def test_the_crf_on_cuda_needs_workers_on_cuda():
    crf = CrfConfig(backend="lattice", device="cuda")
    check_crf_device(crf, ON_CUDA)
    check_crf_device(CrfConfig(), ON_CPU)
    with pytest.raises(
        ConfigError,
        match=r"^crf\.device is cuda, but clip\.device stands for cpu on this host; set crf\.device to auto or cpu$",
    ):
        check_crf_device(crf, (*ON_CUDA, *ON_CPU))


def test_a_cpu_batch_holds_one_photo():
    assert token_budget("cpu") == 1


@with_gpu
def test_a_gpu_batch_holds_as_many_tokens_as_fit_its_free_memory():
    free, _ = torch.cuda.mem_get_info()
    assert token_budget("cuda:0") == pytest.approx(2048 * free / 2**30, rel=0.1)
