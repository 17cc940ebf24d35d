"""Which rows a run reuses and which it recomputes: a real worker runs the shards."""

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from support.damage import flip_in_footer, flip_in_page
from support.pool_calls import worker_pool
from support.prepared import prepare_ranking, prepare_run
from support.small_runs import make_all_shards, rows_of

from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.plan.caching import REUSE_ALL, Reuse
from clipes.tasks.runs.dry_run import plan_run
from clipes.tasks.runs.metrics_json import run_metrics
from clipes.tasks.runs.stage_summary import summaries
from clipes.tasks.runs.templates.ranking import template_ranking
from clipes.tasks.stages.registry import STAGES

OF_PHOTOS = ("cams", "masks", "mask_scores")
NOTHING = {"texts": 0, "cams": 0, "masks": 0, "mask_scores": 0}
ALL = {"texts": 45, "cams": 6, "masks": 6, "mask_scores": 6}


@pytest.fixture
def six(tiny):
    """Return six photos with truth in two shards."""
    Image.new("L", (64, 48), 8).save(tiny.folder / "truth.png")
    for name in "abcdef":
        tiny.add(name, "cat;dog", truth="truth.png")
    return tiny


@pytest.fixture
def prepared(six):
    def prepared(reuse=REUSE_ALL, **sections):
        return prepare_run(six.config(**{"execution": {"shards": 2}, **sections}), "mask_scores", reuse)

    return prepared


@pytest.fixture
def run_shards(prepared, pool):
    """Return a function that runs all shards with the given settings and returns the ledger."""
    return lambda reuse=REUSE_ALL, **sections: make_all_shards(prepared(reuse, **sections), pool)


def computed(ledger):
    return {stage: counts.computed_rows for stage, counts in summaries(ledger, STAGES).items()}


def copied(ledger):
    return {stage: counts.copied_rows for stage, counts in summaries(ledger, STAGES).items()}


def not_cached(ledger):
    """Return the shards that are not cached."""
    return {(record.stage, record.shard) for record in ledger.records() if not record.cached}


def path_of(ledger, stage, shard=0):
    return Path(ledger.record(stage, shard).uri)


def flip_in(path, column):
    flip_in_page(path, 0, pq.read_schema(path).names.index(column))


def test_an_identical_run_computes_nothing(run_shards):
    assert computed(run_shards()) == ALL
    again = run_shards()
    assert computed(again) == NOTHING
    assert not_cached(again) == set()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"crf": {"bi_w": 5}}, {**NOTHING, "masks": 6, "mask_scores": 6}),
        ({"prompts": {"template": "the {}."}}, ALL),
        ({"report": {"gallery": 3}}, NOTHING),
        ({"execution": {"shards": 2, "cpu_workers": 1, "retries": 0, "max_failure_rate": 0.5}}, NOTHING),
    ],
    ids=["crf", "template", "report", "execution"],
)
def test_a_changed_setting_recomputes_its_stages_and_those_downstream(run_shards, settings, expected):
    run_shards()
    after = run_shards(**settings)
    assert computed(after) == expected
    assert set(copied(after).values()) == {0}


def replace_picture(path):
    """Replace the picture by another one of the same size in bytes, modified one second later."""
    before = path.stat()
    Image.new("RGB", Image.open(path).size, (200, 90, 30)).save(path)
    content = path.read_bytes()
    path.write_bytes(content + bytes(before.st_size - len(content)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    assert path.stat().st_size == before.st_size


@pytest.mark.parametrize("change", ["labels", "file"])
def test_one_changed_photo_recomputes_one_row_per_stage(run_shards, prepared, six, change):
    before = rows_of(prepared().store, [record.uri for record in run_shards().records("masks")])
    if change == "labels":
        six.label("b", "dog", truth="truth.png")
    else:
        replace_picture(six.folder / "b.png")

    after = run_shards()

    assert computed(after) == {"texts": 0, "cams": 1, "masks": 1, "mask_scores": 1}
    (shard,) = {shard for _, shard in not_cached(after)}
    assert copied(after) == {"texts": 0, **dict.fromkeys(OF_PHOTOS, after.record("cams", shard).images - 1)}
    rows = rows_of(prepared().store, [record.uri for record in after.records("masks")])
    assert {image_id for image_id in rows if rows[image_id] != before[image_id]} == {"b"}


def test_new_weights_at_the_same_path_recompute_all_rows(run_shards, prepared, seeded_weights, tmp_path):
    weights = tmp_path / "weights.pt"
    shutil.copy(seeded_weights, weights)
    before = run_shards(clip={"pretrained": str(weights)})
    state = torch.load(weights)
    state["visual.conv1.weight"] *= 0.5
    torch.save(state, weights)

    with worker_pool([WorkerSlot("cpu", 1)], Counters(tuple(STAGES))) as own:  # workers cache weights
        after = make_all_shards(prepared(clip={"pretrained": str(weights)}), own)

    assert computed(before) == computed(after) == ALL
    for stage in ALL:
        assert path_of(before, stage).parent != path_of(after, stage).parent


def delete(path, _other):
    path.unlink()


def truncate(path, _other):
    path.write_bytes(path.read_bytes()[:-300])


def flip_in_the_footer(path, _other):
    flip_in_footer(path)


def replace_by_another_shard(path, other):
    shutil.copy(other, path)


def replace_image_ids(path, _other):
    rewrite(path, image_id=[f"not {image_id}" for image_id in pq.read_table(path)["image_id"].to_pylist()])


def rewrite(path, complete=True, **columns):
    """Rewrite an artifact with other columns, and mark it as complete or not."""
    table, metadata = pq.read_table(path), pq.read_metadata(path).metadata
    for name, values in columns.items():
        place = table.schema.names.index(name)
        table = table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))
    own = {key: value for key, value in metadata.items() if key.startswith(b"clipes.")}
    del own[b"clipes.seal"], own[b"clipes.blocks"]
    own[b"clipes.complete"] = str(complete).lower().encode()
    pq.write_table(table.replace_schema_metadata(own), path)


