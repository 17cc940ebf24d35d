"""Compute digests of weights files, and download remote weights files."""

import hashlib
import logging
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.request import Request, urlopen

from fsspec import AbstractFileSystem

from clipes.tasks.storage.files import write_atomically
from clipes.tasks.storage.filesystem import filesystem, first_line, is_local, translate_storage_errors
from clipes_core.config.uri import shown
from clipes_core.errors import StorageError, WeightsError

HUB_ANSWER_S = 4.0  # time in which the Hugging Face hub must answer [s]
HUB_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # of weights whose entry states no name

logger = logging.getLogger(__name__)


def file_digest(path: Path) -> str:
    """Return the first 16 hex characters of the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def check_unchanged(name: str, planned: str, loaded: str) -> None:
    """Check that weights are the same as when the run was planned.

    The digest of the planned weights is part of the keys of the artifacts, so that artifacts which are made with other
    weights must not be stored under these keys.

    Args:
        name: config key and value that name the weights, for the message.
        planned: digest of the weights when the run was planned.
        loaded: digest of the weights that were loaded.

    Raises:
        WeightsError: the digests differ.
    """
    if loaded != planned:
        raise WeightsError(
            f"{name}: the weights were replaced during the run: their digest was {planned} when the run was planned, "
            f"and is {loaded} now; run again, and leave the file unchanged until the run has ended"
        )


def local_copy(uri: str, key: str) -> Path:
    """Return the local path of the file at a URI. Download a remote file into torch's cache folder.

    A file that was downloaded before is downloaded again only if it has changed at the URI.

    Args:
        uri: path or fsspec URI of a file.
        key: config key that has this URI as its value, for the error message.

    Raises:
        WeightsError: the file does not exist or cannot be read.
        TransientError: the server does not answer.
    """
    with _translate_errors(uri, key):
        fs, path = filesystem(uri)
        info = _info(fs, path)
        if is_local(fs):
            return Path(path)
        target = _place_of_copy(uri, path, info)
        if not target.is_file():
            with write_atomically(str(target)) as part:  # several workers may fetch the same file
                fs.get_file(path, str(part))
    return target


@contextmanager
def _translate_errors(uri: str, key: str) -> Iterator[None]:
    try:
        with translate_storage_errors(uri):
            yield
    except (FileNotFoundError, StorageError) as exc:
        raise WeightsError(
            f"{key} {shown(uri)}: expected a readable file, found none ({first_line(exc)}); check the URI and your "
            "permissions"
        ) from exc


def _info(fs: AbstractFileSystem, path: str) -> dict[str, Any]:
    """Return what a file system knows about a file; raise IsADirectoryError for a folder."""
    info = fs.info(path)
    if info["type"] == "directory":
        raise IsADirectoryError(f"{path} is a folder")
    return info


def _place_of_copy(uri: str, path: str, info: Mapping[str, Any]) -> Path:
    """Return the path of the local copy of a remote file. A changed file has another path."""
    import torch  # imported here, because this takes seconds, and most weights are local files

    version = hashlib.sha256(f"{uri} {info}".encode()).hexdigest()[:16]
    return Path(torch.hub.get_dir()) / "clipes" / f"{version}-{PurePosixPath(path).name}"


@dataclass(frozen=True)
class WeightsPlace:
    """Where a file of weights is, or where clipes would download it from.

    Attributes:
        path: path of the file on this machine; None if the file must be downloaded first.
        size_bytes: size of the file [bytes]; 0 if it is unknown.
        url: address from which clipes downloads the file; None for a file that is never downloaded.
        cache: folder to which clipes downloads the file.
    """

    path: Path | None
    size_bytes: int
    url: str | None = None
    cache: str = ""


def local_place(path: Path) -> WeightsPlace:
    """Return the place of a file on this machine."""
    return WeightsPlace(path, path.stat().st_size)


def copy_place(uri: str, key: str) -> WeightsPlace:
    """Return where `local_copy` finds the file at a URI, without downloading the file.

    Raises:
        WeightsError: the file does not exist or cannot be read.
        TransientError: the server does not answer.
    """
    with _translate_errors(uri, key):
        fs, path = filesystem(uri)
        info = _info(fs, path)
        place = Path(path) if is_local(fs) else _place_of_copy(uri, path, info)
        return WeightsPlace(place if place.is_file() else None, int(info["size"] or 0), uri, str(place.parent))


def web_place(url: str, path: Path) -> WeightsPlace:
    """Return where a file is that clipes downloads from a web server to a path. The server is asked only for its size.

    Args:
        url: address of the file.
        path: path to which the file is downloaded.

    Raises:
        OSError: the file is not at the path, and the server does not answer within HUB_ANSWER_S or refuses access.
    """
    if path.is_file():
        return local_place(path)
    with urlopen(Request(url, method="HEAD"), timeout=HUB_ANSWER_S) as answer:
        return WeightsPlace(None, int(answer.headers.get("Content-Length", 0)), url, str(path.parent))


class HubError(Exception):
    """A file on the Hugging Face hub is not in the cache, and cannot be downloaded.

    The text says so in words that follow the name of the file.

    Attributes:
        name: name of the file.
        url: address of the file.
    """

    def __init__(self, place: str, reason: str) -> None:
        from huggingface_hub import constants, hf_hub_url

        repository, (self.name, *_) = _hub_names(place)
        self.url = hf_hub_url(repository, self.name)
        super().__init__(
            f"of {repository} is not in the cache {constants.HF_HUB_CACHE}, and cannot be downloaded from "
            f"{constants.ENDPOINT} ({reason})"
        )


def cached_hub_file(place: str) -> Path | None:
    """Return the path of a file in the cache of the Hugging Face hub; None if the cache lacks it. Ask no server.

    Args:
        place: as for `hub_file`.
    """
    from huggingface_hub import try_to_load_from_cache

    repository, names = _hub_names(place)
    found = (try_to_load_from_cache(repository, name) for name in names)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def hub_place(place: str) -> WeightsPlace:
    """Return where a file on the Hugging Face hub is in the cache of the hub, or what is known about it at the hub.

    The hub is asked only if the cache lacks the file.

    Args:
        place: as for `hub_file`.

    Raises:
        HubError: the cache lacks the file, and the hub does not answer within HUB_ANSWER_S, refuses access or does
            not have the file.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, HTTPError

    cached = cached_hub_file(place)
    if cached is not None:
        return local_place(cached)
    repository, names = _hub_names(place)
    reason = "the hub has no such file"
    for each in dict.fromkeys(names):
        url = hf_hub_url(repository, each)
        try:
            size = get_hf_file_metadata(url, timeout=HUB_ANSWER_S).size
            return WeightsPlace(None, size or 0, url, constants.HF_HUB_CACHE)
        except EntryNotFoundError:
            continue
        except (HTTPError, OSError) as exc:
            reason = first_line(exc)
            break
    raise HubError(place, reason)


