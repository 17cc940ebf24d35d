import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from clipes.tasks.runs.recorder import open_run, recorded_run
from clipes.tasks.storage.run_status import SILENT_SECONDS, read_run
from clipes_core.errors import RunBusyError, UsageError


def folder_of(run):
    return Path(run.store.run_uri(run.config.name))


def pretend(run, **values):
    """Change what a run says of itself."""
    begun = run.store.read_run_json(run.config.name, "run.json")
    run.store.write_run_json(run.config.name, "run.json", {**begun, **values})


@pytest.fixture
def process():
    """Another process, which lives until it is killed."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def of(process):
    return {"pid": process.pid, "pid_started": psutil.Process(process.pid).create_time()}


def test_a_run_that_another_process_is_at_is_left_alone(prepared, process):
    run = prepared()
    open_run(run)
    pretend(run, **of(process))
    before = (folder_of(run) / "run.json").read_bytes()

    assert not read_run(run.config.store, "tiny").interrupted
    with pytest.raises(RunBusyError, match=rf"^run tiny is going on now \(process {process.pid} on .*\): wait for it"):
        open_run(prepared(crf={"iter_max": 2}))
    with pytest.raises(RunBusyError), recorded_run(run):
        pytest.fail("must not begin")
    assert (folder_of(run) / "run.json").read_bytes() == before


def test_a_run_whose_process_was_killed_is_interrupted_and_may_go_on(prepared, process):
    run = prepared()
    open_run(run)
    pretend(run, **of(process))
    process.kill()
    process.wait()

    assert read_run(run.config.store, "tiny").interrupted
    assert open_run(run) == ()


def test_a_process_that_got_the_same_number_is_another_one(prepared, process):
    run = prepared()
    open_run(run)
    pretend(run, **{**of(process), "pid_started": of(process)["pid_started"] - 100})

    assert read_run(run.config.store, "tiny").interrupted
    assert open_run(run) == ()


def test_a_run_of_another_machine_goes_on_while_it_writes_its_status(prepared, process):
    run = prepared()
    with recorded_run(run):
        pretend(run, **of(process), host="elsewhere")
        assert not read_run(run.config.store, "tiny").interrupted
        with pytest.raises(RunBusyError, match=r"going on now .* on elsewhere"):
            open_run(run)
        status = folder_of(run) / "status.parquet"
        long_ago = status.stat().st_mtime - 2 * SILENT_SECONDS
        os.utime(status, (long_ago, long_ago))
        assert read_run(run.config.store, "tiny").interrupted
        assert open_run(run) == ()


def test_a_run_that_ended_is_not_interrupted(prepared, process):
    run = prepared()
    with recorded_run(run):
        pass
    pretend(run, **of(process))
    process.kill()
    process.wait()
    assert not read_run(run.config.store, "tiny").interrupted


def test_an_unknown_run_is_told_so_with_those_there_are(prepared):
    store = prepared().config.store
    with pytest.raises(UsageError, match=rf"^no run tiny in {store}; there are: none\. Name another store with"):
        read_run(store, "tiny")
    open_run(prepared())
    with pytest.raises(UsageError, match=r"there are: tiny\."):
        read_run(store, "huge")
