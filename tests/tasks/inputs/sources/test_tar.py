"""Photos in tar archives: intact, damaged, compressed and odd ones."""

import logging
import os
import tarfile
from collections.abc import Iterator

import fsspec
import pytest
from s3fs import S3FileSystem
from support.archives import BLOCK, member, shard, tar
from support.permissions import unprivileged
from support.s3_traffic import s3_traffic

from clipes.tasks.inputs.sources import table
from clipes.tasks.inputs.sources.source import ABSENT, UNKNOWN
from clipes.tasks.inputs.sources.table import find_files, read_listed
from clipes.tasks.inputs.sources.tar import LONGEST_HEADER
from clipes.tasks.storage.files import write_file
from clipes_core.errors import DatasetError, ErrorKind, PhotoError

A, B = b"photo a" * 100, b"photo b" * 99


@pytest.fixture(params=["local", "memory", "s3"])
def folder(request, tmp_path) -> Iterator[str]:
    """Yield the URI of a folder on the local disk, in memory and on S3."""
    if request.param == "s3":
        yield request.getfixturevalue("s3_folder")
    elif request.param == "memory":
        yield "memory://tars"
        fsspec.filesystem("memory").rm("/tars", recursive=True)
    else:
        yield str(tmp_path)


def write(folder, content, name="0.tar"):
    write_file(f"{folder}/{name}", content)
    return f"{folder}/{name}"


def fault(uri) -> str:
    """Return why a photo cannot be read."""
    found = find_files([uri])
    assert not found.files
    failure = found.failures[uri]
    assert isinstance(failure, PhotoError)
    assert failure.kind is ErrorKind.UNREADABLE
    return failure.reason


def test_photos_of_a_shard_are_found_and_read(folder):
    archive = write(folder, shard({"0": A, "1": B}))

    found = find_files([f"{archive}/0.jpg", f"{archive}/1.jpg", f"{archive}/2.jpg"])

    assert {uri: facts.size_bytes for uri, facts in found.files.items()} == {
        f"{archive}/0.jpg": len(A),
        f"{archive}/1.jpg": len(B),
    }
    assert found.failures == {}
    for number, content in enumerate((A, B)):
        uri = f"{archive}/{number}.jpg"
        assert read_listed(uri, found.files[uri].fingerprint) == read_listed(uri, UNKNOWN) == content


def test_a_photo_of_a_changed_archive_is_refused(folder):
    archive = write(folder, shard({"0": A}))
    before = find_files([f"{archive}/0.jpg"]).files[f"{archive}/0.jpg"].fingerprint
    write(folder, shard({"0": B, "1": A * 20}))
    with pytest.raises(PhotoError, match=r"0.tar has changed since the run listed it: run again$") as caught:
        read_listed(f"{archive}/0.jpg", before)
    assert caught.value.kind is ErrorKind.CHANGED
    assert find_files([f"{archive}/0.jpg"]).files[f"{archive}/0.jpg"].fingerprint != before


def test_missing_archives_and_members_are_missing(folder):
    archive = write(folder, shard({"0": A}))
    for uri in (f"{archive}/1.jpg", f"{folder}/1.tar/0.jpg"):
        assert (find_files([uri]).files, find_files([uri]).failures) == ({}, {})
        with pytest.raises(FileNotFoundError):
            read_listed(uri, UNKNOWN)
    with pytest.raises(PhotoError, match="has changed since the run listed it"):
        read_listed(f"{archive}/0.jpg", ABSENT)


def test_photos_in_a_folder_with_the_name_of_an_archive_are_ordinary_files(folder):
    uri = write(folder, A, "0.tar/a.jpg")
    facts = find_files([uri]).files[uri]
    assert facts.size_bytes == len(A)
    assert read_listed(uri, facts.fingerprint) == read_listed(uri, UNKNOWN) == A


@pytest.mark.parametrize(
    "name", ["./a.jpg", "/a.jpg", "x/../a.jpg", f"{'long' * 50}/a.jpg", "träd/a.jpg", "x.tar/a.jpg"]
)
@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_members_are_normalised(tmp_path, name, format):
    archive = write(tmp_path, tar({"x": b"", name: A}, format=format))
    uri = f"{archive}/{name.removeprefix('./').removeprefix('/').removeprefix('x/../')}"
    assert read_listed(uri, find_files([uri]).files[uri].fingerprint) == A


