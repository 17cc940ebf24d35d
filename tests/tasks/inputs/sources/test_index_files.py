"""The kept indexes of archives: made once per version, used again, and made again if they are damaged."""

import logging
import multiprocessing
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from s3fs import S3FileSystem
from support.archives import member, parquet, shard, tar
from support.damage import flip
from support.permissions import unprivileged
from support.s3_traffic import Traffic, s3_traffic

from clipes.tasks.inputs.sources.archives import Index
from clipes.tasks.inputs.sources.index_files import IndexFiles, version_key
from clipes.tasks.inputs.sources.members import Members
from clipes.tasks.inputs.sources.source import Found
from clipes.tasks.inputs.sources.table import find_files, read_listed
from clipes.tasks.runs.inputs.photos import list_photos
from clipes.tasks.storage.files import write_file
from clipes.tasks.storage.layout import archive_indexes_uri
from clipes.tasks.storage.listing import FileFacts, list_below
from clipes_core.config.run import parse_config

A, B = b"photo a" * 100, b"photo b" * 99
KEPT = "the next run reads the archives again, because their indexes cannot be kept"


@pytest.fixture
def traffic(s3, s3_folder, monkeypatch):
    """Let this process reach the S3 server through a proxy that counts requests and bytes."""
    with s3_traffic(s3.url) as traffic:
        monkeypatch.setenv("AWS_ENDPOINT_URL", traffic.url)
        S3FileSystem.clear_instance_cache()
        yield traffic


@pytest.fixture
def archive(tmp_path) -> str:
    """Write a tar archive to a local disk, and return its path."""
    (tmp_path / "0.tar").write_bytes(shard({"0": A, "1": B}))
    return f"{tmp_path}/0.tar"


@pytest.fixture
def store(tmp_path) -> str:
    return f"{tmp_path}/store"


def index_files(store: str) -> list[Path]:
    """Return the index files of a local store; there must be no other files next to them."""
    files = sorted(Path(archive_indexes_uri(store)).glob("*"))
    assert all(file.suffix == ".parquet" for file in files)
    return files


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def make_unreadable(archive: str) -> None:
    """Overwrite the content of an archive, so that nothing can be found in it, but keep its fingerprint."""
    before = Path(archive).stat()
    Path(archive).write_bytes(b"x" * before.st_size)
    os.utime(archive, ns=(before.st_atime_ns, before.st_mtime_ns))


def list_again(traffic: Traffic, config: dict) -> tuple:
    """List the photos of a run, and count the traffic."""
    traffic.reset()
    return list_photos(parse_config(config)).photos


def test_the_second_start_of_a_run_reads_no_archive(traffic, s3_folder):
    size, count = 20_000, 200
    uris = [f"{s3_folder}/{number}.tar" for number in range(3)]
    for number, uri in enumerate(uris):
        write_file(uri, shard({f"{number}-{photo}": os.urandom(size) for photo in range(count)}))
    rows = [f"{number}.tar/{number}-{photo}.jpg,dog" for number in range(3) for photo in range(count)]
    write_file(f"{s3_folder}/list.csv", "\n".join(["image,labels", *rows]).encode())
    dataset = {"format": "list", "split": f"{s3_folder}/list.csv", "classes": ["dog"]}
    config = {"name": "a", "store": f"{s3_folder}/store", "dataset": dataset}

    first = list_again(traffic, config)
    assert traffic.received > 3 * count * size
    second = list_again(traffic, config)
    assert second == first
    assert len(second) == 3 * count
    assert traffic.received < 250_000 < count * size / 10
    assert traffic.requests["PUT"] == 0
    assert traffic.requests.total() <= 4 * 3 + 5  # per archive, and for the list and the folder

    write_file(uris[1], shard({f"1-{photo}": os.urandom(size) for photo in range(count)}))
    third = list_again(traffic, config)
    changed = {photo.image_id[:1] for before, photo in zip(first, third, strict=True) if photo != before}
    assert changed == {"1"}
    assert count * size < traffic.received < 2 * count * size


@pytest.mark.parametrize(
    ("name", "content", "names"),
    [
        ("0.tar", shard({"0": A, "1": B}), ["0.jpg", "1.jpg", "none.jpg"]),
        ("0.tar", tar([("a", A), ("b", B), ("./b", B), (member("c", type=tarfile.SYMTYPE), b"")]), ["a", "b", "c"]),
        ("0.tar", tar({"träd/a.jpg": A, "no-utf8-\udcff.jpg": B, "x\ny.jpg": A}), ["träd/a.jpg", "x\ny.jpg"]),
        ("0.parquet", parquet({"0": A, "1": B}), ["0.jpg", "1.jpg", "none.jpg"]),
    ],
)
def test_a_kept_index_tells_the_same_as_its_archive(tmp_path, store, name, content, names):
    archive = f"{tmp_path}/{name}"
    Path(archive).write_bytes(content)
    uris = [f"{archive}/{each}" for each in names]
    expected = find_files(uris)
    assert same(find_files(uris, store), expected)
    make_unreadable(archive)
    assert same(find_files(uris, store), expected)


