"""The base class of sources whose photos are members of an archive, such as a tar file."""

import logging
import posixpath
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, ClassVar

from clipes.tasks.inputs.sources.source import (
    ABSENT,
    CONTENT,
    UNKNOWN,
    Failure,
    Found,
    Source,
    WholeFileTable,
    changed,
    content_fingerprint,
    failure_of,
    is_exact,
)
from clipes.tasks.storage.listing import THREADS, FileFacts
from clipes_core.config.uri import is_uri
from clipes_core.errors import ClipesError, ErrorKind, PhotoError

if TYPE_CHECKING:
    from clipes.tasks.inputs.sources.index_files import IndexFiles
    from clipes.tasks.inputs.sources.members import Members

INDEXES = 16  # archives whose members a process keeps in memory

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Attributes:
        place: text from which the source finds the file in its archive.
        size_bytes: size of the file [bytes]; 0 if the archive does not state it.
    """

    place: str
    size_bytes: int


@dataclass(frozen=True)
class Index:
    """The members of an archive.

    Attributes:
        members: normalised name -> member that can be read.
        faults: name -> why this member cannot be read, and what to do, as a phrase that follows the name.
        damage: why other members may be missing, and what to do, as a phrase that follows "the archive"; None if the
            archive is intact.
    """

    members: Mapping[str, Member]
    faults: Mapping[str, str] = field(default_factory=dict)
    damage: str | None = None


@dataclass(frozen=True)
class _Searched:
    """The files that were found in one archive, the members that nobody asked for by extension, and the damage."""

    archive: str
    found: Found
    others: Counter[str]
    damage: str | None


class ArchiveSource(Source):
    """Photos that are members of archives. The URI of a photo is the URI of its archive, a slash and the member's name.

    The fingerprint of a photo consists of the place of the member and the fingerprint of the archive. If the latter may
    stay the same although the archive changes, it is replaced by a digest of the photo. If a folder has the name of an
    archive, the photos below it are ordinary files.

    Args:
        whole: sources of the archives.

    Attributes:
        name: first part of the fingerprints.
        suffixes: the ends of the names of archives, in lower case.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    def __init__(self, whole: WholeFileTable) -> None:
        self._whole = whole
        self._kept_members = lru_cache(INDEXES)(self._read_members)
        self._index_files: IndexFiles | None = None

    @abstractmethod
    def index(self, archive: FileFacts) -> Index:
        """Read which members an archive has.

        Raises:
            FileNotFoundError: the archive has disappeared.
            PhotoError: CHANGED; the archive has changed since its metadata was looked up.
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """

    @abstractmethod
    def load(self, archive: str, version: str, place: str) -> bytes:
        """Read a member of an archive.

        Args:
            archive: URI of the archive.
            version: fingerprint of the archive; UNKNOWN if there is none.
            place: place of the member, from the index of this version.

        Raises:
            PhotoError: UNREADABLE; the archive is damaged. The other errors are those of `index`.
        """

    def claims(self, uri: str) -> bool:
        """Return whether a part of the path, except the last one, has the suffix of an archive."""
        return _split(uri, self.suffixes) is not None

    def retries(self, uri: str) -> bool:
        """Return whether the source of the archive retries."""
        return self._whole.of(_parts(uri, self.suffixes)[0]).retries(uri)

    def key_path(self, path: str) -> str:
        """Return a path without the name of the archive."""
        parts = path.split("/")
        return "/".join([*(part for part in parts[:-1] if not part.lower().endswith(self.suffixes)), parts[-1]])

    def keeping(self, store: str) -> "ArchiveSource":
        """Return a copy of this source that reads and writes the index files of a store."""
        from clipes.tasks.inputs.sources.index_files import IndexFiles  # imports pyarrow

        kept = copy(self)
        kept._index_files = IndexFiles(store)
        return kept

    def find(self, uris: Collection[str]) -> Found:
        """Look up the metadata of many photos. Each archive is opened at most once."""
        found, searched = self._look_up(uris)
        _log(searched)
        if self._index_files is not None:
            self._index_files.log()
        return found

    def read(self, uri: str, fingerprint: str) -> bytes:
        """Read a photo; see the base class."""
        if fingerprint in (UNKNOWN, ABSENT):
            found, _ = self._look_up([uri])
            if uri in found.failures:
                raise found.failures[uri]
            if uri not in found.files:
                raise FileNotFoundError(uri)
            if fingerprint == ABSENT:
                raise changed(uri)
            fingerprint = found.files[uri].fingerprint
        if not fingerprint.startswith(f"{self.name}:"):
            return self._whole.read(uri, fingerprint)  # a file in a folder that has the name of an archive
        place, _, version = fingerprint.removeprefix(f"{self.name}:").partition("@")
        archive, _ = _parts(uri, self.suffixes)
        if not version.startswith(CONTENT):
            return self.load(archive, version, place)
        data = self.load(archive, UNKNOWN, place)
        if content_fingerprint(data) != version:
            raise changed(uri)
        return data

    def _look_up(self, uris: Collection[str]) -> tuple[Found, list[_Searched]]:
        by_archive: dict[str, dict[str, str]] = defaultdict(dict)
        for uri in uris:
            archive, member = _parts(uri, self.suffixes)
            by_archive[archive][uri] = member
        archives = self._whole.find(by_archive)
        others = [archive for archive in by_archive if archive not in archives.files]
        failed = [(uri, archive) for archive in others if archive in archives.failures for uri in by_archive[archive]]
        found = Found(failures={uri: archives.failures[archive] for uri, archive in failed})
        found.add(self._whole.find(uri for each in others if each not in archives.failures for uri in by_archive[each]))
        with ThreadPool(min(THREADS, max(1, len(archives.files)))) as pool:
            jobs = [(facts, by_archive[archive]) for archive, facts in archives.files.items()]
            searched = pool.starmap(self._search, jobs)
        for each in searched:
            found.add(each.found)
        return found, searched

    def _search(self, archive: FileFacts, wanted: Mapping[str, str]) -> _Searched:
        try:
            members = self._members(archive)
        except (FileNotFoundError, ClipesError) as exc:
            failure = failure_of(exc, archive.uri)
            return _Searched(archive.uri, Found(failures=dict.fromkeys(wanted, failure)), Counter(), None)
        named = zip(wanted, members.find(wanted.values()), strict=True)
        found = {uri: self._facts(uri, member, archive, members.damage) for uri, member in named}
        others = members.other_extensions(wanted.values())
        return _Searched(archive.uri, _divided(found), others, members.damage)

    def _members(self, archive: FileFacts) -> "Members":
        read = self._kept_members if is_exact(archive) else self._read_members
        return read(archive) if self._index_files is None else self._index_files.members(archive, read)

    def _read_members(self, archive: FileFacts) -> "Members":
        from clipes.tasks.inputs.sources.members import Members  # imports pyarrow

        return Members.of(self.index(archive))

    def _facts(
        self, uri: str, member: Member | str | None, archive: FileFacts, damage: str | None
    ) -> FileFacts | Failure | None:
        if not isinstance(member, Member):
            return _fault(uri, member, damage)
        version = archive.fingerprint
        if not is_exact(archive):
            try:
                version = content_fingerprint(self.load(archive.uri, version, member.place))
            except (FileNotFoundError, ClipesError) as exc:
                return failure_of(exc, uri)
        return FileFacts(uri, member.size_bytes, None, f"{self.name}:{member.place}@{version}")