def test_links_name_the_member_to_use_instead(tmp_path):
    links = [
        (member("soft.jpg", type=tarfile.SYMTYPE, linkname="a.jpg"), b""),
        (member("hard.jpg", type=tarfile.LNKTYPE, linkname="a.jpg"), b""),
        (member("pipe.jpg", type=tarfile.FIFOTYPE), b""),
    ]
    archive = write(tmp_path, tar([("a.jpg", A), *links]))
    assert fault(f"{archive}/soft.jpg") == f"{archive}/soft.jpg is a link to 'a.jpg': name that member instead"
    assert fault(f"{archive}/hard.jpg") == f"{archive}/hard.jpg is a link to 'a.jpg': name that member instead"
    assert fault(f"{archive}/pipe.jpg").endswith("is no regular file in its archive: pack the photo again")
    assert read_listed(f"{archive}/a.jpg", UNKNOWN) == A


def test_a_name_that_occurs_more_than_once_is_refused(tmp_path):
    archive = write(tmp_path, tar([("a.jpg", A), ("b.jpg", B), ("./a.jpg", B), ("a.jpg", A)]))
    assert fault(f"{archive}/a.jpg").endswith("occurs more than once in its archive: give each member its own name")
    assert read_listed(f"{archive}/b.jpg", UNKNOWN) == B


def test_only_the_photos_before_a_cut_are_used(tmp_path):
    whole = tar({"a.jpg": A, "b.jpg": B, "c.jpg": A})
    size = BLOCK + 1024 + BLOCK + 100  # within b.jpg
    archive = write(tmp_path, whole[:size])
    assert read_listed(f"{archive}/a.jpg", UNKNOWN) == A
    assert fault(f"{archive}/b.jpg").endswith(
        f"is cut off, because its archive ends after {size} bytes: download or write it again"
    )
    assert fault(f"{archive}/c.jpg").startswith(
        f"no file at {archive}/c.jpg; the archive is damaged after byte 2048 of"
    )


@pytest.mark.parametrize("size", [BLOCK + 1024, BLOCK + 1024 + 100])
def test_an_archive_without_an_end_marker_may_be_cut_off(tmp_path, size):
    archive = write(tmp_path, tar({"a.jpg": A, "b.jpg": B})[:size])
    assert read_listed(f"{archive}/a.jpg", UNKNOWN) == A
    assert "download or write it again" in fault(f"{archive}/b.jpg")


def test_data_after_the_end_marker_is_reported(tmp_path, caplog):
    archive = write(tmp_path, tar({"a.jpg": A}) + tar({"b.jpg": B}))
    damage = "has data after its end marker at byte 1536, as if archives had been joined"
    assert fault(f"{archive}/b.jpg") == (
        f"no file at {archive}/b.jpg; the archive {damage}: pack all members into one archive again"
    )
    assert read_listed(f"{archive}/a.jpg", UNKNOWN) == A
    assert f"the archive {archive} cannot be used completely: it {damage}" in caplog.text


def test_a_damaged_header_is_reported_and_the_photos_before_it_are_used(tmp_path):
    content = bytearray(tar({"a.jpg": A, "b.jpg": B, "c.jpg": A}))
    content[1536] ^= 1  # the first letter of b.jpg
    archive = write(tmp_path, bytes(content))
    assert read_listed(f"{archive}/a.jpg", UNKNOWN) == A
    for name in ("b.jpg", "c.jpg"):
        assert f"; the archive has a damaged header at byte 1536 of {len(content)}: " in fault(f"{archive}/{name}")


def test_a_header_that_states_a_huge_size_is_not_read(tmp_path):
    header = member("long", type=tarfile.GNUTYPE_LONGNAME)
    header.size = LONGEST_HEADER + 1
    archive = write(tmp_path, header.tobuf(tarfile.GNU_FORMAT) + bytes(LONGEST_HEADER + 2 * BLOCK))
    assert f"(a header states {LONGEST_HEADER + BLOCK} bytes)" in fault(f"{archive}/a.jpg")


@pytest.mark.parametrize(
    ("name", "mode"), [("0.tar.gz", "w:gz"), ("0.tgz", "w:gz"), ("0.tar.xz", "w:xz"), ("0.tar", "w:bz2")]
)
def test_a_compressed_archive_is_refused(tmp_path, name, mode):
    archive = write(tmp_path, tar({"a.jpg": A}, mode), name)
    packer = {"gz": "gzip", "xz": "xz", "z2": "bzip2"}[mode[-2:]]
    assert fault(f"{archive}/a.jpg") == (
        f"no file at {archive}/a.jpg; the archive is compressed with {packer}, so no photo can be read on its own: "
        "unpack it to a .tar file, and name that one"
    )


