"""Check what works on this machine, and say how to fix what does not."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import torch

from clipes.tasks.commands.finding import Finding
from clipes.tasks.machine.devices import clip_precision, cores, gpu_slots
from clipes.tasks.machine.prefect_server.errors import without_password
from clipes.tasks.machine.prefect_server.faults import find_fault
from clipes.tasks.machine.prefect_server.proxies import bypass_proxy_on_this_host, check_proxies
from clipes.tasks.machine.prefect_server.settings import check_home, load_prefect
from clipes.tasks.models.clip import load_clip
from clipes.tasks.runs.record.contents import OPTIONAL_PACKAGES, REPORTED_PACKAGES
from clipes.tasks.storage.files import check_writable
from clipes_core.config.execution import ExecutionConfig
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.errors import ConfigError, StorageError, TransientError, WeightsError

NO_URL = "PREFECT_API_URL is not set: clipes starts a Prefect server, which all your runs on this machine share"


def examine(store_uri: str, clip: ClipConfig) -> list[Finding]:
    """Check package versions, devices, CLIP's weights, the Prefect server and the store.

    To check the weights, clipes loads them. If `clip.pretrained` is a tag or a URI, and the weights are not on this
    machine yet, clipes downloads them first.

    Args:
        store_uri: URI of the store. The check writes a test file to the store, and removes it.
        clip: settings of CLIP. They determine the network and the weights that clipes loads.
    """
    return [*_check_versions(), _find_devices(), _load_weights(clip), _find_server(), _write_to_store(store_uri)]


def _check_versions() -> Iterator[Finding]:
    yield Finding("python", True, platform.python_version())
    for package in REPORTED_PACKAGES:
        try:
            yield Finding(package, True, version(package))
        except PackageNotFoundError:
            yield Finding(package, False, f"not installed; run pip install {package}")
    for package, setting in OPTIONAL_PACKAGES.items():
        try:
            yield Finding(package, True, version(package))
        except PackageNotFoundError:
            yield Finding(package, True, f"not installed; only {setting} needs it")


def _find_devices() -> Finding:
    slots = gpu_slots(ClipConfig(), ExecutionConfig())
    devices = ", ".join(dict.fromkeys(slot.device for slot in slots))
    detail = f"{devices} in {clip_precision(ClipConfig(), slots)}, {cores()} cores for masks"
    if slots[0].device == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        detail += "; --set clip.precision=fast is faster on this processor, but changes about 1 % of the pixels"
    return Finding("devices", True, detail)


def _load_weights(clip: ClipConfig) -> Finding:
    try:
        return Finding("weights", True, f"{clip.model} {clip.pretrained}, digest {load_clip(clip).digest}")
    except (WeightsError, TransientError) as exc:
        return Finding("weights", False, str(exc))


def _find_server() -> Finding:
    try:
        load_prefect()
        from prefect.settings import PREFECT_API_URL, PREFECT_HOME

        url = PREFECT_API_URL.value()
        check_home(PREFECT_HOME.value())
        check_proxies()
    except ImportError as exc:
        return Finding("server", False, f"prefect cannot be imported ({exc}); run pip install prefect")
    except ConfigError as exc:
        return Finding("server", False, str(exc))
    if not url:
        return Finding("server", True, NO_URL)
    bypass_proxy_on_this_host()
    fault, shown = find_fault(url), without_password(url)
    if fault is None:
        return Finding("server", True, f"{shown} answers")
    return Finding("server", False, f"{shown} {fault.text}, or unset PREFECT_API_URL")


def _write_to_store(uri: str) -> Finding:
    try:
        check_writable(uri)
    except (StorageError, TransientError) as exc:
        return Finding("store", False, f"{uri} cannot be written ({exc}); name another store with --store")
    return Finding("store", True, f"{uri} can be written")