def member_name(name: str) -> str:
    """Return the normalised name of a member, as `Index` has it."""
    return posixpath.normpath(name).lstrip("/")


def _split(uri: str, suffixes: tuple[str, ...]) -> tuple[str, str] | None:
    """Return the URI of the archive and the normalised name of the member; None if the URI names no archive."""
    parts = uri.split("/")
    first = 3 if is_uri(uri) else 0  # after the protocol and the server or bucket
    for number in range(first, len(parts) - 1):
        if parts[number].lower().endswith(suffixes):
            return "/".join(parts[: number + 1]), member_name("/".join(parts[number + 1 :]))
    return None


def _parts(uri: str, suffixes: tuple[str, ...]) -> tuple[str, str]:
    parts = _split(uri, suffixes)
    if parts is None:
        raise ValueError(f"{uri} names no member of an archive")
    return parts


def _divided(found: Mapping[str, FileFacts | Failure | None]) -> Found:
    """Return the files and the failures among the results of a look-up; None stands for a missing file."""
    files = {uri: each for uri, each in found.items() if isinstance(each, FileFacts)}
    failures = {uri: each for uri, each in found.items() if each is not None and not isinstance(each, FileFacts)}
    return Found(files, failures)


def _fault(uri: str, fault: str | None, damage: str | None) -> PhotoError | None:
    """Return why a member cannot be read; None if the archive does not have it."""
    if fault is not None:
        return PhotoError(ErrorKind.UNREADABLE, f"{uri} {fault}")
    if damage is not None:
        return PhotoError(ErrorKind.UNREADABLE, f"no file at {uri}; the archive {damage}")
    return None


def _log(searched: Iterable[_Searched]) -> None:
    damaged = [each for each in searched if each.damage is not None]
    if damaged:
        first = min(damaged, key=lambda each: each.archive)
        which = f"{len(damaged)} archives cannot be used completely; the first is {first.archive}"
        if len(damaged) == 1:
            which = f"the archive {first.archive} cannot be used completely"
        logger.warning("%s: it %s", which, first.damage)
    others = sum((each.others for each in searched), Counter[str]())
    if others:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
        logger.info("clipes ignores %d members of archives that the list does not name: %s", others.total(), kinds)
