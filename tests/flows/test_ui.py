"""The Prefect artifacts that a run sends to a real Prefect server."""

import base64
import io
import json
import re
import time
from uuid import uuid4

import pytest
from PIL import Image
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterName,
)
from prefect.context import SyncClientContext
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED, temporary_settings
from support.small_runs import TinyPhotos

from clipes.flows.pipeline import pipeline
from clipes.tasks.storage.run_status import read_run
from clipes.tasks.ui import ui_progress
from clipes.tasks.ui.terminal_progress import Done
from clipes.tasks.ui.ui_progress import show_progress_in_ui
from clipes_core.errors import StageError

DEAD_SERVER = "http://127.0.0.1:9/api"  # the discard port: no server listens
TIMEOUT_S = 120


@pytest.fixture(scope="module")
def server(server_environment):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server_environment.items():
            patch.setenv(name, value)
        with temporary_settings({PREFECT_API_URL: server_environment["PREFECT_API_URL"]}):
            yield
            APILogWorker.drain_all(timeout=10)
            EventsWorker.drain_all(timeout=10)


@pytest.fixture(scope="module")
def photos(tmp_path_factory, large_scene, seeded_weights):
    """Return six photos with true masks."""
    photos = TinyPhotos(tmp_path_factory.mktemp("ui"), large_scene, seeded_weights)
    Image.new("L", (64, 48), 8).save(photos.folder / "truth.png")
    for number in range(6):
        photos.add(f"p{number}", truth="truth.png")
    return photos


def config_of(photos, name, **execution):
    config = photos.config(execution={"shards": 2, **execution})
    return config.model_copy(update={"name": name})


def newest_run(client, name):
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))
    return max(runs, key=lambda run: run.created)


def artifacts_of(name):
    """Return key -> Prefect artifact of the newest flow run with this name."""
    with get_client(sync_client=True) as client:
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[newest_run(client, name).id]))
        return {found.key: found for found in client.read_artifacts(artifact_filter=mine)}


@pytest.fixture(scope="module")
def shown(server, photos):
    """Run the pipeline, and return its Prefect artifacts and its metrics."""
    metrics = pipeline(config_of(photos, "Seen.ui")).metrics
    return artifacts_of("Seen.ui"), metrics


STAGES = ("texts", "cams", "masks", "mask_scores")
COUNTED = ("cams", "masks", "mask_scores")


def test_the_keys_of_the_artifacts_start_with_the_name_of_the_run(shown):
    artifacts, _ = shown
    types = {key: artifact.type for key, artifact in artifacts.items()}
    assert types == {
        **{f"seen-ui-{stage.replace('_', '-')}": "table" for stage in STAGES},
        **{f"seen-ui-{stage.replace('_', '-')}-progress": "progress" for stage in COUNTED},
        "seen-ui-class-scores": "table",
        "seen-ui-gallery": "markdown",
        "seen-ui-report": "markdown",
    }


def test_results_belong_to_the_flow_run_and_bookkeeping_to_the_task_runs_of_its_stage(shown):
    """The UI lists the Prefect artifacts of a flow run first, and then those of its task runs."""
    artifacts, _ = shown
    results = {key for key, artifact in artifacts.items() if artifact.task_run_id is None}
    assert results == {f"seen-ui-{what}" for what in ("class-scores", "gallery", "report")}
    with get_client(sync_client=True) as client:
        for stage in COUNTED:
            for key in (stage, f"{stage}-progress"):
                artifact = artifacts[f"seen-ui-{key.replace('_', '-')}"]
                assert client.read_task_run(artifact.task_run_id).name.startswith(f"{stage} ")


def test_the_message_of_the_flow_run_is_its_result_and_its_tags_say_what_it_is(shown):
    _, metrics = shown
    with get_client(sync_client=True) as client:
        run = newest_run(client, "Seen.ui")
    assert run.state.message == f"6 masks, mIoU {100 * metrics['pseudo_mask']['miou']:.1f} %; 3 to check"
    assert {*run.tags} == {"clipes", "Seen.ui", "list"}


