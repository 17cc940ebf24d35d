"""clipes commands whose store and photos are on a real S3 server."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.s3_server import BUCKET, READER, STRANGER, UNKNOWN, WRITER
from support.voc_scenes import NINE

CRF = ("--set", "crf.iter_max=1")


@pytest.fixture
def clipes(clipes_process):
    """Return the command, run as a separate process."""
    return clipes_process


@dataclass(frozen=True)
class S3Run:
    """A run whose photos and store are on S3.

    Attributes:
        command: the clipes command with the credentials of an identity of the server.
        server: the S3 server.
        arguments: arguments of the command `clipes`.
        uri: folder of the run on S3.
    """

    command: object
    server: object
    arguments: list[str]
    uri: str

    @property
    def store(self):
        return f"{self.uri}/store"

    def run(self, *more, code=0):
        done = self.command(*self.arguments, *more)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def read_run_file(self, file):
        return self.server.files().cat_file(f"{self.store}/runs/voc12/{file}")

    def computed(self):
        stages = json.loads(self.read_run_file("metrics.json"))["stages"]
        return {name: counts["computed_rows"] for name, counts in stages.items() if name != "manifest"}


@pytest.fixture(scope="module")
def photos(s3, scene_photos):
    """Copy nine scenes in VOC's layout to S3, and return the URI of the data set."""
    root = f"{BUCKET}/voc"
    files = {f"{root}/ImageSets/Segmentation/nine.txt": "\n".join(NINE).encode()}
    for name in NINE:
        for place in (f"JPEGImages/{name}.jpg", f"Annotations/{name}.xml", f"SegmentationClass/{name}.png"):
            files[f"{root}/{place}"] = (scene_photos / place).read_bytes()
    s3.files().pipe(files)
    return f"s3://{root}"


@pytest.fixture
def s3_run(clipes, s3, s3_folder, photos, scene_arguments):
    command = replace(clipes, environment={**clipes.environment, **s3.environment()})
    places = ("--set", f"dataset.root={photos}", "--set", "dataset.split=nine", "--store", f"{s3_folder}/store")
    return S3Run(command, s3, [*scene_arguments, *CRF, *places], s3_folder)


def as_identity(s3_run, identity):
    return replace(
        s3_run,
        command=replace(
            s3_run.command, environment={**s3_run.command.environment, **s3_run.server.environment(identity)}
        ),
    )


def secrets(identity):
    return [identity.access_key.encode(), identity.secret_key.encode()]


@pytest.mark.slow
def test_a_run_on_s3_is_cached_recomputes_only_changes_and_leaks_no_secret(s3_run, server_environment):
    first = s3_run.run()
    assert s3_run.computed() == {"texts": 45, "cams": 9, "masks": 9, "mask_scores": 9}
    metrics = json.loads(s3_run.read_run_file("metrics.json"))

    again = s3_run.run()
    assert "nothing to compute: all 7 shards are cached" in again.stdout
    assert set(s3_run.computed().values()) == {0}
    assert json.loads(s3_run.read_run_file("metrics.json"))["pseudo_mask"] == metrics["pseudo_mask"]

    changed = s3_run.run("--set", "crf.pos_w=4")
    assert s3_run.computed() == {"texts": 0, "cams": 0, "masks": 9, "mask_scores": 9}

    status = s3_run.command("status", "voc12", "--store", s3_run.store)
    report = s3_run.command("report", "voc12", "--store", s3_run.store)
    export = s3_run.command("export", "voc12", "--to", f"{s3_run.uri}/masks", "--store", s3_run.store)
    unknown_run = s3_run.command("status", "nobody", "--store", s3_run.store)
    assert [done.returncode for done in (status, report, export, unknown_run)] == [0, 0, 0, 2]
    assert "completed" in status.stdout
    assert f"report: {s3_run.store}/runs/voc12/report.html" in report.stdout
    assert f"9 masks in {s3_run.uri}/masks" in export.stdout
    assert "no run nobody" in unknown_run.stderr
    assert len(s3_run.server.files().glob(f"{s3_run.uri}/masks/*.png")) == 9

    commands = (first, again, changed, status, report, export, unknown_run)
    printed = "".join(done.stdout + done.stderr for done in commands).encode()
    files = s3_run.server.files()
    stored = {path: files.cat_file(path) for path in files.find(s3_run.uri)}
    prefect = {
        path: path.read_bytes() for path in Path(server_environment["PREFECT_HOME"]).rglob("*") if path.is_file()
    }
    assert any(path.endswith("/run.json") for path in stored)
    assert any(path.name.startswith("prefect.db") and s3_run.store.encode() in data for path, data in prefect.items())
    for place, content in {"output": printed, **stored, **prefect}.items():
        assert not [secret for secret in secrets(WRITER) if secret in content], place


def test_unknown_credentials_are_reported_in_one_line(s3_run, photos):
    unknown = as_identity(s3_run, UNKNOWN)
    done = unknown.run("--plan", code=2)
    place = f"{photos}/ImageSets/Segmentation/nine.txt"
    assert done.stderr == f"clipes: {place}: no permission (Forbidden); check its permissions or the credentials\n"

    done = unknown.command("status", "voc12", "--store", s3_run.store)
    assert done.returncode == 1
    place = f"{s3_run.store}/runs/voc12/run.json"
    assert done.stderr == f"clipes: {place}: no permission (Forbidden); check its permissions or the credentials\n"


def test_a_missing_bucket_of_the_data_set_is_reported_in_one_line(s3_run):
    done = s3_run.run("--set", "dataset.root=s3://nobodys-bucket/voc", "--plan", code=2)
    assert done.stderr.startswith("clipes: s3://nobodys-bucket/voc/ImageSets/")
    assert done.stderr.endswith("nine.txt: the bucket does not exist; create it or name another bucket\n")


@pytest.mark.slow
@pytest.mark.parametrize("identity", [READER, STRANGER], ids=lambda who: who.name)
def test_a_run_fails_without_write_permission_on_the_store(s3_run, scene_arguments, identity):
    """Read local photos, so that only the store refuses access."""
    with_local_photos = replace(as_identity(s3_run, identity), arguments=[*scene_arguments, "--store", s3_run.store])
    done = with_local_photos.run(code=1)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"clipes: store: {s3_run.store}/")
    assert re.search(r": no permission \((Access Denied\.|Forbidden)\); check its permissions or the credential", line)


@pytest.mark.slow
def test_a_missing_bucket_of_the_store_is_reported_in_one_line(s3_run):
    done = s3_run.run("--store", "s3://nobodys-bucket/store", code=1)
    assert done.stderr.startswith("clipes: store: s3://nobodys-bucket/store/")
    assert done.stderr.endswith(": the bucket does not exist; create it or name another bucket\n")
    for command in (("status", "voc12"), ("report", "voc12"), ("export", "voc12", "--to", "masks")):
        done = s3_run.command(*command, "--store", "s3://nobodys-bucket/store")
        assert done.returncode == 1
        assert done.stderr == (
            "clipes: s3://nobodys-bucket/store/runs/voc12/run.json: "
            "the bucket does not exist; create it or name another bucket\n"
        )
