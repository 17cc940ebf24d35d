"""The weights beside a segmenter's artifact, and the statement in its footer that they are whole."""

import hashlib

from clipes.tasks.storage.filesystem import filesystem, translate_storage_errors
from clipes.tasks.storage.layout import weights_uri
from clipes.tasks.storage.listing import find_file
from clipes_core.errors import BrokenArtifactError

MIB = 1 << 20


def describe_weights(artifact_uri: str) -> str:
    """Return the size and the SHA-256 of the weights beside an artifact, as its footer states them.

    Raises:
        FileNotFoundError: there are no weights.
        StorageError: the store refuses.
        TransientError: the store does not answer.
    """
    size, digest = 0, hashlib.sha256()
    uri = weights_uri(artifact_uri)
    with translate_storage_errors(uri):
        fs, path = filesystem(uri)
        with fs.open(path, "rb") as file:
            while part := file.read(MIB):
                size += len(part)
                digest.update(part)
    return f"{size} {digest.hexdigest()}"


def check_weights(artifact_uri: str, stated: str, whole: bool) -> None:
    """Compare the weights beside an artifact with what its footer states.

    Args:
        artifact_uri: of the artifact.
        stated: as `describe_weights` returned it when the artifact was written.
        whole: read all bytes and compare the digest; else compare only the size.

    Raises:
        BrokenArtifactError: they are missing, truncated or damaged.
        StorageError: the store refuses.
        TransientError: the store does not answer.
    """
    file = find_file(weights_uri(artifact_uri))
    if file is None or f"{file.size_bytes}" != stated.partition(" ")[0]:
        raise BrokenArtifactError(artifact_uri, "has incomplete weights beside it")
    if whole and describe_weights(artifact_uri) != stated:
        raise BrokenArtifactError(artifact_uri, "has damaged weights beside it")
