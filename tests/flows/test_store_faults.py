"""Stores that fill up, become read-only or fail during a run: the run keeps its finished work and resumes."""

import sqlite3
import subprocess
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from support.disturbed_runs import artifacts, check_resumed, files_of, rows, start_and_wait_for_shard
from support.mounts import mounted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RESUME = "Finished work is kept. To resume: clipes run "


@pytest.fixture
def clipes(clipes_process):
    """Return the command, run as a separate process."""
    return clipes_process


def check_failure(done, *messages):
    """Check that a command failed with these messages and without a traceback."""
    output, error = done
    assert "Traceback" not in error
    for message in messages:
        assert message in error, error
    assert "completed" not in output


def check_nothing_still_runs(clipes):
    """Check that no process still runs, and that no flow run is recorded as active."""
    assert [process.cmdline() for process in processes_in(clipes.folder)] == []
    database = Path(clipes.environment["PREFECT_HOME"]) / "prefect.db"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as records:
        ends = records.execute("select distinct state_type from flow_run").fetchall()
    assert not {end for (end,) in ends} & {"RUNNING", "CANCELLING"}


def processes_in(folder):
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == folder:
                yield process
        except psutil.Error:  # the process has just ended, or belongs to another user
            continue


def remount(place, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def test_a_full_disk_is_reported_and_the_run_resumes(clipes, long_run_arguments, uninterrupted_store):
    sizes = files_of(uninterrupted_store)
    needed = sum(sizes[path] for path in artifacts(uninterrupted_store))
    with mounted(clipes.folder / "small", "-t", "tmpfs", "-o", f"size={needed // 2}", "tmpfs") as store:
        done = clipes(*long_run_arguments, "--store", str(store))

        assert done.returncode == 1, done.stderr
        check_failure(
            (done.stdout, done.stderr),
            f"{store}/",
            "the disk is full (",
            "No space left on device); free space on it and rerun",
            RESUME,
        )
        assert not [path for path in files_of(str(store)) if path.endswith(".tmp")]
        check_nothing_still_runs(clipes)

        remount(store, "size=100m")
        check_resumed(clipes, long_run_arguments, str(store), uninterrupted_store)


def test_a_read_only_store_is_reported_and_not_changed(clipes, long_run_arguments, uninterrupted_store):
    real = clipes.folder / "real"
    real.mkdir()
    assert clipes(*long_run_arguments, "--store", str(real), "--until", "cams").returncode == 0
    before = files_of(str(real))
    with mounted(clipes.folder / "store", "--bind", str(real)) as store:
        remount(store, "bind,ro")
        done = clipes(*long_run_arguments, "--store", str(store))

        assert done.returncode == 1, done.stderr
        check_failure(
            (done.stdout, done.stderr),
            f"clipes: store: {store}/",
            ": the disk is read-only (Read-only file system); mount it for writing or choose another location",
        )
        assert files_of(str(store)) == before
        assert clipes("status", "voc12", "--store", str(store)).stdout.startswith("run voc12: completed")
        check_nothing_still_runs(clipes)

        remount(store, "bind,rw")
        check_resumed(clipes, long_run_arguments, str(store), uninterrupted_store)


@pytest.fixture
def on_s3(clipes, s3, s3_folder):
    """Return the command with the credentials of the S3 server's writer, and the URI of a store on the server."""
    return replace(clipes, environment={**clipes.environment, **s3.environment()}), f"{s3_folder}/store"


def test_a_run_survives_a_restart_of_its_s3_server(on_s3, s3, long_run_arguments, uninterrupted_store):
    clipes, store = on_s3
    patient = replace(
        clipes, environment={**clipes.environment, "AWS_RETRY_MODE": "standard", "AWS_MAX_ATTEMPTS": "12"}
    )
    process = start_and_wait_for_shard(patient, long_run_arguments, store)
    s3.kill()
    s3.start()
    _, error = process.communicate(timeout=300)

    assert process.returncode == 0, error
    assert "Traceback" not in error
    assert rows(store) == rows(uninterrupted_store)
    check_nothing_still_runs(clipes)


def test_a_run_fails_if_its_s3_server_stays_down_and_resumes_later(on_s3, s3, long_run_arguments, uninterrupted_store):
    clipes, store = on_s3
    impatient = replace(clipes, environment={**clipes.environment, "AWS_MAX_ATTEMPTS": "1"})
    process = start_and_wait_for_shard(impatient, (*long_run_arguments, "--set", "execution.retries=0"), store)
    s3.kill()
    try:
        done = process.communicate(timeout=300)
    finally:
        s3.start()

    assert process.returncode == 1, done
    check_failure(done, f"{store}/", "Could not connect to the endpoint URL", "check the address, the netw", RESUME)
    check_nothing_still_runs(clipes)
    check_resumed(clipes, long_run_arguments, store, uninterrupted_store)
