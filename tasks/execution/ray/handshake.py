"""The handshake with a new worker: what its machine computes with, and whether that suits the run."""

import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from clipes.tasks.inputs.decoding import read_bytes
from clipes.tasks.inputs.photos import Photo
from clipes.tasks.machine.devices import available_devices
from clipes.tasks.runs.record.contents import OPTIONAL_PACKAGES, REPORTED_PACKAGES
from clipes.tasks.storage.files import read_file, write_file
from clipes.tasks.storage.listing import find_file
from clipes.tasks.storage.retry_policy import ONE_MINUTE, is_transient
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.errors import ClipesError, ErrorKind, PhotoError, TransientError

# Prefect runs only in the calling process. Different processors may need different builds of OpenCV.
COMPARED_PACKAGES = tuple(name for name in (*REPORTED_PACKAGES, *OPTIONAL_PACKAGES) if name != "prefect")
PROBE = b"clipes"
TRIED_PHOTOS = 3  # Try several, because one photo may be unreadable on every machine.
# Not CHANGED: before clipes refuses a machine, it checks that the calling process still sees the same file.
TEMPORARY_KINDS = (ErrorKind.NETWORK, ErrorKind.TIMEOUT, ErrorKind.OUT_OF_MEMORY)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HandshakeRequest:
    """What a worker must find out about its machine.

    Attributes:
        clip: settings of CLIP if the worker runs networks; None if it does not.
        probe: URI of a file that the calling process has written to the store; empty to leave the store alone.
        answer: URI of the file that the worker must write.
        photo: a photo that the calling process can open; None to open no photo.
    """

    clip: ClipConfig | None
    probe: str = ""
    answer: str = ""
    photo: Photo | None = None


@dataclass(frozen=True)
class HostFacts:
    """What a worker's machine computes with.

    Attributes:
        versions: package, or python -> version.
        device: device of the worker, such as cuda:0.
        weights: digest of CLIP's weights; empty if the worker runs no networks.
        problem: why the worker cannot work; empty if it can.
        temporary: whether the problem may pass.
        unreadable: the photo that the worker could not open, if this is the problem.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    weights: str = ""
    problem: str = ""
    temporary: bool = False
    unreadable: Photo | None = None


def host_versions() -> dict[str, str]:
    """Return the versions that must be equal on all machines: of Python, and of the packages that compute."""
    found = {"python": platform.python_version()}
    for package in COMPARED_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def host_facts(request: HandshakeRequest) -> HostFacts:
    """Return what this machine computes with; called in a worker."""
    from clipes.tasks.models.clip import weights_digest

    versions = host_versions()
    try:
        device = weights = ""
        if request.clip is not None:
            device, weights = available_devices(request.clip.device)[0], weights_digest(request.clip)
        if request.probe:
            _probe_store(request)
        problem = _photo_problem(request.photo) if request.photo is not None else ""
    except (ClipesError, OSError) as exc:
        return HostFacts(versions, problem=str(exc), temporary=is_transient(exc))
    if problem:
        return HostFacts(versions, problem=problem, unreadable=request.photo)
    return HostFacts(versions, device or "cpu", weights)


def _probe_store(request: HandshakeRequest) -> None:
    """Read the file of the calling process, and write the answer; raise OSError if the file is not there."""
    try:
        found = ONE_MINUTE.call(read_file, request.probe)
    except FileNotFoundError:
        found = b""
    if found != PROBE:
        raise OSError(
            f"a file that clipes has just written to the store is missing there ({request.probe}): all machines must "
            "reach the same store under the same path or URI"
        )
    if ONE_MINUTE.call(find_file, request.answer) is None:
        ONE_MINUTE.call(write_file, request.answer, PROBE)


def readable_photo(photos: Sequence[Photo]) -> Photo | None:
    """Return one of the first photos of a list that this process can open; None, with a warning, if there is none."""
    reason = ""
    for photo in photos[:TRIED_PHOTOS]:
        try:
            read_bytes(photo.uri, photo.fingerprint)
        except PhotoError as exc:
            reason = reason or exc.reason
        else:
            return photo
    if reason:
        logger.warning("clipes does not check whether all machines reach the photos: it cannot open one (%s)", reason)
    return None


def _photo_problem(photo: Photo) -> str:
    """Read a photo. Return why this machine cannot read it, or an empty text; raise TransientError if this may pass."""
    try:
        read_bytes(photo.uri, photo.fingerprint)
    except PhotoError as exc:
        if exc.kind in TEMPORARY_KINDS:
            raise TransientError(exc.reason) from exc
        return (
            f"it cannot open a photo of the run ({exc.reason}): all machines must reach the photos under the same path "
            "or URI"
        )
    return ""


def differences(facts: HostFacts, expected: HostFacts) -> list[str]:
    """Return how a machine differs from what the run expects, one text per difference; empty if it suits the run.

    Args:
        facts: answer of the worker.
        expected: versions of the calling process; device and weights of the first worker of this kind.
    """
    if facts.problem:
        return [facts.problem]
    found = [
        f"{name} is {facts.versions.get(name, 'not installed')} there, and {wanted} here"
        for name, wanted in expected.versions.items()
        if facts.versions.get(name) != wanted
    ]
    if facts.device.partition(":")[0] != expected.device.partition(":")[0]:
        found.append(f"its workers run on {facts.device}, and those of the run on {expected.device}")
    if expected.weights and facts.weights != expected.weights:
        found.append(f"the digest of its weights is {facts.weights}, and {expected.weights} on the other machines")
    return found
