"""Stores that fill up, can only be read, or die in the middle of a run: nothing that was done is lost."""

import sqlite3
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from support.disturbed_runs import artifacts, check_resumed, files_of, in_the_middle, rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RESUME = "Finished work is kept. To resume: clipes run "


@pytest.fixture
def clipes(clipes_process):
    """The command as a process of its own."""
    return clipes_process


def check_ended_badly(done, *told):
    output, error = done
    assert "Traceback" not in error
    for each in told:
        assert each in error, error
    assert "completed" not in output


def check_nothing_goes_on(clipes):
    """No process is left, and no flow run is said to go on."""
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
        except psutil.Error:  # it has just ended, or is not ours
            continue


@contextmanager
def mounted(place, *options):
    """Something mounted on a folder for the block."""
    place.mkdir()
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs the right to mount ({done.stderr.strip()}): run it as root, with CAP_SYS_ADMIN")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def remount(place, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def test_a_full_disk_is_told_and_what_is_written_is_whole(clipes, some_photos, undisturbed):
    sizes = files_of(undisturbed)
    needed = sum(sizes[path] for path in artifacts(undisturbed))
    with mounted(clipes.folder / "small", "-t", "tmpfs", "-o", f"size={needed // 2}", "tmpfs") as store:
        done = clipes(*some_photos, "--store", str(store))

        assert done.returncode == 1, done.stderr
        check_ended_badly(
            (done.stdout, done.stderr),
            f"{store}/",
            "the disk is full (",
            "No space left on device); free space on it and rerun",
            RESUME,
        )
        assert not [path for path in files_of(str(store)) if path.endswith(".tmp")]
        check_nothing_goes_on(clipes)

        remount(store, "size=100m")
        check_resumed(clipes, some_photos, str(store), undisturbed)


def test_a_store_that_can_only_be_read_is_told_and_left_as_it_is(clipes, some_photos, undisturbed):
    real = clipes.folder / "real"
    real.mkdir()
    assert clipes(*some_photos, "--store", str(real), "--until", "cams").returncode == 0
    before = files_of(str(real))
    with mounted(clipes.folder / "store", "--bind", str(real)) as store:
        remount(store, "bind,ro")
        done = clipes(*some_photos, "--store", str(store))

        assert done.returncode == 1, done.stderr
        check_ended_badly(
            (done.stdout, done.stderr),
            f"clipes: {store}/runs/voc12/",
            ": the disk is read-only (Read-only file system); mount it for writing or choose another location",
        )
        assert files_of(str(store)) == before
        assert clipes("status", "voc12", "--store", str(store)).stdout.startswith("run voc12: completed")
        check_nothing_goes_on(clipes)

        remount(store, "bind,rw")
        check_resumed(clipes, some_photos, str(store), undisturbed)


@pytest.fixture
def on_s3(clipes, s3, s3_folder):
    """The command with the S3 server's writer, and a store there."""
    return replace(clipes, environment={**clipes.environment, **s3.environment()}), f"{s3_folder}/store"


def test_a_run_outlives_an_s3_server_that_comes_back(on_s3, s3, some_photos, undisturbed):
    clipes, store = on_s3
    patient = replace(
        clipes, environment={**clipes.environment, "AWS_RETRY_MODE": "standard", "AWS_MAX_ATTEMPTS": "12"}
    )
    process = in_the_middle(patient, some_photos, store)
    s3.kill()
    s3.start()
    _, error = process.communicate(timeout=300)

    assert process.returncode == 0, error
    assert "Traceback" not in error
    assert rows(store) == rows(undisturbed)
    check_nothing_goes_on(clipes)


def test_a_run_ends_when_its_s3_server_stays_away_and_resumes(on_s3, s3, some_photos, undisturbed):
    clipes, store = on_s3
    impatient = replace(clipes, environment={**clipes.environment, "AWS_MAX_ATTEMPTS": "1"})
    process = in_the_middle(impatient, (*some_photos, "--set", "execution.retries=0"), store)
    s3.kill()
    try:
        done = process.communicate(timeout=300)
    finally:
        s3.start()

    assert process.returncode == 1, done
    check_ended_badly(done, f"{store}/", "Could not connect to the endpoint URL", "check the address, the netw", RESUME)
    check_nothing_goes_on(clipes)
    check_resumed(clipes, some_photos, store, undisturbed)
