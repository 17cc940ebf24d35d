"""Compute digests of weights files, and download remote weights files."""

import hashlib
from pathlib import Path, PurePosixPath

from clipes.tasks.storage.files import write_atomically
from clipes.tasks.storage.filesystem import filesystem, first_line, is_local, translate_storage_errors
from clipes_core.config.uri import shown
from clipes_core.errors import StorageError, WeightsError


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