def same(one: Found, other: Found) -> bool:
    return one.files == other.files and [*map(str, one.failures.items())] == [*map(str, other.failures.items())]


def test_a_changed_archive_is_indexed_again(archive, store):
    uri = f"{archive}/1.jpg"
    before = find_files([uri], store).files[uri]
    Path(archive).write_bytes(shard({"1": A}))
    after = find_files([uri], store).files[uri]
    assert after.fingerprint != before.fingerprint
    assert read_listed(uri, after.fingerprint) == A
    assert len(index_files(store)) == 2


def cut(index: Path, other: Path) -> None:
    index.write_bytes(index.read_bytes()[:-100])


def empty(index: Path, other: Path) -> None:
    index.write_bytes(b"")


def flip_row(index: Path, other: Path) -> None:
    flip(index, 40)


def flip_footer(index: Path, other: Path) -> None:
    flip(index, -100)


def swap(index: Path, other: Path) -> None:
    shutil.copy(other, index)


@pytest.mark.parametrize("damage", [cut, empty, flip_row, flip_footer, swap])
def test_a_damaged_index_is_made_again(tmp_path, archive, store, damage, caplog):
    uri = f"{archive}/0.jpg"
    expected = find_files([uri], store)
    (index,) = index_files(store)
    intact = index.read_bytes()
    (tmp_path / "1.tar").write_bytes(shard({"2": B}))
    find_files([f"{tmp_path}/1.tar/2.jpg"], store)
    (other,) = set(index_files(store)) - {index}
    assert warnings(caplog) == []

    damage(index, other)
    assert find_files([uri], store) == expected
    (message,) = warnings(caplog)
    assert message.startswith(f"1 indexes of archives are damaged: clipes makes them again; first: {index} ")
    assert index.read_bytes() == intact


def test_processes_that_index_the_same_archives_do_not_disturb_each_other(tmp_path, store):
    archives = [f"{tmp_path}/{number}.tar" for number in range(4)]
    for path in archives:
        Path(path).write_bytes(shard({f"{number}": A for number in range(500)}))
    uris = [f"{archive}/{number}.jpg" for archive in archives for number in range(500)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.starmap(find_files, [(uris, store)] * 8, chunksize=1)
    assert all(each == found[0] and len(each.files) == len(uris) for each in found)
    assert len(index_files(store)) == len(archives)
    for path in archives:
        make_unreadable(path)
    assert find_files(uris, store) == found[0]


def test_the_index_of_a_damaged_archive_is_not_kept(archive, store):
    whole = Path(archive).read_bytes()
    Path(archive).write_bytes(whole[:2000])
    assert list(find_files([f"{archive}/0.jpg", f"{archive}/1.jpg"], store).files) == [f"{archive}/0.jpg"]
    assert index_files(store) == []


def test_the_index_of_an_archive_without_a_plausible_time_is_not_kept(archive, store):
    os.utime(archive, (0, 0))
    assert list(find_files([f"{archive}/0.jpg"], store).files) == [f"{archive}/0.jpg"]
    assert index_files(store) == []


@pytest.mark.parametrize(
    ("fingerprint", "modified", "reads"),
    [("700-", None, 2), ("700-0", 0.0, 2), ("700-1764500000000000000", 1764500000.0, 1), ("etag:5d41", None, 1)],
)
def test_an_index_is_used_again_only_if_the_fingerprint_changes_with_the_content(store, fingerprint, modified, reads):
    read: list[FileFacts] = []

    def members(archive: FileFacts) -> Members:
        read.append(archive)
        return Members.of(Index({}))

    for _ in range(2):
        IndexFiles(store).members(FileFacts("https://host/0.tar", 700, modified, fingerprint), members)
    assert len(read) == reads


def test_a_store_that_refuses_writes_is_reported_once(tmp_path, store, caplog):
    uris = []
    for number in range(40):
        (tmp_path / f"{number}.tar").write_bytes(shard({f"{number}": A}))
        uris.append(f"{tmp_path}/{number}.tar/{number}.jpg")
    Path(store).mkdir(mode=0o555)
    tmp_path.chmod(0o755)
    with unprivileged(tmp_path):
        assert len(find_files(uris, store).files) == len(uris)
    (message,) = warnings(caplog)
    assert message.startswith(f"{KEPT}: {store}/archive_indexes/")
    assert message.endswith("check its permissions or the credentials")


def test_an_index_that_cannot_be_read_is_reported_and_the_archive_is_read(tmp_path, archive, store, caplog):
    uri = f"{archive}/0.jpg"
    tmp_path.chmod(0o777)
    with unprivileged(tmp_path):
        expected = find_files([uri], store)
        index_files(store)[0].chmod(0)
        assert find_files([uri], store) == expected
    (message,) = warnings(caplog)
    assert message.startswith("clipes reads whole archives, because it cannot read their indexes: ")


def test_without_a_store_nothing_is_kept(archive, tmp_path):
    find_files([f"{archive}/0.jpg"])
    assert [file.uri for file in list_below(str(tmp_path))] == [archive]


def test_the_version_key_depends_on_the_fingerprint():
    assert version_key("etag:a") != version_key("etag:b")