@pytest.mark.parametrize("damage", [delete, truncate, flip_in_the_footer, replace_by_another_shard, replace_image_ids])
def test_only_a_damaged_artifact_is_rebuilt(run_shards, prepared, damage, caplog):
    first = run_shards()
    for stage in OF_PHOTOS:
        uris = [record.uri for record in first.records(stage)]
        rows = rows_of(prepared().store, uris)
        damage(path_of(first, stage), path_of(first, stage, 1))
        caplog.clear()

        again = run_shards()

        assert not_cached(again) == {(stage, 0)}
        assert again.record(stage, 0).copied == 0
        assert rows_of(prepared().store, uris) == rows
        assert len(caplog.messages) == (0 if damage is delete else 1)
        assert all(message.startswith(uris[0]) for message in caplog.messages)


@pytest.mark.parametrize("stage", OF_PHOTOS)
def test_only_the_failed_row_of_an_incomplete_artifact_is_recomputed(run_shards, prepared, stage):
    first = run_shards()
    uris = [record.uri for record in first.records(stage)]
    rows, images = rows_of(prepared().store, uris), first.record(stage, 0).images
    failed = [["error", *["ok"] * (images - 1)], ["network", *[None] * (images - 1)]]
    rewrite(path_of(first, stage), complete=False, status=failed[0], error_kind=failed[1])

    again = run_shards()

    assert not_cached(again) == {(stage, 0)}
    assert (again.record(stage, 0).copied, again.record(stage, 0).computed) == (images - 1, 1)
    assert rows_of(prepared().store, uris) == rows


def test_verify_finds_damage_that_a_normal_run_does_not_read(run_shards, prepared, caplog):
    path = path_of(first := run_shards(), "texts")
    whole = pq.read_table(path)
    flip_in(path, "feature")
    assert not_cached(run_shards()) == set()

    plans = plan_run(prepared(Reuse(verify=True)))
    assert {plan.stage: plan.cached_shards for plan in plans} == {"texts": 0, "cams": 2, "masks": 2, "mask_scores": 2}
    caplog.clear()
    again = run_shards(Reuse(verify=True))

    assert not_cached(again) == {("texts", 0)}
    assert (pq.read_table(path), path_of(first, "texts")) == (whole, path)
    assert [message.split(" ")[0] for message in caplog.messages] == [str(path)]
    assert not_cached(run_shards(Reuse(verify=True))) == set()


def test_fresh_recomputes_all_rows(run_shards):
    run_shards()
    assert computed(run_shards(Reuse(fresh=True))) == ALL


@pytest.fixture
def failed(prepared, six, pool):
    """Run with photo `b` missing, restore the photo, and return its shard."""
    path, run = six.folder / "b.png", prepared()
    path.rename(six.folder / "away")
    ledger = make_all_shards(run, pool)
    (six.folder / "away").rename(path)
    assert [(reject.image_id, reject.kind) for reject in ledger.rejects()] == [("b", "missing")]
    return next(shard for shard, photos in run.inputs.shards.items() if "b" in [photo.image_id for photo in photos])


def test_retry_errors_retries_a_photo_that_failed_permanently(run_shards, prepared, failed):
    assert not_cached(run_shards()) == set()
    plans = {plan.stage: plan for plan in plan_run(prepared(Reuse(retry_errors=True)))}
    assert (plans["cams"].cached_shards, plans["cams"].computed_rows) == (1, 1)

    again = run_shards(Reuse(retry_errors=True))

    assert not_cached(again) == {(stage, failed) for stage in OF_PHOTOS}
    assert computed(again) == {"texts": 0, "cams": 1, "masks": 1, "mask_scores": 1}
    assert again.rejects() == []
    assert not_cached(run_shards(Reuse(retry_errors=True))) == set()


def test_a_row_that_fails_again_recomputes_nothing_downstream(prepared, six, pool, failed):
    run = prepared(Reuse(retry_errors=True))
    (six.folder / "b.png").unlink()

    again = make_all_shards(run, pool)

    assert not_cached(again) == {("cams", failed)}
    assert computed(again)["cams"] == 1
    assert [reject.image_id for reject in again.rejects()] == ["b"]


def test_scores_with_a_damaged_page_are_rebuilt_before_they_are_read(run_shards, prepared):
    first = run_shards()
    metrics = run_metrics(prepared(), first)
    flip_in(path_of(first, "mask_scores"), "pixels")

    again = run_shards()

    assert not_cached(again) == {("mask_scores", 0)}
    assert run_metrics(prepared(), again)["pseudo_mask"] == metrics["pseudo_mask"]


@pytest.mark.parametrize(("stage", "column"), [("prompts", "scores"), ("prompt_scores", "pixels")])
def test_damaged_scores_of_a_ranking_are_rebuilt_before_they_are_read(six, pool, stage, column):
    def ranked():
        run = prepare_ranking(six.config(), ("a {}.", "the {}."), scored_photos=2)
        run = run.with_inputs(run.inputs.with_sampled(("a {}.",)))
        return run, make_all_shards(run, pool)

    run, first = ranked()
    path, scores = path_of(first, stage), [path_of(first, "prompts")]
    ranking, rows = template_ranking(run.store, map(str, scores), run.inputs.candidates), pq.read_table(path)
    flip_in(path, column)

    _, again = ranked()

    assert not_cached(again) == {(stage, 0)}
    assert pq.read_table(path) == rows
    assert template_ranking(run.store, map(str, scores), run.inputs.candidates) == ranking
