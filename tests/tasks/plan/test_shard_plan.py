import dataclasses
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.damage import flip, flip_in_page

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.plan.caching import Reuse
from clipes.tasks.plan.keys import content_key
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.shard_plan import digests_by_id, plan_shard, planned_digests, read_digests
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import ArtifactKey
from clipes.tasks.storage.listed_store import ListedStore
from clipes_core.config.run import parse_config
from clipes_core.errors import ArtifactError, ErrorKind
from clipes_core.vocabulary import Vocabulary

STAGE_KEY = "5" * 16
CONFIG = parse_config({"name": "tiny", "dataset": {"root": "/data"}})
VOCABULARY = Vocabulary.model_validate({"classes": [{"name": "cat"}], "background_words": ["sky"]})
UPSTREAM = {"texts": "memory://texts.parquet"}


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(str(tmp_path / "store"))


def photo(image_id, **changes):
    listed = Photo(image_id, f"/photos/{image_id}.jpg", 100, "100-1", (3,), f"/truth/{image_id}.png", "9-1")
    return dataclasses.replace(listed, **changes)


def photos(ids="abcd"):
    return tuple(photo(image_id) for image_id in ids)


def plan(store, listed, stage="cams", above=None, shard=0, stage_key=STAGE_KEY, **reuse):
    sample = frozenset(each.image_id for each in listed)
    inputs = RunInputs(CONFIG, VOCABULARY, "model", "fp32", shards={shard: listed}, sample=sample)
    return plan_shard(
        STAGES[stage], shard, stage_key, inputs, ListedStore(store.uri), UPSTREAM, above or {}, Reuse(**reuse)
    )


def write_planned(store, plan, kinds=None, complete=True, age=0):
    """Write the planned artifact, `age` seconds old; `kinds` maps ids of failed rows to their error kinds."""
    with store.writer(plan.key, STAGES[plan.key.stage].schema, {}) as artifact:
        for each in plan.photos:
            kind = (kinds or {}).get(each.image_id)
            row = {"image_id": each.image_id, "status": "error" if kind else "ok", "error_kind": kind}
            digests = {"input_digest": plan.input_digests[each.image_id], "output_digest": f"row of {each.image_id}"}
            artifact.write({**row, **digests})
        artifact.complete = complete
    path = Path(store.artifact_uri(plan.key))
    made = path.stat().st_mtime - age
    os.utime(path, (made, made))
    return path


def write_artifact(store, listed, stage="cams", above=None, **settings):
    return write_planned(store, plan(store, listed, stage, above), **settings)


def ids(listed):
    return [each.image_id for each in listed]


def copied(plan):
    """Return the ids of the rows to copy from each file name."""
    return {Path(uri).name: "".join(image_ids) for uri, image_ids in plan.copies.items()}


def test_an_empty_store_computes_all_rows(store):
    found = plan(store, photos())

    assert not found.cached
    assert found.copies == {}
    assert ids(found.to_compute) == list("abcd")
    assert found.copied == 0
    assert found.upstream == UPSTREAM


def test_the_artifact_key_contains_the_digest_of_its_inputs(store):
    found = plan(store, photos())

    assert found.key == ArtifactKey("cams", STAGE_KEY, 0, content_key(found.input_digests))
    assert found.input_digests.keys() == set("abcd")
    assert len(set(found.input_digests.values())) == 4


def test_a_complete_artifact_is_cached(store):
    write_artifact(store, photos())

    found = plan(store, photos("dcba"))

    assert found.cached
    assert found.to_compute == ()
    assert found.copies == {}
    assert found.copied == 0


def test_fresh_reuses_nothing(store):
    write_artifact(store, photos())

    found = plan(store, photos(), fresh=True)

    assert not found.cached
    assert found.copies == {}
    assert ids(found.to_compute) == list("abcd")


@pytest.mark.parametrize("change", [{"fingerprint": "100-2"}, {"size_bytes": 101}, {"class_ids": (3, 5)}])
def test_only_a_changed_photo_is_recomputed(store, change):
    before = write_artifact(store, photos())

    found = plan(store, (photo("a"), photo("b", **change), photo("c"), photo("d")))

    assert not found.cached
    assert copied(found) == {before.name: "acd"}
    assert ids(found.to_compute) == ["b"]
    assert found.copied == 3


def test_only_an_added_photo_is_computed(store):
    before = write_artifact(store, photos("abc"))

    found = plan(store, photos("abcd"))

    assert copied(found) == {before.name: "abc"}
    assert ids(found.to_compute) == ["d"]


