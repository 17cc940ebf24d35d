import errno
import logging
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fsspec import register_implementation
from fsspec.implementations.local import LocalFileSystem
from support.damage import flip_in_footer, flip_in_page
from support.pool_calls import worker_pool
from support.prepared import prepare_ranking, prepare_run
from support.small_runs import all_stage_shards, make_all_shards, make_stage_shards

from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.errors import StorageError, TransientError, WorkerError


@pytest.fixture
def three(tiny):
    """Three photos in one shard."""
    for name in "abc":
        tiny.add(name, "cat;dog")
    return tiny


@pytest.fixture
def made(three, pool):
    """Return a function that makes all stages of a run, and returns the record of each stage."""

    def made(until="masks", **sections):
        run = prepare_run(three.config(**sections), until)
        return {record.stage: record for record in make_all_shards(run, pool).records()}

    return made


def column(stage, name):
    return STAGES[stage].schema.names.index(name)


def test_a_second_run_reuses_everything(made):
    first, again = made(), made()
    assert [(first[name].cached, again[name].cached) for name in first] == [(False, True)] * 3
    assert [record.uri for record in first.values()] == [record.uri for record in again.values()]


def test_an_artifact_with_a_damaged_page_is_rebuilt_by_its_stage(made, caplog):
    cams = Path(made()["cams"].uri)
    whole = pq.read_table(cams)
    flip_in_page(cams, group=0, column=column("cams", "refined_cam"))

    with caplog.at_level(logging.WARNING):
        second = made(crf={"iter_max": 2})

    assert not second["masks"].cached
    assert (second["masks"].computed, second["masks"].rejects) == (3, ())
    assert (second["cams"].cached, second["cams"].computed) == (False, 3)
    assert pq.read_table(cams).equals(whole)
    assert f"{cams} cannot be read" in caplog.text
    assert "discarding and rebuilding it" in caplog.text


@pytest.mark.timeout(120)
def test_a_rebuild_repairs_the_damaged_artifact_it_copies_from(made, three, caplog):
    older = Path(made()["cams"].uri)
    three.add("d", "cat;dog")
    newer = Path(made()["cams"].uri)
    assert older != newer
    for cams in (older, newer):
        flip_in_page(cams, group=0, column=column("cams", "refined_cam"))

    with caplog.at_level(logging.WARNING):
        second = made(crf={"iter_max": 2})

    assert (second["masks"].computed, second["masks"].rejects) == (4, ())
    assert (second["cams"].copied, second["cams"].computed) == (0, 4)
    assert f"{older} cannot be read" in caplog.text
    assert f"{newer} cannot be read" in caplog.text


class LosesWorkers:
    """A pool that kills some workers at the start of their calls."""

    def __init__(self, pool, deaths):
        self._pool, self._deaths = pool, deaths

    @property
    def counters(self):
        return self._pool.counters

    def idle_worker(self, timeout_s):
        if self._deaths.pop(0):
            raise WorkerError("its worker process died")
        return self._pool.idle_worker(timeout_s)


def test_a_rebuild_whose_worker_dies_succeeds_in_the_next_attempt(made, three, pool):
    cams = Path(made()["cams"].uri)
    run = prepare_run(three.config(crf={"iter_max": 2}), "masks")
    finds_damage, dies_in_rebuild, rebuilds, computes = False, True, False, False
    ledger, deaths = Ledger(run.photos, 1), [finds_damage, dies_in_rebuild, rebuilds, computes]
    texts, cams_work, masks = all_stage_shards(run, ledger, LosesWorkers(pool, deaths))
    for work in (texts, cams_work):
        make_stage_shards(work, run)
    flip_in_page(cams, group=0, column=column("cams", "refined_cam"))

    with pytest.raises(WorkerError):
        masks.make(0)
    assert not cams.exists()
    record = masks.make(0)

    assert (record.computed, record.rejects) == (3, ())
    assert ledger.record("cams", 0).computed == 3


def test_an_artifact_with_unreadable_digests_is_rebuilt(made):
    cams = Path(made()["cams"].uri)
    flip_in_page(cams, group=0, column=column("cams", "output_digest"))
    second = made(crf={"iter_max": 2})
    assert (second["cams"].computed, second["masks"].computed) == (3, 3)


