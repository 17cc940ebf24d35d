import dataclasses
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.damage import flip_in_page

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.plan.caching import Reuse
from clipes.tasks.plan.keys import content_key
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.shard_plan import output_digests, plan_shard, planned_digests
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import ArtifactKey
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
    return plan_shard(STAGES[stage], shard, stage_key, inputs, store, UPSTREAM, above or {}, Reuse(**reuse))


def make(store, plan, kinds=None, complete=True, age=0):
    """Write the artifact that a plan asks for; `kinds` are the errors of some of its rows, `age` is in seconds."""
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


def made(store, listed, stage="cams", above=None, **settings):
    return make(store, plan(store, listed, stage, above), **settings)


def ids(listed):
    return [each.image_id for each in listed]


def copied(plan):
    """File name -> ids of the rows taken from it."""
    return {Path(uri).name: "".join(image_ids) for uri, image_ids in plan.copies.items()}


def test_with_nothing_there_all_is_computed(store):
    found = plan(store, photos())

    assert not found.cached
    assert found.copies == {}
    assert ids(found.to_compute) == list("abcd")
    assert found.copied == 0
    assert found.upstream == UPSTREAM


def test_the_artifacts_name_follows_from_what_it_is_made_from(store):
    found = plan(store, photos())

    assert found.key == ArtifactKey("cams", STAGE_KEY, 0, content_key(found.input_digests))
    assert found.input_digests.keys() == set("abcd")
    assert len(set(found.input_digests.values())) == 4


def test_with_all_there_nothing_is_computed(store):
    made(store, photos())

    found = plan(store, photos("dcba"))

    assert found.cached
    assert found.to_compute == ()
    assert found.copies == {}
    assert found.copied == 0


def test_fresh_uses_nothing_that_is_there(store):
    made(store, photos())

    found = plan(store, photos(), fresh=True)

    assert not found.cached
    assert found.copies == {}
    assert ids(found.to_compute) == list("abcd")


@pytest.mark.parametrize("change", [{"fingerprint": "100-2"}, {"size_bytes": 101}, {"class_ids": (3, 5)}])
def test_only_a_changed_photo_is_computed(store, change):
    before = made(store, photos())

    found = plan(store, (photo("a"), photo("b", **change), photo("c"), photo("d")))

    assert not found.cached
    assert copied(found) == {before.name: "acd"}
    assert ids(found.to_compute) == ["b"]
    assert found.copied == 3


def test_only_an_added_photo_is_computed(store):
    before = made(store, photos("abc"))

    found = plan(store, photos("abcd"))

    assert copied(found) == {before.name: "abc"}
    assert ids(found.to_compute) == ["d"]


def test_a_removed_photo_makes_another_artifact_of_copied_rows(store):
    before = made(store, photos("abcd"))

    found = plan(store, photos("abd"))

    assert not found.cached
    assert copied(found) == {before.name: "abd"}
    assert found.to_compute == ()


def test_a_set_that_was_there_before_is_there_again(store):
    made(store, photos("abc"), age=60)
    made(store, photos("abcd"))

    assert plan(store, photos("abc")).cached


def test_rows_are_copied_from_older_artifacts_where_the_newest_lacks_them(store):
    oldest = made(store, photos("abc"), age=120)
    older = made(store, photos("bd"), age=60)
    newest = made(store, photos("ef"))

    found = plan(store, photos("abcdeg"))

    assert copied(found) == {newest.name: "e", older.name: "bd", oldest.name: "ac"}
    assert ids(found.to_compute) == ["g"]


def test_a_broken_artifact_is_made_again_from_what_older_ones_hold(store):
    older = made(store, photos("ab"), age=60)
    newest = made(store, photos("abc"))
    newest.write_bytes(newest.read_bytes()[:-100])

    found = plan(store, photos("abc"))

    assert not found.cached
    assert copied(found) == {older.name: "ab"}
    assert ids(found.to_compute) == ["c"]


def test_nothing_is_copied_from_an_artifact_whose_rows_fail_their_checksum(store):
    before = made(store, photos("ab"))
    with pq.ParquetFile(before) as parquet:
        column = parquet.metadata.row_group(0).column(parquet.schema_arrow.names.index("input_digest"))
    content = bytearray(before.read_bytes())
    content[column.data_page_offset + 25] ^= 1
    before.write_bytes(content)
    with pytest.raises(ArtifactError, match="cannot be read"):
        store.read(str(before), ["input_digest"])

    assert ids(plan(store, photos("abc")).to_compute) == list("abc")


def test_nothing_is_copied_from_a_file_of_another_program(store):
    found = plan(store, photos("ab"))
    place = Path(store.artifact_uri(found.key)).with_name("000-notes.parquet")
    place.parent.mkdir(parents=True)
    pq.write_table(pa.table({"image_id": ["a", "b"]}), place)

    assert ids(plan(store, photos("ab")).to_compute) == ["a", "b"]


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if kind.transient])
def test_a_row_that_failed_for_a_cause_that_may_pass_is_computed_again(store, kind):
    before = made(store, photos(), kinds={"c": kind}, complete=False)

    found = plan(store, photos())

    assert not found.cached
    assert copied(found) == {before.name: "abd"}
    assert ids(found.to_compute) == ["c"]


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if not kind.transient])
def test_a_row_that_failed_for_good_is_kept(store, kind):
    before = made(store, photos(), kinds={"c": kind})

    assert plan(store, photos()).cached
    assert copied(plan(store, photos("abcde"))) == {before.name: "abcd"}


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if kind != ErrorKind.UPSTREAM])
def test_errors_are_tried_again_where_that_is_wished(store, kind):
    before = made(store, photos(), kinds={"c": kind}, complete=not kind.transient)

    found = plan(store, photos(), retry_errors=True)

    assert not found.cached
    assert copied(found) == {before.name: "abd"}
    assert ids(found.to_compute) == ["c"]