def test_removing_a_photo_copies_the_other_rows(store):
    before = write_artifact(store, photos("abcd"))

    found = plan(store, photos("abd"))

    assert not found.cached
    assert copied(found) == {before.name: "abd"}
    assert found.to_compute == ()


def test_an_older_artifact_of_the_same_photos_is_cached(store):
    write_artifact(store, photos("abc"), age=60)
    write_artifact(store, photos("abcd"))

    assert plan(store, photos("abc")).cached


def test_rows_that_the_newest_artifact_lacks_are_copied_from_older_ones(store):
    oldest = write_artifact(store, photos("abc"), age=120)
    older = write_artifact(store, photos("bd"), age=60)
    newest = write_artifact(store, photos("ef"))

    found = plan(store, photos("abcdeg"))

    assert copied(found) == {newest.name: "e", older.name: "bd", oldest.name: "ac"}
    assert ids(found.to_compute) == ["g"]


def test_a_broken_artifact_is_rebuilt_from_rows_of_older_ones(store):
    older = write_artifact(store, photos("ab"), age=60)
    newest = write_artifact(store, photos("abc"))
    newest.write_bytes(newest.read_bytes()[:-100])

    found = plan(store, photos("abc"))

    assert not found.cached
    assert copied(found) == {older.name: "ab"}
    assert ids(found.to_compute) == ["c"]


def test_nothing_is_copied_from_an_artifact_whose_index_fails_its_checksum(store):
    before = write_artifact(store, photos("ab"))
    flip(before, before.read_bytes().index(b"clipes.index") + 300)
    with pytest.raises(ArtifactError, match="fails its checksum"):
        store.read(str(before), ["input_digest"])

    assert ids(plan(store, photos("abc")).to_compute) == list("abc")


def test_nothing_is_copied_from_a_file_of_another_program(store):
    found = plan(store, photos("ab"))
    place = Path(store.artifact_uri(found.key)).with_name("000-notes.parquet")
    place.parent.mkdir(parents=True)
    pq.write_table(pa.table({"image_id": ["a", "b"]}), place)

    assert ids(plan(store, photos("ab")).to_compute) == ["a", "b"]


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if kind.transient])
def test_a_row_with_a_transient_failure_is_recomputed(store, kind):
    before = write_artifact(store, photos(), kinds={"c": kind}, complete=False)

    found = plan(store, photos())

    assert not found.cached
    assert copied(found) == {before.name: "abd"}
    assert ids(found.to_compute) == ["c"]


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if not kind.transient])
def test_a_row_that_failed_permanently_is_kept(store, kind):
    before = write_artifact(store, photos(), kinds={"c": kind})

    assert plan(store, photos()).cached
    assert copied(plan(store, photos("abcde"))) == {before.name: "abcd"}


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if kind != ErrorKind.UPSTREAM])
def test_retry_errors_recomputes_failed_rows(store, kind):
    before = write_artifact(store, photos(), kinds={"c": kind}, complete=not kind.transient)

    found = plan(store, photos(), retry_errors=True)

    assert not found.cached
    assert copied(found) == {before.name: "abd"}
    assert ids(found.to_compute) == ["c"]


@pytest.mark.parametrize("kinds", [{}, {"c": ErrorKind.UPSTREAM}])
def test_retry_errors_keeps_rows_that_failed_upstream(store, kinds):
    before = write_artifact(store, photos(), kinds=kinds)

    assert plan(store, photos(), retry_errors=True).cached
    assert copied(plan(store, photos("abcde"), retry_errors=True)) == {before.name: "abcd"}


def damaged(path, stage, column):
    flip_in_page(path, 0, STAGES[stage].schema.names.index(column))


def test_a_damaged_page_is_only_noticed_by_verify(store, caplog):
    before = write_artifact(store, photos())
    damaged(before, "cams", "notes")

    assert plan(store, photos()).cached
    found = plan(store, photos(), verify=True)
    assert not found.cached
    assert found.copies == {}
    assert ids(found.to_compute) == list("abcd")
    assert f"{before} cannot be read (it fails its checksum)" in caplog.text


def test_an_intact_artifact_is_cached_with_verify(store):
    write_artifact(store, photos())
    assert plan(store, photos(), verify=True).cached


def test_no_rows_are_copied_from_an_artifact_that_verify_finds_damaged(store):
    older = write_artifact(store, photos("ab"), age=60)
    damaged(write_artifact(store, photos("abc")), "cams", "notes")

    assert copied(plan(store, photos("abcd"), verify=True)) == {older.name: "ab"}


