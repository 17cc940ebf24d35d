"""The number of shards of a run, and the rows that are copied when the number grows with the list of photos."""

import logging

import pytest
from support.prepared import prepare_run
from support.run_contents import RUN
from support.small_runs import make_all_shards, run_files

from clipes.tasks.plan import sharding
from clipes.tasks.runs.record import shard_count
from clipes.tasks.runs.record.recorder import record_run
from clipes.tasks.runs.record.shard_count import decide_count, recorded_count
from clipes.tasks.runs.record.start import start_run
from clipes.tasks.runs.stage_summary import summaries
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.config.run import parse_config

PER_PHOTO = ("cams", "masks")


@pytest.fixture
def decided(tmp_path):
    """Return a function that decides the number of shards of a run, after a run of the same name."""

    def decided(photos, shards="auto", last=None):
        store = str(tmp_path / "store")
        if last is not None:
            RunFiles(store, "my run").write_json("run.json", {**RUN, **last})
        config = {"name": "my-run", "store": store, "dataset": {"root": "/data"}, "execution": {"shards": shards}}
        return decide_count(parse_config(config).model_copy(update={"name": "my run"}), photos)

    return decided


@pytest.mark.parametrize(
    ("photos", "shards", "last", "count"),
    [
        (32_000, "auto", None, 32),
        (32_001, "auto", None, 64),
        (100, "auto", {"shards": 64}, 64),
        (10, "auto", {"shards": 64}, 8),
        (10, "auto", {"config": {"execution": {"shards": 8}}}, 8),
        (64_001, "auto", {"shards": 64, "config": {"execution": {"shards": "auto"}}}, 128),
        (64_001, "auto", {"config": {}}, 128),
        (10, 5, None, 5),
        (10, 5, {"shards": 64}, 5),
        (10, 32, None, 8),
    ],
)
def test_a_stated_number_takes_precedence_over_the_last_one_of_the_name(decided, photos, shards, last, count):
    assert decided(photos, shards, last) == count


@pytest.mark.parametrize(
    ("photos", "shards", "before", "message"),
    [
        (
            40_000,
            "auto",
            32,
            "64 shards instead of the 32 of the last run named my run (there are 40000 photos): clipes copies the "
            "finished rows to the new shards",
        ),
        (
            10,
            "auto",
            64,
            "8 shards instead of the 64 of the last run named my run (there are 10 photos): clipes copies the finished "
            "rows to the new shards",
        ),
        (
            200,
            128,
            64,
            "128 shards instead of the 64 of the last run named my run (execution.shards=128): clipes copies "
            "the finished rows to the new shards",
        ),
        (
            200,
            48,
            32,
            "48 shards instead of the 32 of the last run named my run (execution.shards=48): clipes computes "
            "the photos that move to another shard again; execution.shards=32 would avoid this",
        ),
        (10, 64, 8, "8 shards instead of execution.shards=64, because there are only 10 photos"),
        (100, 64, 64, None),
        (100, "auto", 64, None),
    ],
)
def test_another_number_is_logged_with_its_consequence(decided, caplog, photos, shards, before, message):
    with caplog.at_level(logging.INFO):
        decided(photos, shards, {"shards": before})
    assert caplog.messages == ([] if message is None else [message])


def test_a_damaged_run_json_states_no_number(decided, tmp_path):
    RunFiles(str(tmp_path / "store"), "my run").write_bytes("run.json", b"{")
    assert decided(40) == 32


def test_the_number_of_an_earlier_version_is_in_its_config():
    assert recorded_count({"shards": 64, "config": {"execution": {"shards": "auto"}}}) == 64
    assert recorded_count({"config": {"execution": {"shards": 8}}}) == 8
    assert recorded_count({"config": {}}) == 32


@pytest.fixture
def few_per_shard(monkeypatch):
    """Let `auto` double the number of shards so that a shard has at most two photos on average."""
    monkeypatch.setattr(sharding, "MOST_PHOTOS", 2)


@pytest.fixture
def prepared(tiny):
    """Return a function that prepares a run with `execution.shards: auto` and a number of photos."""

    def prepared(photos, until="masks", name="tiny", shards="auto"):
        for number in range(photos):
            if not (tiny.folder / f"photo {number}.png").exists():
                tiny.add(f"photo {number}", "cat;dog")
        config = tiny.config(name=name, execution={"shards": shards, "max_failure_rate": 1})
        return prepare_run(config, until)

    return prepared


def computed(ledger):
    """Return stage -> number of computed rows."""
    return {stage: counts.computed_rows for stage, counts in summaries(ledger, PER_PHOTO).items()}


def rows(run, ledger):
    """Return stage -> image_id -> row, of all shards."""
    return {
        stage: {row["image_id"]: row for record in ledger.records(stage) for row in run.store.read_rows(record.uri)}
        for stage in PER_PHOTO
    }


@pytest.mark.timeout(300)
def test_finished_photos_are_copied_when_the_list_outgrows_the_shards(prepared, pool, few_per_shard):
    run = prepared(40)
    assert run.inputs.shard_count == 32
    with record_run(run):
        before = make_all_shards(run, pool)
    finished = rows(run, before)

    grown = prepared(80)
    assert grown.inputs.shard_count == 64
    assert start_run(grown, 1) == ()
    assert run_files(grown).read_run()["shards"] == 64

    assert computed(make_all_shards(prepared(80, "cams"), pool)) == {"cams": 40}
    again = prepared(80)
    assert again.inputs.shard_count == 64
    after = make_all_shards(again, pool)
    assert computed(after) == {"cams": 0, "masks": 40}
    found = rows(again, after)
    for stage in PER_PHOTO:
        assert len(found[stage]) == 80
        assert finished[stage].items() <= found[stage].items()

    other = prepared(80, name="other", shards=8)
    assert computed(make_all_shards(other, pool)) == {"cams": 0, "masks": 0}


@pytest.mark.parametrize(("now", "shards"), [(6, 4), (20, 16)])
def test_finished_photos_are_copied_from_more_shards_than_photos(prepared, pool, monkeypatch, now, shards):
    """Check the artifacts of an earlier version, which did not limit the number of shards."""
    with monkeypatch.context() as patch:
        patch.setattr(shard_count, "count_shards", lambda stated, *_: stated)
        run = prepared(6, shards=64)
    assert run.inputs.shard_count == 64
    with record_run(run):
        assert computed(make_all_shards(run, pool)) == dict.fromkeys(PER_PHOTO, 6)

    again = prepared(now, shards=64)
    assert again.inputs.shard_count == shards
    with record_run(again):
        assert computed(make_all_shards(again, pool)) == dict.fromkeys(PER_PHOTO, now - 6)
    assert run_files(again).read_run()["shards"] == shards


def test_finished_photos_are_copied_when_a_small_list_grows(prepared, pool):
    assert computed(make_all_shards(prepared(6), pool)) == dict.fromkeys(PER_PHOTO, 6)
    assert computed(make_all_shards(prepared(40), pool)) == dict.fromkeys(PER_PHOTO, 34)
