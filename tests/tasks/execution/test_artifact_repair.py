import logging
import threading
from functools import partial
from pathlib import Path

import pytest

from clipes.tasks.execution.artifact_repair import ArtifactRepair
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.errors import BrokenArtifactError, WorkerError


@pytest.fixture
def damaged(tmp_path):
    path = tmp_path / "store" / "artifacts" / "cams" / ("5" * 16) / f"000-{'c' * 16}.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    return path


@pytest.fixture
def repairs(tmp_path):
    return ArtifactRepair(ArtifactStore(str(tmp_path / "store")))


def found(path):
    return BrokenArtifactError(str(path), "cannot be read")


def rebuilds(path, content=b"whole"):
    return partial(path.write_bytes, content)


def test_a_damaged_artifact_is_gone_before_it_is_rebuilt(repairs, damaged, caplog):
    existed = []
    with caplog.at_level(logging.WARNING):
        repairs.repair(found(damaged), lambda: existed.append(damaged.exists()))
    assert existed == [False]
    assert caplog.messages == [f"{damaged} cannot be read: discarding and rebuilding it"]


def test_the_artifact_of_the_shard_itself_is_only_discarded(repairs, damaged):
    repairs.repair(found(damaged))
    assert not damaged.exists()


def test_an_artifact_that_another_shard_has_repaired_is_kept(repairs, damaged):
    repairs.repair(found(damaged), rebuilds(damaged))
    repairs.repair(found(damaged), rebuilds(damaged, b"twice"))
    repairs.repair(found(damaged))
    assert damaged.read_bytes() == b"whole"


def test_a_rebuild_that_fails_is_done_again(repairs, damaged):
    def dies():
        raise WorkerError("its worker process died")

    with pytest.raises(WorkerError):
        repairs.repair(found(damaged), dies)
    assert not damaged.exists()
    repairs.repair(found(damaged), rebuilds(damaged))
    assert damaged.read_bytes() == b"whole"


def test_a_rebuild_can_repair_another_artifact_of_its_stage(repairs, damaged):
    older = Path(f"{damaged}.older")
    older.write_bytes(b"damaged")

    def copies_from_older():
        repairs.repair(found(older), rebuilds(older))
        damaged.write_bytes(older.read_bytes())

    repairs.repair(found(damaged), copies_from_older)
    assert older.read_bytes() == damaged.read_bytes() == b"whole"


def test_two_shards_that_find_the_same_damage_rebuild_it_once(repairs, damaged):
    began, may_end, rebuilt = threading.Event(), threading.Event(), []

    def slowly():
        began.set()
        assert may_end.wait(30)
        rebuilt.append("slowly")

    first = threading.Thread(target=repairs.repair, args=(found(damaged), slowly))
    second = threading.Thread(target=repairs.repair, args=(found(damaged), lambda: rebuilt.append("again")))
    first.start()
    assert began.wait(30)
    second.start()
    may_end.set()
    first.join(30)
    second.join(30)
    assert rebuilt == ["slowly"]
