import resource
from pathlib import Path

import pytest
from support.parquet_files import SCHEMA, rows

from clipes.tasks.storage.parquet.footer import read_footer
from clipes.tasks.storage.parquet.writing import ROWS_PER_GROUP, ArtifactWriter
from clipes_core.errors import StorageError

FULL = Path("/dev/full")  # every write to this file fails with "disk full"


def test_groups_are_written_while_rows_arrive(path):
    writer = ArtifactWriter(str(path), path, SCHEMA, {})
    sizes = [path.stat().st_size]
    for row in rows(ROWS_PER_GROUP):
        writer.write(row)
        sizes.append(path.stat().st_size)
    writer.close()
    assert len(set(sizes[:-1])) == 1
    assert sizes[-1] - sizes[0] > ROWS_PER_GROUP * 50


def test_an_abandoned_file_is_not_an_artifact(path):
    writer = ArtifactWriter(str(path), path, SCHEMA, {})
    writer.write(rows(1)[0])
    writer.abandon()
    assert "complete" not in read_footer(str(path)).metadata


@pytest.mark.skipif(not FULL.exists(), reason="needs Linux")
def test_a_full_disk_is_a_storage_error():
    with pytest.raises(StorageError, match=r"^/store/a\.parquet: the disk is full \(No space left on device\)"):
        ArtifactWriter("/store/a.parquet", FULL, SCHEMA, {})


@pytest.fixture
def limit_file_size():
    """Yield a function that stops this process from writing files larger than 1 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_fails_the_write(path, limit_file_size):
    writer = ArtifactWriter("/store/a.parquet", path, SCHEMA, {})
    for row in rows(ROWS_PER_GROUP - 1):
        writer.write(row)
    limit_file_size()
    with pytest.raises(StorageError, match=r"^/store/a\.parquet: a file exceeds the limit .*: raise"):
        writer.write(rows(1)[0])


def test_a_full_disk_fails_close_but_not_abandon(path, limit_file_size):
    ended, abandoned = (ArtifactWriter(str(path), path.with_name(name), SCHEMA, {}) for name in "ab")
    for writer in (ended, abandoned):
        for row in rows(ROWS_PER_GROUP):
            writer.write(row)
    limit_file_size()
    with pytest.raises(StorageError, match="File too large"):
        ended.close()
    abandoned.abandon()
