import logging
import shutil
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fsspec import register_implementation
from fsspec.implementations.memory import MemoryFileSystem
from support.damage import flip

from clipes.tasks.plan import shard_parts
from clipes.tasks.plan.shard_parts import (
    PartWriter,
    find_parts,
    pause_between_parts,
    remove_parts,
    without_damaged_parts,
)
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import ArtifactKey, new_part_uri
from clipes.tasks.storage.listed_store import ListedStore
from clipes_core.errors import BrokenArtifactError, StorageError

KEY = ArtifactKey("masks", "5" * 16, 7, "c" * 16)
OTHERS = [ArtifactKey("masks", "5" * 16, 70, "c" * 16), ArtifactKey("masks", "5" * 16, 7, "d" * 16)]
SCHEMA = pa.schema([("image_id", pa.string()), ("data", pa.binary())])
ROWS = [{"image_id": f"photo {i}", "data": bytes([i]) * 10} for i in range(5)]
NEVER, ALWAYS = float("inf"), 0.0  # pauses [s]


@pytest.fixture(params=["path", "s3"])
def store(request, tmp_path):
    if request.param == "s3":
        return ArtifactStore(f"{request.getfixturevalue('s3_folder')}/store")
    return ArtifactStore(str(tmp_path / "store"))


@pytest.fixture
def local(tmp_path):
    return ArtifactStore(str(tmp_path / "store"))


def write(store, rows, pause_s=ALWAYS, key=KEY):
    writer = PartWriter(store, key, SCHEMA, pause_s)
    for row in rows:
        writer.add(row)
    return writer


def rows_of_parts(store, key=KEY):
    """Return the rows of each part, in the order of the photos."""
    return sorted((store.read(uri).to_pylist() for uri in find_parts(store, key)), key=lambda rows: rows[0]["image_id"])


@pytest.mark.parametrize(("timeout_s", "pause_s"), [(3600, 60), (1200, 60), (100, 5), (1, 0.05)])
def test_a_pause_is_a_minute_or_a_twentieth_of_the_time_limit(timeout_s, pause_s):
    assert pause_between_parts(timeout_s) == pause_s


def test_each_row_after_a_pause_ends_a_part(store):
    assert write(store, ROWS[:3]).written == 3
    assert rows_of_parts(store) == [[row] for row in ROWS[:3]]


def test_no_part_is_written_before_the_first_pause_has_passed(local):
    assert write(local, ROWS, NEVER).written == 0
    assert find_parts(local, KEY) == []


def test_a_part_is_written_early_if_its_rows_are_large(local, monkeypatch):
    monkeypatch.setattr(shard_parts, "PART_BYTES", 20)
    assert write(local, ROWS, NEVER).written == 2
    assert rows_of_parts(local) == [ROWS[:2], ROWS[2:4]]


def test_parts_state_the_key_of_their_artifact(local):
    write(local, ROWS[:1])
    (uri,) = find_parts(local, KEY)
    metadata = {"stage": "masks", "stage_key": "5" * 16, "content_key": "c" * 16}
    assert local.footer(uri).metadata == metadata
    copied = new_part_uri(local.uri, OTHERS[1])
    shutil.copy(uri, copied)
    with pytest.raises(BrokenArtifactError, match="carries the key of a different artifact"):
        local.read(copied)


def test_only_the_parts_of_one_artifact_are_found_and_removed(store):
    for key in (KEY, *OTHERS):
        write(store, ROWS[:2], key=key)
        with store.writer(key, SCHEMA, {}) as artifact:
            artifact.write(ROWS[0])
    assert [len(find_parts(store, key)) for key in (KEY, *OTHERS)] == [2, 2, 2]
    listed = ListedStore(store.uri)
    assert len(listed.shard_artifacts("masks", "5" * 16, 7)) == 2
    assert [sorted(listed.listed_parts(key)) for key in (KEY, *OTHERS)] == [
        find_parts(store, key) for key in (KEY, *OTHERS)
    ]

    remove_parts(store, KEY)

    assert [len(find_parts(store, key)) for key in (KEY, *OTHERS)] == [0, 2, 2]
    assert store.is_complete(KEY, 1)
    remove_parts(store, KEY)


class Unsteady(MemoryFileSystem):
    """A remote file system whose first uploads fail."""

    failures = 0

    def put_file(self, source, target, **options):
        if Unsteady.failures:
            Unsteady.failures -= 1
            raise ConnectionError("connection reset")
        super().put_file(source, target, **options)


def test_rows_that_the_store_does_not_take_are_written_with_the_next_part(monkeypatch, caplog):
    register_implementation("memory", Unsteady, clobber=True)
    monkeypatch.setattr(Unsteady, "failures", 1)
    store = ArtifactStore(f"memory://{uuid.uuid4()}/store")
    with caplog.at_level(logging.WARNING):
        assert write(store, ROWS[:3]).written == 2
    assert rows_of_parts(store) == [ROWS[:2], ROWS[2:3]]
    assert "cannot keep the finished rows of masks shard 7 yet: " in caplog.text
    register_implementation("memory", MemoryFileSystem, clobber=True)


def test_a_store_that_refuses_parts_is_an_error(tmp_path):
    (tmp_path / "store").write_text("no folder")
    with pytest.raises(StorageError, match="a file is where a folder must be"):
        write(ArtifactStore(str(tmp_path / "store")), ROWS[:1])


def test_damaged_parts_are_removed_and_the_other_copies_stay(local, caplog):
    noise = np.random.default_rng(0)
    write(local, [{"image_id": f"large {i}", "data": noise.bytes(200_000)} for i in range(2)])
    intact, damaged = find_parts(local, KEY)
    flip(Path(damaged), 100_000)
    assert len(local.read(damaged, ["image_id"])) == 1  # a plan does not read the block that is damaged
    copies = {damaged: ("large 1",), intact: ("large 0",), "/an/earlier.parquet": ("photo",)}

    with caplog.at_level(logging.WARNING):
        assert without_damaged_parts(local, copies) == {intact: ("large 0",), "/an/earlier.parquet": ("photo",)}

    assert find_parts(local, KEY) == [intact]
    (message,) = caplog.messages
    assert message.startswith(f"{damaged} ")
    assert message.endswith(": removing this part of a shard and computing its 1 rows")


def test_a_part_that_another_process_has_removed_is_an_error(local):
    write(local, ROWS[:1])
    copies = dict.fromkeys(find_parts(local, KEY), ("photo 0",))
    remove_parts(local, KEY)
    with pytest.raises(BrokenArtifactError, match="is missing"):
        without_damaged_parts(local, copies)