@pytest.mark.parametrize("content", [b"<html>404 Not Found</html>" * 100, b"\n<!DOCTYPE HTML><title>Log in</title>"])
def test_a_web_page_is_no_damaged_archive(tmp_path, content):
    archive = write(tmp_path, content)
    assert fault(f"{archive}/a.jpg") == (
        f"no file at {archive}/a.jpg; the archive is a web page, such as a login page: check its address, and download "
        "it again"
    )


@pytest.mark.parametrize("content", [b"", b'{"error": "expired"}' * 100])
def test_a_file_that_is_no_archive_is_reported(tmp_path, content):
    archive = write(tmp_path, content)
    assert f"the archive is damaged after byte 0 of {len(content)} (" in fault(f"{archive}/a.jpg")


def test_a_damaged_archive_costs_no_photo_of_another_archive(tmp_path):
    first, second = write(tmp_path, b"nothing", "0.tar"), write(tmp_path, shard({"1": B}), "1.tar")
    found = find_files([f"{first}/0.jpg", f"{second}/1.jpg"])
    assert list(found.files) == [f"{second}/1.jpg"]
    assert list(found.failures) == [f"{first}/0.jpg"]


def test_an_archive_that_cannot_be_opened_fails_as_a_whole(tmp_path):
    archive = write(tmp_path, shard({"0": A}))
    (tmp_path / "0.tar").chmod(0)
    tmp_path.chmod(0o755)
    with unprivileged(tmp_path):
        found = find_files([f"{archive}/0.jpg"])
    assert isinstance(found.failures[f"{archive}/0.jpg"], DatasetError)
    assert f"{archive}: no permission" in str(found.failures[f"{archive}/0.jpg"])


def test_members_that_the_list_does_not_name_are_counted(tmp_path, caplog):
    uris = [
        f"{write(tmp_path, shard({f'{number}': A, 'other': B}), f'{number}.tar')}/{number}.jpg" for number in (0, 1)
    ]
    with caplog.at_level(logging.INFO):
        find_files(uris)
    assert caplog.messages == [
        "clipes ignores 10 members of archives that the list does not name: 2 jpg, 4 json, 4 txt"
    ]


def test_photos_of_an_archive_without_a_plausible_time_are_identified_by_their_content(tmp_path):
    def listed(content):
        archive = write(tmp_path, content)
        os.utime(archive, (0, 0))
        return archive, find_files([f"{archive}/0.jpg"]).files[f"{archive}/0.jpg"].fingerprint

    archive, before = listed(shard({"0": A, "1": A}))
    assert read_listed(f"{archive}/0.jpg", before) == A
    assert listed(shard({"0": A, "1": B}))[1] == before
    assert read_listed(f"{archive}/0.jpg", before) == A
    assert listed(shard({"0": B, "1": A}))[1] != before
    with pytest.raises(PhotoError, match="has changed since the run listed it"):
        read_listed(f"{archive}/0.jpg", before.replace(before[-1], "x"))


def test_on_s3_only_headers_and_the_needed_member_are_fetched(s3_folder, counted):
    photos = {f"{number}": os.urandom(600_000) for number in range(30)}
    content = shard(photos)
    archive = write(s3_folder, content)
    uri = f"{archive}/7.jpg"

    counted.received = 0
    fingerprint = find_files([uri]).files[uri].fingerprint
    for_index = counted.received
    table.find_files([uri])
    for_kept_index = counted.received - for_index
    counted.received = 0
    assert read_listed(uri, fingerprint) == photos["7"]

    assert 10_000 < for_index < len(photos) * 10_000 < len(content) / 15
    assert for_kept_index < 5_000
    assert 600_000 < counted.received < 605_000


def test_on_s3_an_archive_of_small_photos_is_indexed_with_few_requests(s3, s3_folder, monkeypatch):
    content = shard({f"{number}": os.urandom(20_000) for number in range(500)})
    uri = f"{write(s3_folder, content)}/7.jpg"
    with s3_traffic(s3.url) as traffic:
        monkeypatch.setenv("AWS_ENDPOINT_URL", traffic.url)
        S3FileSystem.clear_instance_cache()
        assert list(find_files([uri]).files) == [uri]
        assert traffic.requests.total() < 12  # of more than 500 headers
        assert 0.9 * len(content) < traffic.received < 1.1 * len(content)
