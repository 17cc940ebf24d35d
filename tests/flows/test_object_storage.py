"""`clipes run` with its store and its photos on a real S3 server, through the command line."""

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
    """The command as a process of its own."""
    return clipes_process


@dataclass(frozen=True)
class Away:
    """A run whose photos and store are on S3.

    Attributes:
        command: the clipes command, as the writer of the bucket.
        server: the S3 server.
        arguments: of `clipes run`.
        uri: folder of all of it.
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

    def of_the_run(self, file):
        return self.server.files().cat_file(f"{self.store}/runs/voc12/{file}")

    def computed(self):
        stages = json.loads(self.of_the_run("metrics.json"))["stages"]
        return {name: counts["computed_rows"] for name, counts in stages.items() if name != "manifest"}


@pytest.fixture(scope="module")
def photos(s3, scene_photos):
    """Nine scenes on S3, in VOC's layout."""
    root = f"{BUCKET}/voc"
    files = {f"{root}/ImageSets/Segmentation/nine.txt": "\n".join(NINE).encode()}
    for name in NINE:
        for place in (f"JPEGImages/{name}.jpg", f"Annotations/{name}.xml", f"SegmentationClass/{name}.png"):
            files[f"{root}/{place}"] = (scene_photos / place).read_bytes()
    s3.files().pipe(files)
    return f"s3://{root}"


@pytest.fixture
def away(clipes, s3, s3_folder, photos, scene_arguments):
    command = replace(clipes, environment={**clipes.environment, **s3.environment()})
    places = ("--set", f"dataset.root={photos}", "--set", "dataset.split=nine", "--store", f"{s3_folder}/store")
    return Away(command, s3, [*scene_arguments, *CRF, *places], s3_folder)


def as_identity(away, identity):
    return replace(
        away,
        command=replace(away.command, environment={**away.command.environment, **away.server.environment(identity)}),
    )


def secrets(identity):
    return [identity.access_key.encode(), identity.secret_key.encode()]


@pytest.mark.slow
def test_a_run_on_s3_is_made_once_pays_for_changes_only_and_tells_no_secret(away, server_environment):
    first = away.run()
    assert away.computed() == {"texts": 45, "cams": 9, "masks": 9, "mask_scores": 9}
    metrics = json.loads(away.of_the_run("metrics.json"))

    again = away.run()
    assert "nothing to compute: all 7 shards are cached" in again.stdout
    assert set(away.computed().values()) == {0}
    assert json.loads(away.of_the_run("metrics.json"))["pseudo_mask"] == metrics["pseudo_mask"]

    changed = away.run("--set", "crf.pos_w=4")
    assert away.computed() == {"texts": 0, "cams": 0, "masks": 9, "mask_scores": 9}

    status = away.command("status", "voc12", "--store", away.store)
    report = away.command("report", "voc12", "--store", away.store)
    export = away.command("export", "voc12", "--to", f"{away.uri}/masks", "--store", away.store)
    nobody = away.command("status", "nobody", "--store", away.store)
    assert [done.returncode for done in (status, report, export, nobody)] == [0, 0, 0, 2]
    assert "completed" in status.stdout
    assert f"report: {away.store}/runs/voc12/report.html" in report.stdout
    assert f"9 masks in {away.uri}/masks" in export.stdout
    assert "no run nobody" in nobody.stderr
    assert len(away.server.files().ls(f"{away.uri}/masks")) == 9

    told = "".join(d.stdout + d.stderr for d in (first, again, changed, status, report, export, nobody)).encode()
    files = away.server.files()
    stored = {path: files.cat_file(path) for path in files.find(away.uri)}
    prefect = {
        path: path.read_bytes() for path in Path(server_environment["PREFECT_HOME"]).rglob("*") if path.is_file()
    }
    assert any(path.endswith("/run.json") for path in stored)
    assert any(path.name.startswith("prefect.db") and away.store.encode() in data for path, data in prefect.items())
    for place, content in {"output": told, **stored, **prefect}.items():
        assert not [secret for secret in secrets(WRITER) if secret in content], place


def test_whom_the_server_does_not_know_is_told_so_in_a_line(away, photos):
    unknown = as_identity(away, UNKNOWN)
    done = unknown.run("--plan", code=2)
    place = f"{photos}/ImageSets/Segmentation/nine.txt"
    assert done.stderr == f"clipes: {place}: no permission (Forbidden); check its permissions or the credentials\n"

    done = unknown.command("status", "voc12", "--store", away.store)
    assert done.returncode == 1
    place = f"{away.store}/runs/voc12/run.json"
    assert done.stderr == f"clipes: {place}: no permission (Forbidden); check its permissions or the credentials\n"


def test_a_data_set_in_no_bucket_is_told_so_in_a_line(away):
    done = away.run("--set", "dataset.root=s3://nobodys-bucket/voc", "--plan", code=2)
    assert done.stderr.startswith("clipes: s3://nobodys-bucket/voc/ImageSets/")
    assert done.stderr.endswith("nine.txt: the bucket does not exist; create it or name another\n")


@pytest.mark.slow
@pytest.mark.parametrize("identity", [READER, STRANGER], ids=lambda who: who.name)
def test_who_may_not_write_to_the_store_makes_no_run(away, scene_arguments, identity):
    """The photos are local here; the store is what refuses."""
    at_home = replace(as_identity(away, identity), arguments=[*scene_arguments, "--store", away.store])
    done = at_home.run(code=1)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("clipes: s3://")]
    assert line.startswith(f"clipes: {away.store}/runs/voc12/")
    assert re.search(r": no permission \((Access Denied\.|Forbidden)\); check its permissions or the credential", line)


@pytest.mark.slow
def test_a_store_in_no_bucket_is_told_so_in_a_line(away):
    done = away.run("--store", "s3://nobodys-bucket/store", code=1)
    assert "clipes: s3://nobodys-bucket/store/runs/voc12/run.json: the bucket does not exist" in done.stderr
    for command in (("status", "voc12"), ("report", "voc12"), ("export", "voc12", "--to", "masks")):
        done = away.command(*command, "--store", "s3://nobodys-bucket/store")
        assert done.returncode == 1
        assert done.stderr == (
            "clipes: s3://nobodys-bucket/store/runs/voc12/run.json: "
            "the bucket does not exist; create it or name another\n"
        )