@pytest.mark.parametrize("stage", ["prompts", "prompt_scores", "mask_scores"])
def test_scores_that_the_run_reads_are_always_verified(store, stage):
    above = {read.name: dict.fromkeys("ab", "1") for read in STAGES[stage].photo_upstream}
    before = write_artifact(store, photos("ab"), stage, above)
    assert plan(store, photos("ab"), stage, above).cached

    damaged(before, stage, "input_digest")

    assert not plan(store, photos("ab"), stage, above).cached


def test_three_kinds_of_failure_are_transient():
    assert {kind for kind in ErrorKind if kind.transient} == {"changed", "network", "timeout", "out_of_memory"}


def test_rows_of_another_stage_key_or_shard_are_not_copied(store):
    write_planned(store, plan(store, photos(), shard=2))

    assert len(plan(store, photos(), shard=2, stage_key="6" * 16).to_compute) == 4
    assert len(plan(store, photos(), shard=1).to_compute) == 4


def test_a_row_is_recomputed_if_its_upstream_row_changed(store):
    above = {"cams": dict.fromkeys("abcd", "1")}
    before = write_artifact(store, photos(), "masks", above)

    assert plan(store, photos(), "masks", above).cached
    found = plan(store, photos(), "masks", {"cams": {**above["cams"], "b": "2"}})
    assert copied(found) == {before.name: "acd"}
    assert ids(found.to_compute) == ["b"]


def test_a_row_whose_upstream_row_does_not_exist_yet_is_computed(store):
    above = {"cams": dict.fromkeys("abcd", "1")}
    before = write_artifact(store, photos(), "masks", above)

    found = plan(store, photos(), "masks", {"cams": dict.fromkeys("abd", "1")})

    assert not found.cached
    assert found.input_digests.keys() == set("abd")
    assert copied(found) == {before.name: "abd"}
    assert ids(found.to_compute) == ["c"]


def test_an_artifact_without_the_rows_to_come_is_not_cached(store):
    above = {"cams": dict.fromkeys("ab", "1")}
    before = write_artifact(store, photos("ab"), "masks", above)

    found = plan(store, photos("abc"), "masks", above)

    assert not found.cached
    assert copied(found) == {before.name: "ab"}


def test_a_photo_with_a_changed_truth_is_rescored(store):
    above = {name: dict.fromkeys("ab", "1") for name in ("cams", "masks")}
    before = write_artifact(store, photos("ab"), "mask_scores", above)

    found = plan(store, (photo("a"), photo("b", truth_fingerprint="9-2")), "mask_scores", above)

    assert copied(found) == {before.name: "a"}
    assert ids(found.to_compute) == ["b"]


@pytest.mark.parametrize("stage", ["cams", "masks"])
def test_a_changed_truth_recomputes_no_other_stage(store, stage):
    above = {"cams": {"a": "1"}} if stage == "masks" else {}
    write_artifact(store, (photo("a"),), stage, above)

    assert plan(store, (photo("a", truth_uri=None, truth_fingerprint=None),), stage, above).cached


def test_a_score_is_recomputed_if_its_mask_or_cams_changed(store):
    above = {name: {"a": "1"} for name in ("cams", "masks")}
    write_artifact(store, photos("a"), "mask_scores", above)

    assert plan(store, photos("a"), "mask_scores", above).cached
    for changed in above:
        assert not plan(store, photos("a"), "mask_scores", {**above, changed: {"a": "2"}}).cached


def test_output_digests_are_read_from_an_artifact(store):
    before = write_artifact(store, photos("ab"))
    assert digests_by_id([read_digests(store, str(before))]) == {"a": "row of a", "b": "row of b"}


def test_output_digests_of_a_missing_artifact_are_an_error(store):
    with pytest.raises(ArtifactError, match="is missing"):
        read_digests(store, store.artifact_uri(plan(store, photos()).key))


def test_planned_digests_are_those_of_existing_rows(store):
    def digests(ids):
        return digests_by_id(planned_digests(STAGES["cams"], plan(store, photos(ids)), ListedStore(store.uri)))

    assert digests("ab") == {}
    write_artifact(store, photos("ab"), age=60)
    write_artifact(store, photos("cd"))

    assert digests("ab") == {"a": "row of a", "b": "row of b"}
    assert digests("bce") == {"b": "row of b", "c": "row of c"}
