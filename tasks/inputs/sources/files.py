"""Files on disks and in object stores."""

import hashlib
import io
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fsspec import AbstractFileSystem

from clipes.tasks.inputs.sources.source import ABSENT, CONTENT, ETAG, Found, WholeFiles, changed, content_fingerprint
from clipes.tasks.storage.files import read_file, refuse_endless
from clipes.tasks.storage.filesystem import filesystem, is_local, translate_storage_errors
from clipes.tasks.storage.listing import FileFacts, find_file, fingerprint_of_entry, fingerprint_of_stat
from clipes.tasks.storage.user_files import find_files_by_folder

SIZE_AND_TIME = re.compile(r"(\d+)-.*")


class StoredFiles(WholeFiles):
    """Files on disks and in object stores, at any path or URI that fsspec can open.

    A local file has changed if its size or modification time differs from the listed one before or after the read. A
    file in an object store has changed if its ETag differs. Other remote files have changed if their size differs,
    because such stores round times, or do not report them. A file that was identified by its content has changed if its
    content differs.
    """

    def claims(self, uri: str) -> bool:
        """Return True, because fsspec opens all other URIs."""
        return True

    def find(self, uris: Collection[str]) -> Found:
        """Look up the metadata of many files. Each folder is listed only once."""
        files, failures = find_files_by_folder(uris)
        return Found(files, {uri: failures[folder] for uri in uris if (folder := _folder(uri)) in failures})

    def read(self, uri: str, fingerprint: str) -> bytes:
        """Read a whole file; see the base class."""
        with translate_storage_errors(uri):
            fs, _ = filesystem(uri)
            if fingerprint.startswith(CONTENT):
                data = read_file(uri)
                unchanged = content_fingerprint(data) == fingerprint
            elif is_local(fs) or (_is_s3(fs) and fingerprint.startswith(ETAG)):
                with self.open(uri, fingerprint) as file:
                    return file.read()
            else:
                data = read_file(uri)
                unchanged = _has_fingerprint(uri, len(data), fingerprint)
        if not unchanged:
            raise changed(uri)
        return data

    @contextmanager
    def open(self, uri: str, fingerprint: str) -> Iterator[BinaryIO]:
        """Open a file; see the base class. The fingerprint must not be one by content."""
        with translate_storage_errors(uri):
            fs, path = filesystem(uri)
            if is_local(fs):
                with _open_local(Path(path), uri, fingerprint) as file:
                    yield file
                return
            with fs.open(path, "rb", cache_type="none") as file:
                # s3fs looks the ETag up, and then requests only this version.
                if _is_s3(fs) and fingerprint not in ("", fingerprint_of_entry(file.details)):
                    raise changed(uri)
                yield file
                if not _is_s3(fs) and not _has_fingerprint(uri, file.seek(0, io.SEEK_END), fingerprint):
                    raise changed(uri)

    def digest(self, uri: str) -> str:
        """Return the fingerprint of a file by its content. The file is read in pieces, because it may be large."""
        with translate_storage_errors(uri):
            fs, path = filesystem(uri)
            with fs.open(path, "rb") as file:
                return f"{CONTENT}{hashlib.file_digest(file, 'sha256').hexdigest()[:32]}"


def _folder(uri: str) -> str:
    return uri[: uri.rindex("/") + 1]


def _is_s3(fs: AbstractFileSystem) -> bool:
    return "s3" in fs.protocol


@contextmanager
def _open_local(path: Path, uri: str, fingerprint: str) -> Iterator[BinaryIO]:
    refuse_endless(str(path))
    with path.open("rb") as file:
        _check_local(file, uri, fingerprint)
        try:
            yield file
        finally:
            _check_local(file, uri, fingerprint)  # a change explains any other error of the block


def _check_local(file: BinaryIO, uri: str, fingerprint: str) -> None:
    listed = SIZE_AND_TIME.fullmatch(fingerprint)
    if fingerprint == ABSENT or (listed and fingerprint_of_stat(os.fstat(file.fileno())) != fingerprint):
        raise changed(uri)


def _has_fingerprint(uri: str, size_bytes: int, fingerprint: str) -> bool:
    """Return whether a remote file has a fingerprint, as far as its store tells; see `StoredFiles`."""
    if fingerprint.startswith(ETAG):
        facts: FileFacts | None = find_file(uri)
        return facts is not None and facts.fingerprint == fingerprint
    listed = SIZE_AND_TIME.fullmatch(fingerprint)
    return fingerprint != ABSENT and (listed is None or int(listed[1]) == size_bytes)