def test_the_table_of_a_stage_has_the_counts_of_metrics_json(shown):
    artifacts, metrics = shown
    for stage in STAGES:
        counts = metrics["stages"][stage]
        total, *shards = json.loads(artifacts[f"seen-ui-{stage.replace('_', '-')}"].data)
        assert total["shard"] == "all"
        assert (total["shards"], total["images"]) == (counts["shards"], counts["images"])
        assert (total["cached"], total["copied"]) == (counts["cached_shards"], counts["copied_rows"])
        assert total["seconds"] == pytest.approx(counts["wall_seconds"], abs=0.01)
        assert len(shards) == counts["shards"]


def test_the_progress_of_each_stage_ends_at_100_percent(shown):
    artifacts, _ = shown
    for stage in COUNTED:
        found = artifacts[f"seen-ui-{stage.replace('_', '-')}-progress"]
        assert found.data == 100
        assert found.description.startswith("6 of 6 after ")


def test_the_artifacts_show_the_scores_and_pictures_of_the_run(shown):
    artifacts, metrics = shown
    mean, *classes = json.loads(artifacts["seen-ui-class-scores"].data)
    assert mean["pseudo_mask"] == pytest.approx(metrics["pseudo_mask"]["miou"], abs=1e-4)
    assert {row["class"] for row in classes} >= {"cat"}
    found = re.findall(r"\(data:image/webp;base64,([^)]+)\)", artifacts["seen-ui-gallery"].data)
    assert len(found) == 5 * 6  # two photos to check, and one of each other group
    assert {Image.open(io.BytesIO(base64.b64decode(data))).size for data in found} == {(64, 48)}
    assert "/runs/Seen.ui/report.html`" in artifacts["seen-ui-report"].data


def test_a_failed_run_shows_its_results_so_far(server, photos):
    photos.add("p6").write_bytes(b"no picture")
    with pytest.raises(StageError, match="1 of 7 photos failed"):
        pipeline(config_of(photos, "failed", max_failure_rate=0.1, tolerated_failures=0))
    artifacts = artifacts_of("failed")
    total, *shards = json.loads(artifacts["failed-cams"].data)
    assert total["errors"] == 1
    assert "1 of 7 photos failed" in {line["state"]: line["reason"] for line in shards}["failed"]
    assert artifacts["failed-report"].data.startswith("**failed**")
    assert (
        json.loads(artifacts["failed-cams"].data)[0]["shards"]
        == read_run(photos.config().store, "failed").metrics["stages"]["cams"]["shards"]
    )


def shown_progress(key):
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return [artifact.data for artifact in found]


def test_progress_is_updated_during_a_run(server, monkeypatch):
    monkeypatch.setattr(ui_progress, "REFRESH_SECONDS", 0.05)
    counts = {"cams": Done(1), "masks": Done(9)}

    def wait_for(percent):
        end = time.monotonic() + TIMEOUT_S
        while shown_progress("moving-cams-progress") != [percent]:
            assert time.monotonic() < end
            time.sleep(0.05)

    @flow(name="moving")
    def moving():
        task_runs = {}
        with show_progress_in_ui("moving", {"cams": 4, "masks": 0}, counts.get, task_runs):
            assert shown_progress("moving-cams-progress") == []
            task_runs["cams"] = uuid4()
            wait_for(25)
            counts["cams"] = Done(3)
            wait_for(75)
            counts["cams"] = Done(7)
        return shown_progress("moving-cams-progress"), shown_progress("moving-masks-progress")

    assert moving() == ([100], [])


def test_a_server_that_stops_answering_is_logged_once(server, monkeypatch, caplog):
    monkeypatch.setattr(ui_progress, "REFRESH_SECONDS", 0.05)
    counted = []

    def count(stage):
        counted.append(stage)
        return Done(len(counted))

    @flow(name="alone")
    def alone():
        no_server = {PREFECT_API_URL: DEAD_SERVER, PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False}
        # With changed settings Prefect creates a new client; the client of the flow would still reach the real server.
        with (
            temporary_settings(no_server),
            SyncClientContext({"timeout": 5}),
            show_progress_in_ui("alone", {"cams": 1000}, count, {"cams": uuid4()}),
        ):
            while len(counted) < 3:
                time.sleep(0.01)
        return "done"

    assert alone() == "done"
    (message,) = [text for text in caplog.messages if "does not show" in text]
    assert message.startswith("the Prefect UI does not show the progress: the Prefect server at ")
