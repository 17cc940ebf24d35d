"""The Prefect task runs of shards: their names, tags, logs, attempts and final states."""

import signal
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, LogFilter
from prefect.client.schemas.objects import StateType
from support.prepared import prepare_run
from support.small_runs import TinyPhotos

from clipes.flows.pipeline import pipeline
from clipes.tasks.execution import scheduler
from clipes.tasks.plan.sharding import shard_of
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.storage.run_status import read_run
from clipes_core.errors import StageError

SHARDS = 3
NAMES = [next(name for name in map(str, count()) if shard_of(name, SHARDS) == shard) for shard in range(3)]


@pytest.fixture
def three(tmp_path, large_scene, seeded_weights, monkeypatch):
    """Return three photos, one in each of the shards 0, 1 and 2; one task run makes shards 0 and 1."""
    monkeypatch.setattr(scheduler, "MOST_TASK_RUNS", 2)
    photos = TinyPhotos(tmp_path, large_scene, seeded_weights)
    for name in NAMES:
        photos.add(name)
    return photos


class PhotoHandler(SimpleHTTPRequestHandler):
    """Serves photos; the functions in `server.once` and `server.always` are called instead for some photos."""

    def do_GET(self):
        name = Path(self.path).stem
        disturb = self.server.once.pop(name, None) or self.server.always.get(name)
        if disturb is None:
            super().do_GET()
        else:
            disturb(self)

    def log_message(self, *_):
        """Log nothing."""


@pytest.fixture
def photo_server(three):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(PhotoHandler, directory=str(three.folder))) as server:
        server.once, server.always = {}, {}
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def requesting_worker(request):
    """Return the worker process that sent a request."""
    port = request.client_address[1]
    for process in psutil.Process().children(recursive=True):
        if any(connection.laddr.port == port for connection in process.net_connections()):
            return process
    raise AssertionError(f"no worker uses port {port}")


def refuse_for_an_hour(request):
    """Answer that the server is busy, and so long that the worker does not repeat the request."""
    request.send_response(503)
    request.send_header("Retry-After", "3600")
    request.end_headers()


def config_of(photos, **execution):
    config = photos.config(execution={"shards": SHARDS, **execution})
    return config.model_copy(update={"name": photos.folder.name})


def config_over_http(photos, photo_server, **execution):
    config = config_of(photos, **execution)
    dataset = config.dataset.model_copy(update={"root": f"http://127.0.0.1:{photo_server.server_port}"})
    return config.model_copy(update={"dataset": dataset})


def flow_run(client, name):
    (run,) = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))
    return run


def ended_task_runs(client, name):
    """Wait until all task runs of a flow run have ended, and return them by name."""
    chosen, until = FlowRunFilter(id={"any_": [flow_run(client, name).id]}), time.monotonic() + 60
    while time.monotonic() < until:
        runs = {run.name: run for run in client.read_task_runs(flow_run_filter=chosen)}
        if all(run.state.is_final() for run in runs.values()):
            return runs
        time.sleep(0.2)
    raise AssertionError(f"still running: {[run.name for run in runs.values() if not run.state.is_final()]}")