@pytest.mark.parametrize("kinds", [{}, {"c": ErrorKind.UPSTREAM}])
def test_a_shard_without_errors_of_its_own_has_none_to_try_again(store, kinds):
    before = made(store, photos(), kinds=kinds)

    assert plan(store, photos(), retry_errors=True).cached
    assert copied(plan(store, photos("abcde"), retry_errors=True)) == {before.name: "abcd"}


def damaged(path, stage, column):
    flip_in_page(path, 0, STAGES[stage].schema.names.index(column))


def test_a_damaged_page_counts_until_it_is_read(store, caplog):
    before = made(store, photos())
    damaged(before, "cams", "notes")

    assert plan(store, photos()).cached
    found = plan(store, photos(), verify=True)
    assert not found.cached
    assert found.copies == {}
    assert ids(found.to_compute) == list("abcd")
    assert f"{before} cannot be read" in caplog.text


def test_what_is_verified_and_whole_is_cached(store):
    made(store, photos())
    assert plan(store, photos(), verify=True).cached


def test_rows_of_a_damaged_artifact_are_not_planned_to_be_copied_where_all_is_read(store):
    older = made(store, photos("ab"), age=60)
    damaged(made(store, photos("abc")), "cams", "notes")

    assert copied(plan(store, photos("abcd"), verify=True)) == {older.name: "ab"}


@pytest.mark.parametrize("stage", ["prompts", "prompt_scores", "mask_scores"])
def test_what_the_run_itself_reads_is_always_read_wholly(store, stage):
    above = {read.name: dict.fromkeys("ab", "1") for read in STAGES[stage].photo_upstream}
    before = made(store, photos("ab"), stage, above)
    assert plan(store, photos("ab"), stage, above).cached

    damaged(before, stage, "input_digest")

    assert not plan(store, photos("ab"), stage, above).cached


def test_three_kinds_of_failure_may_pass():
    assert {kind for kind in ErrorKind if kind.transient} == {"network", "timeout", "out_of_memory"}


def test_rows_of_another_stage_key_or_shard_are_not_copied(store):
    made(store, photos())

    assert len(plan(store, photos(), stage_key="6" * 16).to_compute) == 4
    assert len(plan(store, photos(), shard=1).to_compute) == 4


def test_a_row_follows_the_row_it_is_made_from(store):
    above = {"cams": dict.fromkeys("abcd", "1")}
    before = made(store, photos(), "masks", above)

    assert plan(store, photos(), "masks", above).cached
    found = plan(store, photos(), "masks", {"cams": {**above["cams"], "b": "2"}})
    assert copied(found) == {before.name: "acd"}
    assert ids(found.to_compute) == ["b"]


def test_a_row_whose_upstream_row_is_not_made_yet_is_computed(store):
    above = {"cams": dict.fromkeys("abcd", "1")}
    before = made(store, photos(), "masks", above)

    found = plan(store, photos(), "masks", {"cams": dict.fromkeys("abd", "1")})

    assert not found.cached
    assert found.input_digests.keys() == set("abd")
    assert copied(found) == {before.name: "abd"}
    assert ids(found.to_compute) == ["c"]


def test_an_artifact_of_the_known_rows_alone_is_not_the_whole_shard(store):
    above = {"cams": dict.fromkeys("ab", "1")}
    before = made(store, photos("ab"), "masks", above)

    found = plan(store, photos("abc"), "masks", above)

    assert not found.cached
    assert copied(found) == {before.name: "ab"}


def test_a_changed_truth_is_scored_again(store):
    above = {name: dict.fromkeys("ab", "1") for name in ("cams", "masks")}
    before = made(store, photos("ab"), "mask_scores", above)

    found = plan(store, (photo("a"), photo("b", truth_fingerprint="9-2")), "mask_scores", above)

    assert copied(found) == {before.name: "a"}
    assert ids(found.to_compute) == ["b"]


@pytest.mark.parametrize("stage", ["cams", "masks"])
def test_a_changed_truth_moves_no_other_stage(store, stage):
    above = {"cams": {"a": "1"}} if stage == "masks" else {}
    made(store, (photo("a"),), stage, above)

    assert plan(store, (photo("a", truth_uri=None, truth_fingerprint=None),), stage, above).cached


def test_a_score_follows_mask_and_cams(store):
    above = {name: {"a": "1"} for name in ("cams", "masks")}
    made(store, photos("a"), "mask_scores", above)

    assert plan(store, photos("a"), "mask_scores", above).cached
    for changed in above:
        assert not plan(store, photos("a"), "mask_scores", {**above, changed: {"a": "2"}}).cached


def test_digests_of_an_artifacts_rows(store):
    before = made(store, photos("ab"))
    assert output_digests(store, str(before)) == {"a": "row of a", "b": "row of b"}


def test_digests_of_a_missing_artifact(store):
    with pytest.raises(ArtifactError, match="is missing"):
        output_digests(store, store.artifact_uri(plan(store, photos()).key))


def test_digests_known_before_a_shard_is_made(store):
    assert planned_digests(STAGES["cams"], plan(store, photos("ab")), store) == {}
    made(store, photos("ab"), age=60)
    made(store, photos("cd"))

    assert planned_digests(STAGES["cams"], plan(store, photos("ab")), store) == {
        "a": "row of a",
        "b": "row of b",
    }
    assert planned_digests(STAGES["cams"], plan(store, photos("bce")), store) == {
        "b": "row of b",
        "c": "row of c",
    }
