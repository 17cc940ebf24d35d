import json
from pathlib import Path

import pytest
from support.prepared import prepare_run
from support.report_runs import store_and_name, write_run_files
from support.small_runs import make_run

from clipes.tasks.commands.status_json import runs_json, status_json
from clipes.tasks.runs.ledger import SHARD_STATES
from clipes.tasks.storage.run_status import read_run, read_runs


@pytest.fixture
def store(tiny, pool):
    """Return the store of a run of three photos, of which one is deleted after the listing."""
    for name in "abc":
        tiny.add(name)
    run = prepare_run(tiny.config(execution={"shards": 1}), "masks")
    (tiny.folder / "b.png").unlink()
    return store_and_name(write_run_files(make_run(run, pool)))[0]


def test_the_status_of_a_run_as_json(store):
    found = json.loads(status_json(store, read_run(store, "tiny")))
    assert found["name"] == "tiny"
    assert found["state"] == "completed"
    assert (found["photos"], found["rejects"]) == (3, 1)
    assert found["folder"] == f"{store}/runs/tiny"
    assert found["report"] is None
    stages = {each["stage"]: each for each in found["stages"]}
    assert stages["masks"]["shards"] == {"total": 1, **dict.fromkeys(SHARD_STATES, 0), "completed": 1}
    assert (stages["masks"]["rows"], stages["cams"]["errors"]) == (3, 1)
    (failure,) = found["failures"]
    assert (failure["stage"], failure["kind"], failure["photos"]) == ("cams", "missing", 1)
    assert failure["first"]["image_id"] == "b"
    assert "b.png" in failure["first"]["reason"]


def test_the_runs_of_a_store_as_json(store):
    (found,) = json.loads(runs_json(store, read_runs(store)))
    status = json.loads(status_json(store, read_run(store, "tiny")))
    assert found == {name: value for name, value in status.items() if name not in ("stages", "failures")}


def test_a_damaged_run_is_listed_with_its_error(store):
    Path(store, "runs", "tiny", "status.parquet").write_bytes(b"damaged")
    (found,) = json.loads(runs_json(store, read_runs(store)))
    assert (found["name"], found["state"]) == ("tiny", "unreadable")
    assert "status.parquet" in found["error"]