def hub_file(place: str, value: str) -> Path:
    """Return the local path of a file on the Hugging Face hub. Download it unless the cache of the hub has it.

    A cached file is used without asking the hub.

    Args:
        place: repository and name of the file, such as `org/repository/weights.bin`. A file with the extension
            .safetensors is preferred. If the name is empty, the file has one of HUB_NAMES.
        value: config key and value that name the weights, for the log.

    Raises:
        HubError: the hub does not answer within HUB_ANSWER_S, refuses access or does not have the file.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError

    found = hub_place(place)
    if found.path is not None:
        return found.path
    name = PurePosixPath(found.url or "").name
    logger.info("%s: downloading %s (%.0f MB) to %s", value, name, found.size_bytes / 1e6, found.cache)
    try:
        return Path(hf_hub_download(_hub_names(place)[0], name))
    except (HTTPError, OSError) as exc:
        raise HubError(place, first_line(exc)) from exc


def _hub_names(place: str) -> tuple[str, tuple[str, ...]]:
    """Return the repository and the possible names of a file on the hub, the preferred one first."""
    repository, name = posixpath.split(place)
    if name.endswith(".json"):  # no weights
        return repository, (name,)
    return repository, (f"{posixpath.splitext(name)[0]}.safetensors", name) if name else HUB_NAMES
