"""The deployments of prefect.yaml, and runs of the deployment `demo` by a real Prefect worker."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prefect
import psutil
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.deployments import run_deployment
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.callables import parameter_schema
from prefect.utilities.importtools import import_object
from prefect.utilities.schema_tools import validate
from prefect.utilities.templating import apply_values

from clipes.flows.deployments import described_run
from clipes.flows.flow_runs import PID
from clipes.tasks.inputs.configs import read_config, resolve_config

ROOT = Path(__file__).parents[2]
PREFECT = Path(sys.executable).with_name("prefect")
DECLARED = yaml.safe_load((ROOT / "prefect.yaml").read_text())
POOLS = {"demo": "clipes-cpu", "voc12": "clipes-gpu", "voc12-kubernetes": "clipes-kubernetes"}
FOLDER_IN_IMAGE = "/clipes"
STAGES = ("cams", "masks", "mask_scores")
WAIT_S = 280
# The worker looks for new and for cancelled runs every second instead of every ten.
IMPATIENT = {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_RUNNER_POLL_FREQUENCY": "1"}

pytestmark = pytest.mark.timeout(900)  # a run takes minutes on a busy machine


def deployment_of(name: str) -> dict[str, Any]:
    return next(each for each in DECLARED["deployments"] if each["name"] == name)


def test_prefect_yaml_deploys_each_config_to_its_work_pool():
    assert {each["name"]: each["work_pool"]["name"] for each in DECLARED["deployments"]} == POOLS


@pytest.mark.parametrize("name", POOLS)
def test_a_deployment_runs_its_config_file(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    deployment = deployment_of(name)
    [(step, inputs)] = deployment["build"][0].items()
    inputs = dict(inputs)
    outputs = {inputs.pop("id"): import_object(step)(**inputs)}
    flow = load_flow_from_entrypoint(deployment["entrypoint"])
    parameters = apply_values(deployment["parameters"], outputs)
    [pull] = apply_values(deployment.get("pull", DECLARED["pull"]), outputs)

    validate(parameters, parameter_schema(flow).model_dump_for_openapi(), raise_on_error=True)
    config = flow.validate_parameters(parameters)["config"]
    stated = read_config(inputs["path"], inputs.get("overrides", ()), runs_here=False)
    assert resolve_config(config) == resolve_config(stated)
    folder = FOLDER_IN_IMAGE if name == "voc12-kubernetes" else str(ROOT)
    assert pull == {"prefect.deployments.steps.set_working_directory": {"directory": folder}}


def test_the_pod_that_the_docs_describe_fits_the_template_of_prefect():
    block = re.search(r"```json\n(.+?)```", (ROOT / "docs" / "cluster.md").read_text(), re.DOTALL)[1]
    described = json.loads(block)
    views = Path(prefect.__file__).parent / "server" / "api" / "collections_data" / "views"
    workers = json.loads((views / "aggregate-worker-metadata.json").read_text())
    template = workers["prefect-kubernetes"]["kubernetes"]["default_base_job_configuration"]["job_configuration"]
    pod = template["job_manifest"]["spec"]["template"]["spec"]
    [container], [described_container] = pod["containers"], described["containers"]
    assert container["name"] == described_container["name"]
    assert described.keys() - pod.keys() == {"volumes"}
    assert described_container.keys() - container.keys() == {"volumeMounts", "envFrom"}
    assert [each["name"] for each in described["volumes"]] == [
        each["name"] for each in described_container["volumeMounts"]
    ]


@pytest.mark.parametrize("name", POOLS)
def test_a_deployment_has_a_paused_schedule_and_runs_one_at_a_time(name):
    deployment = deployment_of(name)
    assert [schedule["active"] for schedule in deployment["schedules"]] == [False]
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_described_run_keeps_placeholders_and_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text("name: own-{date}\nstore: here\ndataset: {format: list, split: photos.csv}\n")
    assert described_run("own.yaml") == {
        "config": {"name": "own-{date}", "store": "here", "dataset": {"format": "list", "split": "photos.csv"}},
        "folder": str(tmp_path),
    }


@dataclass(frozen=True)
class Deployed:
    """The deployment `demo`, with a Prefect worker that executes its runs.

    Attributes:
        environment: environment variables for commands that talk to the server.
        client: client of the server.
        worker: process of the worker.
    """

    environment: dict[str, str]
    client: SyncPrefectClient
    worker: subprocess.Popen[bytes]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a prefect command."""
        return subprocess.run(
            [PREFECT, *arguments], env=self.environment, capture_output=True, text=True, timeout=WAIT_S, check=False
        )

    def start(self, config: dict[str, Any]) -> FlowRun:
        """Start a run of the deployment, and return it at once."""
        return run_deployment("clipes/demo", parameters={"config": config}, timeout=0)

    def retry(self, run: FlowRun) -> None:
        """Retry a run, as the Retry button of the UI does."""
        retry = State(type=StateType.SCHEDULED, name="AwaitingRetry", message="Retry from the UI")
        self.client.set_flow_run_state(run.id, retry)

    def wait_for_end(self, run: FlowRun) -> State[Any]:
        """Wait until a run has ended, and return its final state."""
        wait_for(lambda: self.client.read_flow_run(run.id).state.is_final())
        return self.client.read_flow_run(run.id).state

    def run(self, config: dict[str, Any]) -> FlowRun:
        """Run the deployment from the shell, and return the completed run."""
        given = ("--param", f"config={json.dumps(config)}")
        done = self.command("deployment", "run", "clipes/demo", *given, "--watch", "--watch-interval", "1")
        assert done.returncode == 0, done.stdout + done.stderr
        [run] = [run for run in self.client.read_flow_runs() if run.name == config["name"]]
        assert run.state.is_completed()
        return run

    def task_states(self, run: FlowRun) -> Counter[str]:
        """Return how many task runs of a flow run are in each state, by the name of the state."""
        runs = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        return Counter(task.state_name for task in self.client.read_task_runs(flow_run_filter=runs))

    def log(self, run: FlowRun) -> str:
        """Return the log of a run, as the UI shows it."""
        lines = self.client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])))
        return "\n".join(line.message for line in lines)


