"""Compute digests of weights files, and download remote weights files."""

import hashlib
import logging
import posixpath
from pathlib import Path, PurePosixPath

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
    try:
        with translate_storage_errors(uri):
            fs, path = filesystem(uri)
            info = fs.info(path)
            if info["type"] == "directory":
                raise IsADirectoryError(f"{path} is a folder")
            if is_local(fs):
                return Path(path)
            import torch  # imported here, because this takes seconds, and most weights are local files

            version = hashlib.sha256(f"{uri} {info}".encode()).hexdigest()[:16]
            target = Path(torch.hub.get_dir()) / "clipes" / f"{version}-{PurePosixPath(path).name}"
            if not target.is_file():
                with write_atomically(str(target)) as part:  # several workers may fetch the same file
                    fs.get_file(path, str(part))
    except (FileNotFoundError, StorageError) as exc:
        raise WeightsError(
            f"{key} {shown(uri)}: expected a readable file, found none ({first_line(exc)}); check the URI and your "
            "permissions"
        ) from exc
    return target


def hub_file(place: str, value: str) -> Path:
    """Return the local path of a file on the Hugging Face hub. Download it unless the cache of the hub has it.

    A cached file is used without asking the hub.

    Args:
        place: repository and name of the file, such as `org/repository/weights.bin`. A file with the extension
            .safetensors is preferred. If the name is empty, the file has one of HUB_NAMES.
        value: config key and value that name the weights, for the messages.

    Raises:
        WeightsError: the hub does not answer within HUB_ANSWER_S, refuses access or does not have the file.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HTTPError

    repository, name = posixpath.split(place)
    names = (f"{posixpath.splitext(name)[0]}.safetensors", name) if name else HUB_NAMES
    for each in names:
        cached = try_to_load_from_cache(repository, each)
        if isinstance(cached, str):
            return Path(cached)
    reason = "the hub has no such file"
    for each in dict.fromkeys(names):
        try:
            size = get_hf_file_metadata(hf_hub_url(repository, each), timeout=HUB_ANSWER_S).size
            logger.info("%s: downloading %s (%.0f MB) to %s", value, each, (size or 0) / 1e6, constants.HF_HUB_CACHE)
            return Path(hf_hub_download(repository, each))
        except EntryNotFoundError:
            continue
        except (HTTPError, OSError) as exc:
            reason = first_line(exc)
            break
    raise WeightsError(
        f"{value}: the file {names[0]} of {repository} is not in the cache {constants.HF_HUB_CACHE}, and cannot be "
        f"downloaded from {constants.ENDPOINT} ({reason}): connect to the internet; or download "
        f"{hf_hub_url(repository, names[0])} on another machine, and set clip.pretrained to the path of the file"
    )