def log_of(client, run, text):
    """Wait until the log of a task run contains a text, and return the log."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        log = "\n".join(line.message for line in client.read_logs(LogFilter(task_run_id={"any_": [run.id]})))
        if text in log:
            return log
        time.sleep(0.2)
    raise AssertionError(f"{text!r} is not in:\n{log}")


def states(photos, stage):
    """Return shard -> (state, attempt) from status.parquet."""
    status = read_run(str(photos.folder / "store"), photos.folder.name)
    return {row["shard"]: (row["state"], row["attempt"]) for row in status.shards if row["stage"] == stage}


def test_a_failed_shard_stops_only_the_shards_that_depend_on_it(server, three):
    config = config_of(three)
    run = prepare_run(config, "masks")
    blocked = Path(run.store.artifact_uri(run.plan(STAGES["cams"], 0, {}, {}).key))
    blocked.mkdir(parents=True)

    with pytest.raises(StageError, match=rf"^cams shard 0: {blocked} cannot be used .*; repair it"):
        pipeline(config, "masks")

    assert states(three, "cams") == {0: ("failed", 1), 1: ("completed", 1), 2: ("completed", 1)}
    assert states(three, "masks") == {0: ("not_run", 1), 1: ("completed", 1), 2: ("completed", 1)}
    with get_client(sync_client=True) as client:
        runs = ended_task_runs(client, config.name)
        assert {name: run.state_name for name, run in runs.items()} == {
            "texts 000/001": "Completed",
            "cams 000-001/003": "Failed",
            "cams 002/003": "Completed",
            "masks 000-001/003": "NotRun",
            "masks 002/003": "Completed",
        }
        assert {run.run_count for run in runs.values()} == {1}
        assert {tuple(run.tags) for name, run in runs.items() if "cams" in name} == {("cams",)}
        assert f"{blocked} cannot be used" in runs["cams 000-001/003"].state.message
        assert runs["masks 000-001/003"].state_type == StateType.CANCELLED  # the UI shows it in grey
        assert runs["masks 000-001/003"].state.message == "not run: it reads cams shard 0, which has failed"
        assert runs["masks 002/003"].state.message.startswith("1 rows, 0 copied, 1 computed, 0 errors in ")
        log = log_of(client, runs["cams 000-001/003"], "shard 0: attempt 1 failed: ")
        assert "shard 1: 1 rows, 0 copied, 1 computed, 0 errors in " in log
        assert " by cpu:" in log
        assert f"{blocked.parent}/001-" in log
        assert "cams shard 0: " in flow_run(client, config.name).state.message


@pytest.mark.slow
def test_a_transient_failure_costs_one_attempt_of_one_shard(server, three, photo_server):
    killed, _, busy = NAMES
    photo_server.once = {
        killed: lambda request: requesting_worker(request).send_signal(signal.SIGKILL),
        busy: refuse_for_an_hour,
    }
    config = config_over_http(three, photo_server)

    pipeline(config, "masks")

    assert states(three, "cams") == {0: ("completed", 2), 1: ("completed", 1), 2: ("completed", 2)}
    assert states(three, "masks") == dict.fromkeys(range(3), ("completed", 1))
    with get_client(sync_client=True) as client:
        runs = ended_task_runs(client, config.name)
        assert {(run.state_name, run.run_count) for name, run in runs.items() if "cams" in name} == {("Completed", 2)}
        assert {(run.state_name, run.run_count) for name, run in runs.items() if "masks" in name} == {("Completed", 1)}
        log = log_of(client, runs["cams 000-001/003"], "shard 0: attempt 1 failed: ")
        assert "its worker process died with exit code -9" in log
        log = log_of(client, runs["cams 002/003"], "shard 2: attempt 1 failed: ")
        assert "1 photos failed for a transient cause; first reason: " in log


@pytest.mark.slow
def test_a_hanging_shard_is_stopped_and_its_worker_replaced(server, three, photo_server):
    workers, end = [], threading.Event()

    def hang(request):
        workers.append(requesting_worker(request))
        end.wait()

    photo_server.always = {NAMES[0]: hang}
    config = config_over_http(three, photo_server, retries=0, shard_timeout_s=60)
    try:
        with pytest.raises(StageError, match=r"^cams shard 0: stopped after 60 s: raise execution\.shard_timeout_s$"):
            pipeline(config, "masks")
        assert not workers[0].is_running()
    finally:
        photo_server.always.clear()
        end.set()

    assert states(three, "cams") == {0: ("failed", 1), 1: ("completed", 1), 2: ("completed", 1)}
    assert states(three, "masks") == {0: ("not_run", 1), 1: ("completed", 1), 2: ("completed", 1)}
    pipeline(config, "masks")
    assert states(three, "cams") == {0: ("completed", 1), 1: ("cached", 1), 2: ("cached", 1)}
