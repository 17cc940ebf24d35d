import logging

import pyarrow as pa
import pytest
from support.plain_runs import Lengths, photo, run_inputs
from support.run_contents import RUN

from clipes.tasks.plan.row_kinds import TEXT_ROWS
from clipes.tasks.plan.time_limit import describe_excess, largest_shard, measured_seconds, warn_of_time_limit
from clipes.tasks.storage.layout import ArtifactKey
from clipes.tasks.storage.listed_store import ListedStore
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_schemas.tables import STATUS_SCHEMA

KEY = "5" * 16
COUNTS = {"images": 30, "shards": 3, "cached_shards": 1, "computed_shards": 2, "failed_shards": 0, "copied_rows": 10}
LENGTHS = Lengths()


@pytest.fixture
def store(tmp_path):
    return ListedStore(str(tmp_path / "store"))


def inputs_of(*sizes, limit_s=3600, shard_count=32, **values):
    """Return the inputs of a run with shards of these sizes."""
    shards = [tuple(photo(f"{shard} {number}") for number in range(size)) for shard, size in enumerate(sizes)]
    settings = {"execution": {"shard_timeout_s": limit_s}}
    return run_inputs(*shards, settings=settings, shard_count=shard_count, **values)


@pytest.fixture
def files(store):
    files = RunFiles(store.uri, "plain")
    files.write_json("run.json", {**RUN, "name": "plain"})
    return files


def time_limit_warning(stage, inputs, measured):
    """Return the warning about the largest shard of a single stage; None if there is none."""
    largest = [largest_shard(stage, inputs, measured)]
    return describe_excess(largest, inputs.shard_count, inputs.config.execution.shard_timeout_s)


def write_metrics(files, **stages):
    found = {name: {**COUNTS, "wall_seconds": 9.0, **counts} for name, counts in stages.items()}
    files.write_json("metrics.json", {"stages": found})


def write_status(files, *rows):
    named = ("stage", "shard", "state", "images", "seconds")
    table = pa.Table.from_pylist([dict(zip(named, row, strict=True)) for row in rows], schema=STATUS_SCHEMA)
    files.write_table("status.parquet", table)


def test_the_warning_names_the_largest_shard_the_times_and_the_settings():
    assert time_limit_warning(LENGTHS, inputs_of(40, 100, 60, limit_s=150), None) == (
        "lengths: the largest shard has 100 photos and takes about 100 s at 1 s per photo (assumed), but "
        "execution.shard_timeout_s is 150 s. A shard that reaches this limit is stopped and continued, which takes "
        "longer: set execution.shards=64 or execution.shard_timeout_s=200"
    )


def test_there_is_no_warning_up_to_half_the_time_limit():
    assert time_limit_warning(LENGTHS, inputs_of(100, limit_s=200), None) is None
    assert time_limit_warning(LENGTHS, inputs_of(100, limit_s=199), None) is not None
    assert time_limit_warning(LENGTHS, inputs_of(), None) is None


def test_a_measured_time_replaces_the_assumed_one():
    assert time_limit_warning(LENGTHS, inputs_of(100, limit_s=10), 0.04) is None
    warning = time_limit_warning(LENGTHS, inputs_of(100, limit_s=10), 0.123)
    assert "takes about 12 s at 0.12 s per photo (measured in the last run)" in warning


@pytest.mark.parametrize(
    ("photos", "limit_s", "shard_count", "advice"),
    [
        (1000, 1000, 32, "set execution.shards=64 or execution.shard_timeout_s=2000"),
        (1000, 100, 48, "set execution.shards=1536 or execution.shard_timeout_s=2000"),  # 48, doubled five times
        (1000, 1000, 1, "set execution.shards=32 or execution.shard_timeout_s=2000"),
        (1000, 10, 1, "set execution.shards=256 or execution.shard_timeout_s=2000"),
        (1, 1, 32, "set execution.shard_timeout_s=2"),  # more shards would not help
        (1000, 1, 100_000, "set execution.shard_timeout_s=2000"),  # more shards are not permitted
    ],
)
def test_the_advised_settings_end_the_warning(photos, limit_s, shard_count, advice):
    warning = time_limit_warning(LENGTHS, inputs_of(photos, limit_s=limit_s, shard_count=shard_count), None)
    assert warning.endswith(f"which takes longer: {advice}")
    assert time_limit_warning(LENGTHS, inputs_of(photos, limit_s=2 * photos), None) is None