@pytest.fixture(scope="module")
def deployed(server_environment, tmp_path_factory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("worker")
    environment = {**os.environ, **server_environment}
    with (
        (folder / "log").open("wb") as log,
        temporary_settings({PREFECT_API_URL: server_environment["PREFECT_API_URL"]}),
        get_client(sync_client=True) as client,
    ):
        client.create_work_pool(
            WorkPoolCreate(name="clipes-gpu", type="process")
        )  # `make deploy` keeps this pool and creates the other
        make = ["make", "-o", "setup", "deploy", f"VENV={sys.prefix}"]
        subprocess.run(make, cwd=ROOT, env=environment, check=True, timeout=WAIT_S)
        worker = subprocess.Popen(
            [PREFECT, "worker", "start", "--pool", "clipes-cpu"],
            cwd=folder,
            env={**environment, **IMPATIENT},
            stdout=log,
            stderr=log,
        )
        try:
            yield Deployed(environment, client, worker)
        finally:
            for process in (*psutil.Process(worker.pid).children(recursive=True), worker):
                process.kill()
            worker.wait()


def test_a_pod_gets_the_image_and_the_settings_of_the_deployment(deployed):
    deployment = deployed.client.read_deployment_by_name("clipes/voc12-kubernetes")
    pool = deployed.client.read_work_pool("clipes-kubernetes")
    assert pool.type == "kubernetes"
    declared = pool.base_job_template["variables"]["properties"]
    assert deployment.job_variables.keys() <= declared.keys()
    assert deployment.job_variables["image"] == "clipes:cuda"
    assert deployment.job_variables["env"]["PREFECT_LOGGING_EXTRA_LOGGERS"] == "clipes"
    assert deployment.parameters["config"]["store"] == "s3://bucket/clipes"


def few_scenes(folder: Path) -> dict[str, Any]:
    """Return the demo's config with twelve scenes in three shards and a store in the folder."""
    config = described_run(str(ROOT / "configs" / "demo.yaml"))["config"]
    return {
        **config,
        "name": folder.name,
        "store": str(folder / "store"),
        "dataset": {**config["dataset"], "count": 12},
        "train": {"enabled": False},
        "execution": {"shards": 3, "max_failure_rate": 1},
    }


@pytest.fixture
def config(tmp_path) -> dict[str, Any]:
    return few_scenes(tmp_path)


@pytest.fixture(scope="module")
def completed(deployed, tmp_path_factory) -> dict[str, Any]:
    """Complete a run on the worker, and return its config."""
    config = few_scenes(tmp_path_factory.mktemp("completed"))
    assert deployed.task_states(deployed.run(config)) == {"Completed": 10}
    return config


@pytest.mark.slow
def test_a_second_run_finds_every_shard_cached(deployed, completed):
    assert deployed.task_states(deployed.run({**completed, "name": "second"})) == {"Cached": 4}  # one per stage


@pytest.mark.slow
def test_a_retry_from_the_ui_computes_only_the_missing_rows(deployed, completed):
    config = completed
    photo = min(Path(config["store"]).glob("scenes/*/JPEGImages/*"))
    whole = photo.read_bytes()
    photo.write_bytes(whole[: len(whole) // 2])
    strict = {**config, "execution": {**config["execution"], "max_failure_rate": 0}}
    run = deployed.start(strict)
    state = deployed.wait_for_end(run)
    assert state.is_failed()
    assert (
        f"photos failed, more than 0, the limit of execution.max_failure_rate=0; first failure: {photo.stem}"
        in state.message
    )
    assert f"To resume: retry the flow run in the UI, or run `prefect flow-run retry {run.id}`" in state.message
    changed = f"changed since the last run named {config['name']}"
    wait_for(lambda: changed in deployed.log(run))

    photo.write_bytes(whole)
    deployed.retry(run)
    assert deployed.wait_for_end(run).is_completed()
    computed = {stage: counts["computed_rows"] for stage, counts in stages(config).items() if stage in STAGES}
    assert computed == dict.fromkeys(STAGES, 1)
    wait_for(lambda: deployed.task_states(run).keys() <= {"Completed", "Cached", "Retried", "NotRun"})
    assert deployed.task_states(run)["Retried"]


@pytest.mark.slow
def test_a_run_cancelled_in_the_ui_leaves_no_process_and_resumes(deployed, config):
    config["dataset"]["count"], config["execution"]["shards"] = 48, 12
    run = deployed.start(config)
    wait_for(lambda: artifact_counts(config)["masks"])
    processes = psutil.Process(deployed.worker.pid).children(recursive=True)
    workers = [process for process in processes if any("spawn_main" in word for word in process.cmdline())]
    for process in workers:
        process.suspend()  # otherwise the run could complete before it is cancelled
    assert 0 < len(workers) < len(processes)
    cancelling = State(type=StateType.CANCELLING, name="Cancelling", message="Cancelled from the UI")
    deployed.client.set_flow_run_state(run.id, cancelling)
    assert deployed.wait_for_end(run).is_cancelled()
    wait_for(lambda: not any(process.is_running() for process in processes))
    assert "Running" not in deployed.task_states(run)
    done = artifact_counts(config)
    assert done["mask_scores"] < 12

    again = deployed.command("flow-run", "retry", str(run.id))
    assert again.returncode == 0, again.stdout + again.stderr
    assert deployed.wait_for_end(run).is_completed()
    computed = {stage: counts["computed_shards"] for stage, counts in stages(config).items() if stage in STAGES}
    assert computed == {stage: 12 - done[stage] for stage in STAGES}


@pytest.mark.slow
def test_a_killed_run_can_be_retried_at_once(deployed, config):
    config["dataset"]["count"], config["execution"]["shards"] = 48, 12
    run = deployed.start(config)
    wait_for(lambda: artifact_counts(config)["masks"])
    psutil.Process(int(deployed.client.read_flow_run(run.id).labels[PID])).kill()
    wait_for(lambda: deployed.client.read_flow_run(run.id).state.is_crashed())

    deployed.retry(run)
    assert deployed.wait_for_end(run).is_completed()
    names = [state.name for state in deployed.client.read_flow_run_states(run.id)]
    assert names.count("Crashed") == 1
    wait_for(lambda: deployed.task_states(run).keys() <= {"Completed", "Cached", "Retried", "NotRun"})


@pytest.mark.slow
def test_prefect_rejects_a_run_with_an_unknown_config_key(deployed, config):
    parameter = f"config={json.dumps({**config, 'cam': {'pover': 1}})}"
    done = deployed.command("deployment", "run", "clipes/demo", "--param", parameter)
    assert done.returncode == 1
    assert "'pover' was unexpected" in " ".join((done.stdout + done.stderr).split())


@pytest.mark.slow
def test_a_run_without_a_required_value_fails_and_names_the_key(deployed, config):
    del config["dataset"]
    state = deployed.wait_for_end(deployed.start(config))
    assert state.is_failed()
    assert "dataset.root: must be set for format voc" in state.message


def stages(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    metrics = Path(config["store"], "runs", config["name"], "metrics.json")
    return json.loads(metrics.read_text())["stages"]


def artifact_counts(config: dict[str, Any]) -> dict[str, int]:
    """Return how many artifacts each stage has in the store."""
    return {stage: len(list(Path(config["store"]).glob(f"artifacts/{stage}/*/*.parquet"))) for stage in STAGES}


def wait_for(condition: Callable[[], object], seconds: float = WAIT_S) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.05)
