"""What works on this machine, what does not, and what to do."""

import platform
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import torch

from clipes.tasks.machine.devices import available_devices, cores, resolve_precision
from clipes.tasks.models.clip import load_clip
from clipes.tasks.runs.record.contents import REPORTED_PACKAGES
from clipes.tasks.storage.files import remove, write_file
from clipes.tasks.storage.user_files import join
from clipes_core.config.run import ClipConfig
from clipes_core.errors import StorageError, TransientError, WeightsError


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: versions, devices, weights, server, store.
        works: whether it can be used.
        detail: what was found, and where it does not work what to do.
    """

    what: str
    works: bool
    detail: str


def examine(store_uri: str, clip: ClipConfig) -> list[Finding]:
    """Look at versions, devices, weights, server and store.

    The weights are loaded, and downloaded first if a tag or URI is not here yet.
    """
    return [*_versions(), _devices(), _weights(clip), _server(), _store(store_uri)]


def _versions() -> Iterator[Finding]:
    yield Finding("python", True, platform.python_version())
    for package in REPORTED_PACKAGES:
        try:
            yield Finding(package, True, version(package))
        except PackageNotFoundError:
            yield Finding(package, False, f"not installed: pip install {package}")


def _devices() -> Finding:
    devices = ", ".join(available_devices("auto"))
    detail = f"{devices} in {resolve_precision(ClipConfig())}, {cores()} cores for masks"
    if devices == "cpu" and torch.cpu._is_avx512_bf16_supported():
        detail += "; this processor is faster with clip.precision=bf16"
    return Finding("devices", True, detail)


def _weights(clip: ClipConfig) -> Finding:
    try:
        return Finding("weights", True, f"{clip.model} {clip.pretrained}, digest {load_clip(clip).digest}")
    except (WeightsError, TransientError) as exc:
        return Finding("weights", False, str(exc))


def _server() -> Finding:
    try:
        from prefect.settings import PREFECT_API_URL
    except ImportError as exc:
        return Finding("server", False, f"prefect cannot be imported ({exc}): pip install prefect")
    url = PREFECT_API_URL.value()
    if not url:
        return Finding("server", True, "PREFECT_API_URL is not set: each run starts a server of its own")
    return Finding("server", *_answer(url))


def _answer(url: str) -> tuple[bool, str]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        fault = client.api_healthcheck()
    if fault is None:
        return True, f"{url} answers"
    return False, f"{url} does not answer ({fault}): start it with `prefect server start`, or unset PREFECT_API_URL"


def _store(uri: str) -> Finding:
    trial = join(uri, f".doctor-{uuid.uuid4().hex}")
    try:
        write_file(trial, b"clipes")
        remove(trial)
    except (StorageError, TransientError) as exc:
        return Finding("store", False, f"{uri} cannot be written ({exc}): name another with --store")
    return Finding("store", True, f"{uri} can be written")