def test_a_cached_artifact_with_an_unreadable_index_is_rebuilt(made):
    masks = Path(made()["masks"].uri)
    flip_in_footer(masks)
    second = made()
    assert (second["cams"].cached, second["masks"].cached, second["masks"].computed) == (True, False, 3)


def test_an_artifact_deleted_before_it_is_read_is_rebuilt(made, three, pool):
    """Another process deletes the artifact after the run has counted it as cached."""
    cams = Path(made("cams")["cams"].uri)
    run = prepare_run(three.config(), "masks")
    ledger = Ledger(run.photos, 1)
    for work in all_stage_shards(run, ledger, pool):
        if work.stage.name == "masks":
            assert ledger.record("cams", 0).cached
            cams.unlink()
        make_stage_shards(work, run)
    assert cams.exists()
    assert (ledger.record("cams", 0).computed, ledger.record("masks", 0).computed) == (3, 3)


def test_unreadable_texts_are_rebuilt(made):
    texts = Path(made()["texts"].uri)
    flip_in_page(texts, group=0, column=column("texts", "feature"))
    second = made(cam={"power": 1})
    assert (second["texts"].computed, second["cams"].computed) == (45, 3)


def test_rows_that_cannot_be_copied_are_computed(made, three, caplog):
    cams = Path(made()["cams"].uri)
    three.add("d", "dog")
    flip_in_page(cams, group=0, column=column("cams", "refined_cam"))
    with caplog.at_level(logging.WARNING):
        second = made()
    assert (second["cams"].copied, second["cams"].computed) == (0, 4)
    assert f"{cams} cannot be read (it fails its checksum): discarding and rebuilding it" in caplog.text


def test_an_artifact_with_other_photos_is_rebuilt(made, three):
    cams = Path(made()["cams"].uri)
    stranger = cams.read_bytes()
    three.remove("c")
    three.add("d", "dog")
    cams.unlink()
    other = Path(made()["cams"].uri)
    expected = pq.read_table(other)
    forged = replaced_key(stranger, cams, other)
    other.write_bytes(forged)
    second = made()
    assert not second["cams"].cached
    assert pq.read_table(other) == expected


def replaced_key(data, old, new):
    """Return the bytes of an artifact with another content key of the same length."""
    old_key, new_key = (path.stem.partition("-")[2].encode() for path in (old, new))
    assert data.count(old_key) >= 1
    return data.replace(old_key, new_key)


class OutOfReach(LocalFileSystem):
    """A store that does not answer reads for a while."""

    protocol = "outofreach"

    def _open(self, path, mode="rb", **options):
        if mode == "rb" and path.endswith(".parquet"):
            raise OSError(errno.ESTALE, "Stale file handle", path)
        return super()._open(path, mode, **options)


def test_an_artifact_is_kept_if_the_store_does_not_answer(made):
    cams = Path(made()["cams"].uri)
    register_implementation("outofreach", OutOfReach, clobber=True)
    store = ArtifactStore(f"outofreach://{cams.parents[3]}")
    with pytest.raises(TransientError, match=r"\.parquet: .*Stale file handle.*; check the address"):
        store.footer(f"outofreach://{cams}")
    assert cams.exists()


def test_a_folder_in_place_of_an_artifact_is_reported_and_kept(made):
    cams = Path(made()["cams"].uri)
    cams.unlink()
    cams.mkdir()
    with pytest.raises(StorageError, match=r"\.parquet cannot be used \(.*directory.*\); repair it"):
        made(crf={"iter_max": 2})
    assert cams.is_dir()


def test_only_the_unreadable_texts_of_a_candidate_are_rebuilt(three, pool, caplog):
    def ranked(pool, **sections):
        return make_all_shards(prepare_ranking(three.config(**sections), ("a {}.", "the {}.")), pool)

    first = ranked(pool)
    texts = Path(first.record("candidate_texts", 1).uri)
    whole = pq.read_table(texts)
    flip_in_page(texts, group=0, column=column("texts", "feature"))
    with caplog.at_level(logging.WARNING), worker_pool([WorkerSlot("cpu", 1)], Counters(tuple(STAGES))) as own:
        second = ranked(own, clip={"pooling": "cls"})  # in a process that has not read these texts yet

    assert [second.record("candidate_texts", shard).computed for shard in (0, 1)] == [0, 45]
    assert second.record("prompts", 0).computed == 3
    assert pq.read_table(texts).equals(whole)
    assert f"{texts} cannot be read" in caplog.text
