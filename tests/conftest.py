"""Fixtures of all tests: generated and real photos, outputs of the published program, and real servers."""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings
from s3fs import S3FileSystem
from support.free_ports import free_ports, listening_ports
from support.s3_server import BUCKET, S3Server
from support.voc_scenes import NINE, THREE_MORE, first_voc_scene, write_split, write_voc_scenes

from clipes.tasks.inputs.sources.web import requests
from clipes.tasks.storage.retry_policy import RetryPolicy
from clipes_core.config.crf import DenseCrfConfig
from clipes_core.dense_crf import prepare_crf

ROOT = Path(__file__).parents[1]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the CRF once, before several pytest workers would do so at the same time."""
    if session.config.getoption("numprocesses", None):
        prepare_crf(DenseCrfConfig(), print, print)


def shared_folder(name: str) -> Path:
    """Return a folder of shared test data; skip the test, or fail it in CI, if the folder does not exist."""
    real_data = os.environ.get("CLIPES_REAL_DATA")
    base = Path(real_data).parent if real_data else ROOT.parent / "shared"
    folder = Path(real_data) if real_data and name == "voc_mini" else base / name
    if folder.is_dir():
        return folder
    reason = f"needs {folder}; set CLIPES_REAL_DATA to the folder voc_mini"
    if os.environ.get("CI"):
        pytest.fail(reason)
    return pytest.skip(reason)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of 251 real VOC photos in VOC's layout."""
    return shared_folder("voc_mini")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Return the folder with the published program's outputs on nine of the photos, and the weights it used."""
    return shared_folder("golden")


@pytest.fixture(scope="session")
def scene_photos(tmp_path_factory) -> Path:
    """Write twelve scenes in VOC's layout, and return their folder; the split `nine` lists the first nine."""
    root = tmp_path_factory.mktemp("scenes")
    write_voc_scenes(root, (*NINE, *THREE_MORE))
    write_split(root, "nine", NINE)
    return root


@pytest.fixture(scope="session")
def large_scene() -> Image.Image:
    """Return a generated photo of 480 x 358 px to crop, with an object at its upper left corner."""
    return first_voc_scene(scale=4).crop((160, 90, 640, 448))


@pytest.fixture(scope="session")
def seeded_weights(tmp_path_factory) -> Path:
    """Write a small CLIP with random weights, and return its path; its CAMs are fast to compute but meaningless."""
    from support.seeded_clip import write_seeded_clip  # imports torch, which other tests need not wait for

    return write_seeded_clip(tmp_path_factory.mktemp("weights") / "seeded_vit.pt")


@pytest.fixture(scope="session")
def resnet_settings(tmp_path_factory) -> dict[str, str]:
    """Write a small CLIP with a ResNet and random weights, and return the values of the section `clip` that name it."""
    import torch  # other tests need not wait for it
    from support.small_resnets import resnet_clip

    path = tmp_path_factory.mktemp("weights") / "resnet.pt"
    torch.save(resnet_clip().state_dict(), path)
    return {"model": "RN50-quickgelu", "pretrained": str(path), "pooling": "attention"}


@pytest.fixture(scope="session")
def configs() -> Path:
    """Return the folder of the shipped configs."""
    return ROOT / "configs"


@pytest.fixture(scope="session")
def s3(tmp_path_factory) -> Iterator[S3Server]:
    """Start a real S3 server, create its bucket, and yield the server for the whole session."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    try:
        server.make_bucket(BUCKET)
        yield server
    finally:
        server.kill()


@pytest.fixture
def s3_folder(s3, monkeypatch) -> Iterator[str]:
    """Yield the URI of an unused folder in the bucket, and give this process the credentials to write there."""
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # cached instances keep earlier credentials
    yield f"s3://{BUCKET}/{uuid.uuid4()}"
    S3FileSystem.clear_instance_cache()


@pytest.fixture
def impatient(monkeypatch) -> None:
    """Let this process repeat a request to a web server only once, and soon."""
    monkeypatch.setattr(requests, "POLICY", RetryPolicy(2, 0.01, 0.01))


@pytest.fixture(scope="session")
def server_environment(tmp_path_factory) -> Iterator[dict[str, str]]:
    """Start a Prefect server with a new database, and yield the environment variables that select it."""
    from prefect.server.api.server import SubprocessASGIServer  # a slow import, which other tests need not wait for

    home = tmp_path_factory.mktemp("prefect")
    ours = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ours.items():
            patch.setenv(name, value)
        (port,) = free_ports(1)
        server = SubprocessASGIServer(port)
        server.start(timeout=180)
        try:
            assert server.port in listening_ports(server.server_process.pid), "another server uses the port"
            yield {**ours, "PREFECT_API_URL": server.api_url}
        finally:
            for service in (APILogWorker, EventsWorker):
                service.drain_all(timeout=10)  # unsent records would wait a minute for the stopped server
            server.stop()


@pytest.fixture
def server(server_environment, monkeypatch) -> Iterator[str]:
    """Let flows and clients of this process use the Prefect server, and return its URL."""
    for name, value in server_environment.items():
        monkeypatch.setenv(name, value)
    with temporary_settings({PREFECT_API_URL: server_environment["PREFECT_API_URL"]}):
        yield server_environment["PREFECT_API_URL"]


@pytest.fixture
def default_sigint_handler() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt, even if the tests are a background job, which ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
