"""Photos in tar archives, such as the shards that img2dataset, NeMo Curator and webdataset write."""

import io
import tarfile
from typing import BinaryIO, cast

from clipes.tasks.inputs.sources.archives import ArchiveSource, Index, Member, member_name
from clipes.tasks.inputs.sources.read_ahead import ReadAhead
from clipes.tasks.storage.filesystem import filesystem, first_line, is_local
from clipes.tasks.storage.listing import FileFacts
from clipes_core.errors import ErrorKind, PhotoError

COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
WEB_PAGE = (b"<!doctype html", b"<html")
ADVICE = "download or write it again"
READ_AT_ONCE = 8 << 10  # a photo's header is usually near the previous photo's end and between small text members
LONGEST_HEADER = 16 << 20  # a damaged header can state any size
LONGEST_PADDING = 64 << 10  # tar pads an archive with zeros, usually to 10 KiB


class TarArchives(ArchiveSource):
    """Photos in tar archives. The headers of an archive are read to find its members.

    If small photos lie between the headers of a remote archive, they are fetched too: see `ReadAhead`.

    The place of a member is `OFFSET+SIZE` in bytes, so that a reader needs no index.
    """

    name = "tar"
    suffixes = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")

    def index(self, archive: FileFacts) -> Index:
        """Read the headers of an archive; see the base class."""
        fs, _ = filesystem(archive.uri)
        with self._whole.open(archive.uri, archive.fingerprint) as file:
            return read_index(file if is_local(fs) else cast(BinaryIO, ReadAhead(file)), archive.size_bytes)

    def load(self, archive: str, version: str, place: str) -> bytes:
        """Read only the bytes of a member; see the base class."""
        offset, size = map(int, place.split("+"))
        with self._whole.open(archive, version) as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) < size:
            raise PhotoError(ErrorKind.UNREADABLE, f"{archive} ends within a member: {ADVICE}")
        return data


class _Headers(io.BufferedReader):
    """Reads the headers of an archive, and refuses to read more than any header needs."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= LONGEST_HEADER:
            raise tarfile.ReadError(f"a header states {size} bytes")
        return super().read(size)


def read_index(file: BinaryIO, size_bytes: int) -> Index:
    """Return the members of an archive, including those before a damaged place.

    Args:
        file: the archive; only headers and the padding at the end are read.
        size_bytes: size of the archive.
    """
    members: dict[str, Member] = {}
    faults: dict[str, str] = {}
    start = file.read(tarfile.BLOCKSIZE)
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(WEB_PAGE):
        return Index(members, damage="is a web page, such as a login page: check its address, and download it again")
    packer = next((packer for magic, packer in COMPRESSED.items() if start.startswith(magic)), None)
    if packer is not None:
        reason = f"is compressed with {packer}, so no photo can be read on its own: unpack it to a .tar file"
        return Index(members, damage=f"{reason}, and name that one")
    file.seek(0)
    headers = _Headers(cast(io.RawIOBase, file), READ_AT_ONCE)
    end = 0
    try:
        with tarfile.open(fileobj=headers, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep all members
                if member.offset_data <= end:
                    raise tarfile.ReadError(f"a header states {member.size} bytes")
                end = member.offset_data
                name = member_name(member.name)
                fault = _fault(member, size_bytes)
                if name in members or name in faults:
                    members.pop(name, None)
                    faults[name] = "occurs more than once in its archive: give each member its own name"
                elif fault is not None:
                    faults[name] = fault
                elif not member.isdir():
                    members[name] = Member(f"{member.offset_data}+{member.size}", member.size)
            damage = _damage_at_end(headers, tar.offset, size_bytes)
    except tarfile.TarError as exc:
        damage = f"is damaged after byte {end} of {size_bytes} ({first_line(exc)}): {ADVICE}"
    finally:
        headers.detach()
    return Index(members, faults, damage)


def _fault(member: tarfile.TarInfo, size_bytes: int) -> str | None:
    """Return why a member cannot be used; None if it can be used, or is a folder."""
    if member.issym() or member.islnk():
        return f"is a link to {member.linkname!r}: name that member instead"
    if not (member.isreg() or member.isdir()) or member.issparse():
        return "is no regular file in its archive: pack the photo again"
    if member.offset_data + member.size > size_bytes:
        return f"is cut off, because its archive ends after {size_bytes} bytes: {ADVICE}"
    return None


def _damage_at_end(file: BinaryIO, offset: int, size_bytes: int) -> str | None:
    """Return what is wrong after the last member, which ends at `offset`; None if the end marker is there."""
    file.seek(offset)
    rest = file.read(min(LONGEST_PADDING, max(0, size_bytes - offset)))
    if any(rest[: tarfile.BLOCKSIZE]):
        return f"has a damaged header at byte {offset} of {size_bytes}: {ADVICE}"
    if len(rest) < tarfile.BLOCKSIZE:
        return f"ends after {size_bytes} bytes without an end marker, so it may be cut off: {ADVICE}"
    if any(rest):
        reason = f"has data after its end marker at byte {offset}, as if archives had been joined"
        return f"{reason}: pack all members into one archive again"
    return None
