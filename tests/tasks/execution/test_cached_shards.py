from errno import ESTALE
from pathlib import Path

import pytest
from fsspec import register_implementation
from fsspec.implementations.local import LocalFileSystem
from support.damage import flip_in_footer
from support.prepared import prepare_ranking, prepare_run
from support.small_runs import all_stage_shards, make_all_shards, make_stage_shards

from clipes.tasks.execution.cached_shards import find_cached
from clipes.tasks.plan.caching import REUSE_ALL, Reuse
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.storage.listed_store import ListedStore


@pytest.fixture
def six(tiny):
    """Six photos in two shards."""
    for name in "abcdef":
        tiny.add(name, "cat;dog")
    return tiny


@pytest.fixture
def shards_of(six, pool):
    """Return a function that returns stage -> its `StageShards`, in a new run until `masks`."""

    def shards_of(reuse=REUSE_ALL, **sections):
        run = prepare_run(six.config(**{"execution": {"shards": 2}, **sections}), "masks", reuse)
        return {work.stage.name: work for work in all_stage_shards(run, Ledger(run.photos, 1), pool)}

    return shards_of


@pytest.fixture
def first(shards_of):
    """Return the shards of a run that has made all of them."""
    works = shards_of()
    for work in works.values():
        make_stage_shards(work, work.run)
    return works


def found(work):
    return sorted(find_cached(work, work.run.shards(work.stage)))


def test_shards_in_the_store_are_found_with_the_records_that_make_would_return(first, shards_of):
    for name, work in shards_of().items():
        records = find_cached(work, work.run.shards(work.stage))
        assert {shard: record.uri for shard, record in records.items()} == {
            shard: first[name].artifact_uri(shard) for shard in work.run.shards(work.stage)
        }
        make_stage_shards(work, work.run)
        assert [*records.values()] == work.ledger.records(name)
        assert all(record.cached for record in records.values())


@pytest.mark.parametrize("reuse", [Reuse(fresh=True), Reuse(verify=True)])
def test_no_shard_is_found_if_its_artifact_must_not_be_reused_or_must_be_verified(first, shards_of, reuse):
    assert found(shards_of(reuse)["texts"]) == []


def test_a_shard_is_found_as_soon_as_its_upstream_shards_have_finished(first, shards_of):
    works = shards_of()
    assert found(works["masks"]) == []
    make_stage_shards(works["texts"], works["texts"].run)
    assert found(works["masks"]) == []
    works["cams"].ledger.planned("cams", 1)
    works["cams"].ledger.finished(works["cams"].make(1), 1)
    assert found(works["masks"]) == [1]
    works["cams"].ledger.failed("cams", 1, 1, ValueError())
    assert found(works["masks"]) == []


def test_a_missing_a_damaged_and_an_older_artifact_are_not_found(first, shards_of, six):
    masks = [Path(first["masks"].artifact_uri(shard)) for shard in (0, 1)]

    def found_masks():
        works = shards_of()
        for name in ("texts", "cams"):
            make_stage_shards(works[name], works[name].run)
        return found(works["masks"])

    assert found_masks() == [0, 1]
    flip_in_footer(masks[0])
    assert found_masks() == [1]
    masks[0].unlink()
    assert found_masks() == [1]
    six.add(first["masks"].run.inputs.shards[1][0].image_id, "cat", size=(48, 48))
    assert found_masks() == []


def test_other_settings_need_no_look_up(first, shards_of):
    works = shards_of(crf={"iter_max": 2})
    for name in ("texts", "cams"):
        make_stage_shards(works[name], works[name].run)
    assert works["masks"].run.store.stored_shards("masks", works["masks"].run.keys["masks"]) == set()
    assert found(works["masks"]) == []


def test_cached_texts_of_candidates_are_found_in_the_folders_of_their_templates(six, pool):
    def works(*templates):
        run = prepare_ranking(six.config(), templates)
        return next(iter(all_stage_shards(run, Ledger(run.photos, 1), pool)))

    make_all_shards(prepare_ranking(six.config(), ("a {}.", "the {}.")), pool)
    assert found(works("the {}.", "one {}.", "a {}.")) == [0, 2]


class Silent(LocalFileSystem):
    """A store whose artifacts cannot be read for a while; it counts the attempts."""

    protocol = "silentstore"
    attempts = 0

    def _open(self, path, mode="rb", **options):
        if path.endswith(".parquet"):
            Silent.attempts += 1
            raise OSError(ESTALE, "Stale file handle", path)
        return super()._open(path, mode, **options)


def test_a_store_that_does_not_answer_is_left_to_the_task_runs(first, shards_of, monkeypatch):
    register_implementation("silentstore", Silent, clobber=True)
    texts = shards_of()["texts"]
    monkeypatch.setattr(texts.run.store, "uri", f"silentstore://{texts.run.store.uri}")
    assert ListedStore(texts.run.store.uri).stored_shards("texts", texts.run.keys["texts"]) == {0}
    assert found(texts) == []
    assert Silent.attempts
