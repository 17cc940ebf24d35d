import json
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pyarrow as pa
import pytest
from support.small_runs import remove_seals, run_files

from clipes.tasks.machine.processes import started_at
from clipes.tasks.runs.record.recorder import record_run
from clipes.tasks.runs.record.start import claimed_run_name, start_run
from clipes.tasks.storage.layout import claims_uri
from clipes.tasks.storage.run_files import RunFiles, read_seals, run_identity
from clipes.tasks.storage.run_schemas.tables import TABLE_SCHEMAS
from clipes.tasks.storage.run_status import SILENT_SECONDS, find_run, read_run
from clipes_core.errors import ArtifactError, BrokenArtifactError, RunBusyError, UsageError


def folder_of(run):
    return Path(run_files(run).folder)


def change_run_json(run, **values):
    """Change entries of run.json."""
    begun = run_files(run).read_run()
    run_files(run).write_json("run.json", {**begun, **values})


@pytest.fixture
def process():
    """Yield another process, which lives until the test kills it."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def identity(process):
    return {"pid": process.pid, "pid_started": started_at(process.pid)}


@pytest.mark.parametrize(
    "name", ["../secret", "runs/../../secret", "", ".", "..", "/secret", "plain/", "plain\n", "a\0"]
)
def test_a_name_that_leaves_the_folder_of_runs_names_no_run(tmp_path, name):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "run.json").write_text('{"name": "secret", "state": "completed"}')
    (tmp_path / "store" / "runs").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"^no run [\s\S]*; existing runs: none\. To search"):
        read_run(str(tmp_path / "store"), name)


def test_a_run_of_a_live_process_cannot_be_started_again(prepared, process):
    run = prepared()
    start_run(run, 1)
    change_run_json(run, **identity(process))
    before = (folder_of(run) / "run.json").read_bytes()

    assert not read_run(run.config.store, "tiny").interrupted
    with pytest.raises(RunBusyError, match=rf"^run tiny is already running \(process {process.pid} on .*\): wait"):
        start_run(prepared(crf={"iter_max": 2}), 1)
    with pytest.raises(RunBusyError), record_run(run):
        pytest.fail("must not begin")
    assert (folder_of(run) / "run.json").read_bytes() == before


def test_a_run_whose_process_was_killed_can_be_started_again(prepared, process):
    run = prepared()
    start_run(run, 1)
    change_run_json(run, **identity(process))
    process.kill()
    process.wait()

    assert read_run(run.config.store, "tiny").interrupted
    assert start_run(run, 1) == ()


def test_another_process_with_the_same_pid_is_not_mistaken_for_the_run(prepared, process):
    run = prepared()
    start_run(run, 1)
    change_run_json(run, **{**identity(process), "pid_started": identity(process)["pid_started"] - 100})

    assert read_run(run.config.store, "tiny").interrupted
    assert start_run(run, 1) == ()


def test_a_run_on_another_host_is_running_while_it_holds_its_claim(prepared, process, monkeypatch):
    run = prepared()
    with record_run(run):
        change_run_json(run, **identity(process), host="elsewhere")
        make_foreign(claims_uri(run.store.uri, "run", "tiny"))
        assert not read_run(run.config.store, "tiny").interrupted
        monkeypatch.setattr("clipes.tasks.storage.claims.SILENT_SECONDS", -5.0)
        assert read_run(run.config.store, "tiny").interrupted


def make_foreign(folder):
    """Let the only claim of a name appear as the claim of a process on another machine."""
    (claim,) = Path(folder).iterdir()
    claim.write_text(json.dumps({**json.loads(claim.read_text()), "machine": "another", "token": "another"}))


@pytest.mark.parametrize("ahead", [3600.0, -3600.0])
def test_a_dead_run_of_another_host_can_be_started_again_if_the_clock_of_this_host_is_wrong(
    prepared, process, monkeypatch, ahead
):
    run, here = prepared(), time.time
    start_run(run, 1)
    change_run_json(run, **identity(process), host="elsewhere")
    RunFiles(run.store.uri, "tiny").write_table("status.parquet", TABLE_SCHEMAS["status.parquet"].empty_table())
    monkeypatch.setattr("time.time", lambda: here() + ahead)
    with record_run(run):
        pass
    assert read_run(run.config.store, "tiny").state == "completed"


def test_a_run_that_starts_is_no_broken_run(prepared):
    run = prepared()
    with record_run(run):
        pass
    (folder_of(run) / "status.parquet").unlink()
    with claimed_run_name(run), pytest.raises(RunBusyError, match=r"^run tiny is starting \(process \d+ on .*\): try"):
        read_run(run.config.store, "tiny")


def test_a_run_without_a_claim_is_running_on_another_host_while_it_writes_its_status(prepared, process):
    run = prepared()
    with record_run(run):
        begun = run_files(run).read_run()
        run_files(run).write_json("run.json", {name: value for name, value in begun.items() if name != "claim"})
        change_run_json(run, **identity(process), host="elsewhere")
        assert not read_run(run.config.store, "tiny").interrupted
        with pytest.raises(RunBusyError, match=r"already running .* on elsewhere"):
            start_run(run, 1)
        status = folder_of(run) / "status.parquet"
        long_ago = status.stat().st_mtime - 2 * SILENT_SECONDS
        os.utime(status, (long_ago, long_ago))
        assert read_run(run.config.store, "tiny").interrupted
        assert start_run(run, 1) == ()


def test_a_run_that_ended_is_not_interrupted(prepared, process):
    run = prepared()
    with record_run(run):
        pass
    change_run_json(run, **identity(process))
    process.kill()
    process.wait()
    assert not read_run(run.config.store, "tiny").interrupted


def test_an_unknown_run_is_an_error_that_lists_the_existing_ones(prepared):
    store = prepared().config.store
    with pytest.raises(UsageError, match=rf"^no run tiny in {store}, which does not exist: name the store of the run"):
        read_run(store, "tiny")
    start_run(prepared(), 1)
    with pytest.raises(UsageError, match=rf"^no run huge in {store}; existing runs: tiny\. To search another store"):
        read_run(store, "huge")


def test_an_unknown_run_is_an_error_that_suggests_similar_names(tmp_path):
    for name in ("birds", "birds-2", *map(str, range(12))):
        (tmp_path / "runs" / name).mkdir(parents=True)
    with pytest.raises(UsageError) as error:
        find_run(str(tmp_path), "bird")
    listed = "0, 1, 10, 11, 2, 3, 4, 5, 6, 7 and 4 others"
    assert f"no run bird in {tmp_path}; did you mean birds or birds-2? existing runs: {listed}." in str(error.value)


@pytest.mark.parametrize(
    ("path", "instead"),
    [("store/runs/a", "a --store store"), ("/b c/runs/a/", "a --store '/b c'"), ("runs/a", "a --store .")],
)
def test_the_path_of_a_run_is_an_error_that_states_its_name_and_store(path, instead):
    with pytest.raises(UsageError, match=rf"^NAME is the name of a run, not a path: write {instead} instead of {path}"):
        find_run("./clipes-store", path)


@pytest.mark.parametrize("file", ["manifest.parquet", "status.parquet", "rejects.parquet", "metrics.json"])
def test_a_completed_run_without_one_of_its_files_is_broken(prepared, file):
    run = prepared()
    with record_run(run):
        pass
    (folder_of(run) / file).unlink()
    with pytest.raises(BrokenArtifactError, match=rf"{file} is missing: run again"):
        read_run(run.config.store, "tiny")


@pytest.fixture
def two_runs(prepared):
    """Return two completed runs."""
    runs = [prepared(), prepared(name="other")]
    for run in runs:
        with record_run(run):
            pass
    return runs


@pytest.mark.parametrize("file", ["status.parquet", "rejects.parquet", "metrics.json"])
def test_a_file_of_another_run_is_refused(two_runs, file):
    run, other = two_runs
    (folder_of(run) / file).write_bytes((folder_of(other) / file).read_bytes())
    with pytest.raises(BrokenArtifactError, match=rf"tiny/{file} belongs to another run: run again"):
        read_run(run.config.store, "tiny")


def test_a_file_of_another_run_is_refused_next_to_an_interrupted_run(two_runs, process):
    run, other = two_runs
    remove_seals(run_files(run))
    change_run_json(run, state="running", **identity(process))
    process.kill()
    process.wait()
    assert read_run(run.config.store, "tiny").interrupted
    (folder_of(run) / "status.parquet").write_bytes((folder_of(other) / "status.parquet").read_bytes())
    with pytest.raises(BrokenArtifactError, match=r"tiny/status.parquet belongs to another run: run again"):
        read_run(run.config.store, "tiny")


@pytest.mark.parametrize("file", ["evaluation.parquet", "prompts.parquet", "prompt_scores.parquet"])
def test_a_table_that_only_some_runs_have_is_refused_if_it_belongs_to_another_run(two_runs, file):
    own, other = map(run_files, two_runs)
    remove_seals(own)
    for files, refused in ((own, False), (other, True)):
        own.write_table(file, TABLE_SCHEMAS[file].empty_table(), run_identity(files.read_run()))
        with pytest.raises(BrokenArtifactError, match=f"tiny/{file} belongs") if refused else nullcontext():
            read_run(own.store_uri, "tiny")


NOT_OF_THE_END = "does not belong to the end of the run: run again"


def test_an_older_status_of_the_same_run_is_refused(prepared):
    run = prepared()
    with record_run(run) as record:
        older = (folder_of(run) / "status.parquet").read_bytes()
        record.ledger.planned("texts", 0)
    (folder_of(run) / "status.parquet").write_bytes(older)
    with pytest.raises(BrokenArtifactError, match=f"tiny/status.parquet {NOT_OF_THE_END}"):
        read_run(run.config.store, "tiny")


@pytest.mark.parametrize("ended", [True, False])
def test_two_files_of_the_same_run_cannot_be_exchanged(prepared, ended):
    run = prepared()
    files = run_files(run)
    with record_run(run) as record:
        files.write_table("evaluation.parquet", TABLE_SCHEMAS["evaluation.parquet"].empty_table(), record.identity)
    manifest, evaluation = (folder_of(run) / name for name in ("manifest.parquet", "evaluation.parquet"))
    photos = manifest.read_bytes()
    manifest.write_bytes(evaluation.read_bytes())
    evaluation.write_bytes(photos)
    if not ended:
        remove_seals(files)
        change_run_json(run, state="running")
    expected = r"tiny/manifest\.parquet has the content of evaluation\.parquet: run again"
    with pytest.raises(BrokenArtifactError, match=expected):
        read_run(run.config.store, "tiny")


def test_a_file_that_was_added_after_the_end_of_the_run_is_refused(prepared):
    run = prepared()
    with record_run(run) as record:
        pass
    run_files(run).write_table("evaluation.parquet", TABLE_SCHEMAS["evaluation.parquet"].empty_table(), record.identity)
    with pytest.raises(BrokenArtifactError, match=f"tiny/evaluation.parquet {NOT_OF_THE_END}"):
        read_run(run.config.store, "tiny")


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_run_that_did_not_complete_also_states_the_seals_of_its_files(prepared, state):
    run = prepared()
    with pytest.raises(KeyboardInterrupt if state == "cancelled" else ValueError), record_run(run):
        raise KeyboardInterrupt if state == "cancelled" else ValueError("a fault")
    assert run_files(run).read_run()["seals"] == read_seals(run_files(run))
    (folder_of(run) / "status.parquet").unlink()
    with pytest.raises(BrokenArtifactError, match=r"tiny/status.parquet is missing: run again"):
        read_run(run.config.store, "tiny")


def test_the_run_json_of_another_run_is_refused(two_runs):
    run, other = two_runs
    (folder_of(run) / "run.json").write_bytes((folder_of(other) / "run.json").read_bytes())
    with pytest.raises(ArtifactError, match=r"tiny/run\.json belongs to run other: run again"):
        read_run(run.config.store, "tiny")


def test_files_of_earlier_versions_do_not_state_their_run(two_runs):
    run, _ = two_runs
    files, metrics = run_files(run), run_files(run).read_metrics()
    remove_seals(files)
    files.write_json("metrics.json", {name: value for name, value in metrics.items() if name != "run"})
    files.write_table("status.parquet", files.read_table("status.parquet"))
    assert read_run(run.config.store, "tiny").rejects == 0


@pytest.mark.parametrize("column", ["stage", "artifact", "images"])
def test_a_status_with_columns_of_another_type_is_broken(prepared, column):
    run = prepared()
    with record_run(run):
        pass
    status = run_files(run).read_table("status.parquet")
    place = status.schema.names.index(column)
    changed = status.set_column(place, column, pa.array([[1]] * status.num_rows))
    remove_seals(run_files(run))
    run_files(run).write_table("status.parquet", changed)
    with pytest.raises(BrokenArtifactError, match=rf"status.parquet has no column {column} of type \w+: run again"):
        read_run(run.config.store, "tiny")