def test_only_photos_with_a_row_count():
    photos = tuple(photo(str(number), truth=number < 3) for number in range(100))
    inputs = run_inputs(photos, settings={"execution": {"shard_timeout_s": 6}})
    assert time_limit_warning(Lengths(needs_truth=True), inputs, None) is None
    assert time_limit_warning(LENGTHS, inputs, None) is not None


def test_the_time_per_photo_is_that_of_the_computed_rows_of_the_last_run(files):
    write_metrics(
        files, cams={"busy_seconds": 8.0, "computed_rows": 20}, masks={"busy_seconds": 0.0, "computed_rows": 0}
    )
    assert measured_seconds(files) == {"cams": 0.4}
    write_metrics(files, cams={"busy_seconds": 8.0})  # an earlier version did not count the computed rows
    assert measured_seconds(files) == {}


def test_the_time_per_photo_of_a_killed_run_is_that_of_its_completed_shards(files):
    assert measured_seconds(files) == {}
    rows = [("cams", 0, "completed", 10, 3.0), ("cams", 1, "completed", 5, 4.5), ("cams", 2, "cached", 7, 0.0)]
    write_status(files, *rows, ("masks", 0, "running", 0, 0.0))
    assert measured_seconds(files) == {"cams": 0.5}


def test_a_damaged_file_measures_nothing(files):
    files.write_bytes("metrics.json", b"{")
    assert measured_seconds(files) == {}


def warnings(caplog, store, inputs, stages=(LENGTHS,), reused=None):
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        warn_of_time_limit(stages, {"lengths": KEY} if reused is None else reused, inputs, ListedStore(store.uri))
    return [message.partition(":")[0] for message in caplog.messages]


def test_stages_are_reported_if_a_shard_has_no_artifact(caplog, store, files):
    inputs = inputs_of(10, 10, limit_s=1)
    assert warnings(caplog, store, inputs) == ["lengths"]
    write_metrics(files, lengths={"busy_seconds": 0.1, "computed_rows": 20})
    assert warnings(caplog, store, inputs) == []
    write_metrics(files, lengths={"busy_seconds": 100.0, "computed_rows": 20})
    for shard in (0, 1):
        assert warnings(caplog, store, inputs) == ["lengths"]
        with store.writer(ArtifactKey("lengths", KEY, shard, "c" * 16), LENGTHS.schema, {}):
            pass
    assert warnings(caplog, store, inputs) == []
    assert warnings(caplog, store, inputs, reused={}) == ["lengths"]


def test_a_single_warning_advises_what_suffices_for_all_stages(caplog, store, files):
    stages = [Lengths(name=name) for name in ("quick", "slow", "fast")]
    times = {"quick": 20.0, "slow": 200.0, "fast": 0.2}  # [s] for 20 photos
    write_metrics(files, **{name: {"busy_seconds": each, "computed_rows": 20} for name, each in times.items()})
    assert warnings(caplog, store, inputs_of(10, 10, limit_s=10), stages, {}) == ["slow"]
    (message,) = caplog.messages
    assert message.endswith("set execution.shards=1024 or execution.shard_timeout_s=200")
    assert warnings(caplog, store, inputs_of(10, 10, limit_s=200), stages, {}) == []


def test_a_stage_that_is_made_does_not_hide_the_others(caplog, store, files):
    stages, inputs = [LENGTHS, Lengths(name="other")], inputs_of(10, limit_s=10)
    times = {"lengths": 200.0, "other": 20.0}
    write_metrics(files, **{name: {"busy_seconds": each, "computed_rows": 20} for name, each in times.items()})
    assert warnings(caplog, store, inputs, stages) == ["lengths"]
    with store.writer(ArtifactKey("lengths", KEY, 0, "c" * 16), LENGTHS.schema, {}):
        pass
    assert warnings(caplog, store, inputs, stages) == ["other"]


def test_stages_without_a_row_per_photo_are_left_out(caplog, store):
    assert warnings(caplog, store, inputs_of(10, limit_s=1), [Lengths(kind=TEXT_ROWS)]) == []
