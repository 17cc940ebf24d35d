import logging
import threading

import pytest

from clipes.tasks.execution.artifact_repair import ArtifactRepair
from clipes.tasks.inputs.photos import Reject
from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.errors import BrokenArtifactError, ErrorKind, TransientError, WorkerError


@pytest.fixture
def damaged(tmp_path):
    path = tmp_path / "store" / "artifacts" / "cams" / ("5" * 16) / f"000-{'c' * 16}.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    return path


@pytest.fixture
def ledger():
    return Ledger(photos=1, max_failure_rate=1)


@pytest.fixture
def repair_with(tmp_path, ledger):
    """Return the repair of a stage whose shards the given function makes."""
    return lambda make: ArtifactRepair(ArtifactStore(str(tmp_path / "store")), ledger, make)


def found(path):
    return BrokenArtifactError(str(path), "cannot be read")


def record(path, *rejects):
    return ShardRecord("cams", 0, str(path), images=1, cached=False, computed=1, rejects=rejects)


def makes(path, contents):
    """Return a function that writes the artifact with the next of the given contents at each call."""
    turns = iter(contents)

    def make(shard):
        assert not path.exists()
        path.write_bytes(next(turns))
        return record(path)

    return make


def test_a_damaged_artifact_is_discarded_and_rebuilt(repair_with, damaged, ledger, caplog):
    with caplog.at_level(logging.WARNING):
        repair_with(makes(damaged, [b"whole"])).rebuild(found(damaged), 0)
    assert damaged.read_bytes() == b"whole"
    assert ledger.has_complete_artifact("cams", 0)
    assert caplog.messages == [f"{damaged} cannot be read: discarding and rebuilding it"]


def test_the_artifact_of_the_shard_itself_is_only_discarded(repair_with, damaged):
    repair_with(makes(damaged, [])).discard(found(damaged))
    assert not damaged.exists()


def test_an_artifact_that_another_shard_has_repaired_is_kept(repair_with, damaged):
    repairs = repair_with(makes(damaged, [b"whole"]))
    repairs.rebuild(found(damaged), 0)
    repairs.rebuild(found(damaged), 0)
    repairs.discard(found(damaged))
    assert damaged.read_bytes() == b"whole"


def test_a_failed_rebuild_is_repeated(repair_with, damaged):
    attempts = [WorkerError("its worker process died"), None]

    def make(shard):
        if error := attempts.pop(0):
            raise error
        damaged.write_bytes(b"whole")
        return record(damaged)

    repairs = repair_with(make)
    with pytest.raises(WorkerError):
        repairs.rebuild(found(damaged), 0)
    assert not damaged.exists()
    repairs.rebuild(found(damaged), 0)
    assert damaged.read_bytes() == b"whole"


def test_a_rebuilt_artifact_with_transient_rejects_fails_its_shard(repair_with, damaged, ledger):
    timeout = Reject("a", "a.jpg", "cams", ErrorKind.TIMEOUT, "no answer")
    with pytest.raises(TransientError, match="1 photos failed for a transient cause"):
        repair_with(lambda shard: record(damaged, timeout)).rebuild(found(damaged), 0)
    assert not ledger.has_complete_artifact("cams", 0)


def test_a_rebuild_can_repair_another_artifact_of_its_stage(repair_with, damaged):
    older = damaged.with_name("older.parquet")
    older.write_bytes(b"damaged")
    made = []

    def make(shard):
        made.append(shard)
        if shard == 0:  # it copies from the older artifact, finds the damage and repairs it
            repairs.rebuild(found(older), 1)
        path = (damaged, older)[shard]
        path.write_bytes(b"whole")
        return record(path)

    repairs = repair_with(make)
    repairs.rebuild(found(damaged), 0)
    assert made == [0, 1]
    assert older.read_bytes() == damaged.read_bytes() == b"whole"


def test_two_shards_that_find_the_same_damage_rebuild_it_once(repair_with, damaged):
    began, may_end, made = threading.Event(), threading.Event(), []

    def make(shard):
        began.set()
        assert may_end.wait(30)
        made.append(shard)
        return record(damaged)

    repairs = repair_with(make)
    first, second = (threading.Thread(target=repairs.rebuild, args=(found(damaged), 0)) for _ in range(2))
    first.start()
    assert began.wait(30)
    second.start()
    may_end.set()
    first.join(30)
    second.join(30)
    assert made == [0]
