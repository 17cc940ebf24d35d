"""Compare a segmenter's weights file with the size and digest that the footer of the artifact states."""

import hashlib

from clipes.tasks.storage.filesystem import filesystem, translate_storage_errors
from clipes.tasks.storage.layout import weights_uri
from clipes.tasks.storage.listing import find_file
from clipes_core.errors import BrokenArtifactError

MIB = 1 << 20


def describe_weights(artifact_uri: str) -> str:
    """Return the text that an artifact's footer stores about the weights file: its size [bytes] and its SHA-256.

    Raises:
        FileNotFoundError: there is no weights file.
        StorageError: the store refuses access.
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
    """Check that the weights file next to an artifact matches the artifact's footer.

    Args:
        artifact_uri: URI of the artifact.
        stated: text that the footer stores. `describe_weights` returned it when the artifact was written.
        whole: if True, read all bytes of the weights file and compare the digest; if False, compare only the size.

    Raises:
        BrokenArtifactError: the weights file is missing, or its size or digest is different.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    file = find_file(weights_uri(artifact_uri))
    if file is None or f"{file.size_bytes}" != stated.partition(" ")[0]:
        raise BrokenArtifactError(artifact_uri, "has no weights file of the expected size next to it")
    if whole and describe_weights(artifact_uri) != stated:
        raise BrokenArtifactError(artifact_uri, "has a damaged weights file next to it")
