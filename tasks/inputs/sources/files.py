"""Fingerprint listed files, read them later, and refuse files that have changed since they were listed."""

import hashlib
import io
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem

from clipes.tasks.storage.files import read_file, refuse_endless
from clipes.tasks.storage.filesystem import filesystem, is_local, translate_storage_errors
from clipes.tasks.storage.listing import THREADS, FileFacts, find_file, fingerprint_of_entry, fingerprint_of_stat
from clipes_core.errors import ErrorKind, PhotoError, StorageError, TransientError

ABSENT = "absent"  # fingerprint of a file that did not exist when the files were listed
UNKNOWN = ""  # fingerprint of a file that was never listed: its content is not checked
ETAG = "etag:"
CONTENT = "sha256:"
SIZE_AND_TIME = re.compile(r"(\d+)-.*")

# 1980-01-02 [s since 1970]. tar, zip, nix and container images can give all files an earlier time, to be reproducible.
FIRST_PLAUSIBLE_TIME = 315_619_200

logger = logging.getLogger(__name__)


def identify_by_content(files: Mapping[str, FileFacts]) -> dict[str, FileFacts]:
    """Replace the fingerprints of files whose modification time says nothing by digests of their content.

    The other files keep their fingerprints: an ETag, or the size and the modification time. If a file cannot be read,
    it keeps its fingerprint, and the stage that needs the file reports the error.

    Args:
        files: URI -> metadata of a listed file.
    """
    dated = [facts for facts in files.values() if not _has_plausible_time(facts)]
    if not dated:
        return dict(files)
    logger.info("reading %d files to identify them, because their modification time is before 1980", len(dated))
    with ThreadPool(min(THREADS, len(dated))) as pool:
        return {**files, **{facts.uri: facts for facts in pool.imap_unordered(_with_content_digest, dated)}}


def _has_plausible_time(facts: FileFacts) -> bool:
    return facts.fingerprint.startswith(ETAG) or facts.modified is None or facts.modified >= FIRST_PLAUSIBLE_TIME


def _with_content_digest(facts: FileFacts) -> FileFacts:
    try:
        with translate_storage_errors(facts.uri):
            fs, path = filesystem(facts.uri)
            with fs.open(path, "rb") as file:
                return replace(facts, fingerprint=_content_fingerprint(file))
    except (FileNotFoundError, StorageError, TransientError):
        return facts


def _content_fingerprint(file: Any) -> str:
    return f"{CONTENT}{hashlib.file_digest(file, 'sha256').hexdigest()[:32]}"


def read_listed(uri: str, fingerprint: str) -> bytes:
    """Read a whole file, and check that it has not changed since it was listed.

    A local file has changed if its size or modification time differs from the listed one before or after the read. A
    file in an object store has changed if its ETag differs. Other remote files have changed if their size differs,
    because such stores round times, or do not report them. A file that was identified by its content has changed if its
    content differs.

    Args:
        uri: path or URI of the file.
        fingerprint: fingerprint of the file when it was listed; ABSENT or UNKNOWN if there is none.

    Raises:
        FileNotFoundError, StorageError, TransientError: for the same reasons as `read_file`.
        PhotoError: CHANGED; the file has changed since it was listed.
    """
    with translate_storage_errors(uri):
        fs, path = filesystem(uri)
        if fingerprint.startswith(CONTENT):
            data = read_file(uri)
            unchanged = _content_fingerprint(io.BytesIO(data)) == fingerprint
        elif is_local(fs):
            data, unchanged = _read_local(Path(path), fingerprint)
        elif fingerprint.startswith(ETAG):
            data, unchanged = _read_with_etag(fs, path, uri, fingerprint)
        else:
            data = read_file(uri)
            listed = SIZE_AND_TIME.fullmatch(fingerprint)
            unchanged = listed is None or int(listed[1]) == len(data)
    if not unchanged or fingerprint == ABSENT:
        raise PhotoError(ErrorKind.CHANGED, f"{uri} has changed since the run listed it: run again")
    return data


def _read_local(path: Path, fingerprint: str) -> tuple[bytes, bool]:
    refuse_endless(str(path))
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        data = file.read()
        after = os.fstat(file.fileno())
    listed = SIZE_AND_TIME.fullmatch(fingerprint)
    return data, listed is None or {fingerprint_of_stat(before), fingerprint_of_stat(after)} == {fingerprint}


def _read_with_etag(fs: AbstractFileSystem, path: str, uri: str, fingerprint: str) -> tuple[bytes, bool]:
    """Read a file of an object store; return its content, and whether it has the ETag of a fingerprint."""
    if "s3" in fs.protocol:
        # s3fs looks the ETag up, and then requests only this version. Other ways to read need as many requests.
        with fs.open(path, "rb", cache_type="none") as file:
            found, data = fingerprint_of_entry(file.details), file.read()
    else:
        data, facts = read_file(uri), find_file(uri)
        found = facts.fingerprint if facts else ABSENT
    return data, found == fingerprint
