"""Extensions by a third party, each one file and a few lines in a copy of the project, in the real pipeline."""

import csv
import filecmp
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, TaskRunFilter, TaskRunFilterName
from prefect.settings import PREFECT_API_URL, temporary_settings
from support.imports import ROOT
from support.process_watch import all_end_within

EXTENSIONS = ROOT / "tests" / "support" / "extensions"
# For each extension, by its own file: other file -> (existing line, line to insert after it).
INSERTED_LINES = {
    "tasks/stages/brightness.py": {
        "tasks/stages/registry.py": ('    "mask_scores:MASK_SCORES",', '    "brightness:BRIGHTNESS",'),
        "flows/pipeline.py": (
            '            scheduler.submit(run, "mask_scores")',
            '            scheduler.submit(run, "brightness")',
        ),
    },
    "clipes_core/refinements/brightest.py": {
        "clipes_core/refinements/__init__.py": (
            "REFINEMENTS = {",
            '    "brightest": Refinement("clipes_core.refinements.brightest:brightest", needs_attention=False),',
        ),
    },
    "clipes_core/crf_backends/lonely.py": {
        "clipes_core/crf_backends/__init__.py": (
            "CRF_BACKENDS = {",
            '    "lonely": CrfBackend("clipes_core.crf_backends.lonely:infer", exact=False),',
        ),
    },
    "tasks/inputs/datasets/folders.py": {
        "tasks/inputs/datasets/formats.py": ('    "voc",', '    "folders",'),
    },
    "tasks/execution/announcing_runner.py": {
        "tasks/execution/runner.py": (
            "RUNNERS: dict[str, str] = {",
            '    "announcing": "clipes.tasks.execution.announcing_runner:AnnouncingRunner",',
        ),
    },
    "tasks/commands/export/text.py": {
        "tasks/commands/export/formats.py": (
            "FORMATS = {",
            '    "text": ExportFormat("clipes.tasks.commands.export.text", "the ids of the photos that have a mask"),',
        ),
    },
    "configs/ablations/refinements.yaml": {},
}
PARTS = ("flows", "tasks", "clipes_core", "configs", "clipes")
PHOTOS = {"cat": 5, "dog": 4}
SHARDS = 3
ARTIFACT_KEYS = {"toys-brightness", "toys-brightness-progress"}  # keys of the Prefect artifacts
TASKS = {f"brightness {shard:03d}/{SHARDS:03d}" for shard in range(SHARDS)}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def insert(file: Path, after: str, line: str) -> None:
    lines = file.read_text().splitlines()
    assert lines.count(after) == 1, f"{file.name} must have exactly one line {after!r}"
    lines.insert(lines.index(after) + 1, line)
    file.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Copy the project, add all extensions, and return the folder of the copy."""
    folder = tmp_path_factory.mktemp("project")
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for extension, lines in INSERTED_LINES.items():
        shutil.copy(EXTENSIONS / extension, folder / extension)
        for file, (after, line) in lines.items():
            insert(folder / file, after, line)
    return folder


@dataclass(frozen=True)
class Toys:
    """The command of the copied project, called in a folder with a config that uses all extensions."""

    project: Path
    folder: Path
    environment: dict[str, str]

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "clipes", *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment, "PYTHONPATH": str(self.project), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *arguments: str) -> tuple[str, str]:
        """Call the command, check that it succeeds, and return its standard output and standard error."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=280)
        assert process.returncode == 0, out + err
        return out, err

    def brightness(self) -> dict[str, float | None]:
        rows = [
            row
            for path in self.folder.glob("store/artifacts/brightness/*/*.parquet")
            for row in pq.read_table(path).to_pylist()
        ]
        assert len(rows) == sum(PHOTOS.values())
        return {row["image_id"]: row["brightness"] for row in rows}


def toys_in(folder, project, environment) -> Toys:
    noise = np.random.default_rng(0)
    for name, count in PHOTOS.items():
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(count):
            pixels = noise.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.png")
    config = {
        "name": "toys",
        "store": "./store",
        "dataset": {"format": "folders", "root": "photos"},
        "clip": {"model": "clipes-demo", "pretrained": "clipes-demo", "device": "cpu"},
        "cam": {"refine": "brightest"},
        "crf": {"backend": "lonely"},
        "train": {"enabled": False},
        "execution": {
            "shards": SHARDS,
            "cpu_workers": 1,
            "runner": {"kind": "announcing", "greeting": "now comes shard"},
        },
    }
    (folder / "toys.yaml").write_text(yaml.safe_dump(config))
    return Toys(project, folder, environment)


@pytest.fixture(scope="module")
def toys(tmp_path_factory, project, server_environment) -> Toys:
    return toys_in(tmp_path_factory.mktemp("toys"), project, server_environment)


@pytest.fixture(scope="module")
def run(toys) -> tuple[str, str]:
    """Return standard output and standard error of the first run."""
    return toys("run", "toys.yaml")


def line_of(stage: str, table: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(f"{stage} ")]
    return line.split()[1:]


def test_each_extension_is_one_new_file_and_the_inserted_lines(project):
    added, changed = set(), set()
    for part in PARTS[:-1]:
        for path in (path for kind in ("*.py", "*.yaml") for path in (project / part).rglob(kind)):
            original = ROOT / path.relative_to(project)
            if not original.exists():
                added.add(str(path.relative_to(project)))
            elif not filecmp.cmp(path, original, shallow=False):
                changed.add(str(path.relative_to(project)))
    assert added == set(INSERTED_LINES)
    assert changed == {file for lines in INSERTED_LINES.values() for file in lines}


def test_a_plan_lists_the_new_stage_and_writes_nothing(toys):
    other = ("--store", "other", "--until", "brightness")
    plan, _ = toys("run", "toys.yaml", "--plan", *other)
    assert line_of("brightness", plan) == ["3", "0", "9", "0", "9"]
    assert not (toys.folder / "other").exists()


def test_the_pipeline_runs_with_all_extensions(toys, run):
    out, err = run
    assert line_of("brightness", out)[:6] == ["3", "0", "0", "9", "0", "9"]
    for stage in ("cams", "masks", "brightness"):
        for shard in range(SHARDS):
            assert f"clipes: now comes shard {stage} {shard}" in err
    brightness = toys.brightness()
    assert set(brightness) == {f"{name}/{number}" for name, count in PHOTOS.items() for number in range(count)}
    assert all(value is None or 0 < value < 255 for value in brightness.values())


def test_extensions_are_cached_and_their_settings_invalidate_stages(toys, run):
    out, _ = toys("run", "toys.yaml")
    assert "nothing to compute" in out
    assert line_of("brightness", out)[:2] == ["3", "3"]
    plan, _ = toys("run", "toys.yaml", "--plan", "--set", "crf.backend=lattice")
    assert line_of("cams", plan)[1] == "3"
    assert line_of("masks", plan)[1] == "0"
    plan, _ = toys("run", "toys.yaml", "--plan", "--set", "cam.refine=none")
    assert line_of("cams", plan)[1] == "0"


def test_status_report_and_until_know_the_new_stage(toys, run):
    status, _ = toys("status", "toys", "--store", "store")
    assert line_of("brightness", status)[0] == "3"
    toys("report", "toys", "--store", "store")
    assert "brightness" in (toys.folder / "store" / "runs" / "toys" / "report.html").read_text()
    process = toys.start("run", "toys.yaml", "--until", "nothing")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "mask_scores, brightness, evaluation_true_masks" in err


def test_the_prefect_ui_shows_the_new_stage(toys, run):
    with (
        temporary_settings({PREFECT_API_URL: toys.environment["PREFECT_API_URL"]}),
        get_client(sync_client=True) as client,
    ):
        # The queries need filters, because the server returns at most 200 artifacts or task runs of all tests.
        artifacts = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[*ARTIFACT_KEYS])))
        tasks = client.read_task_runs(task_run_filter=TaskRunFilter(name=TaskRunFilterName(any_=sorted(TASKS))))
    assert {artifact.key for artifact in artifacts} == ARTIFACT_KEYS
    assert {task.name for task in tasks} == TASKS


def test_masks_are_exported_in_the_new_format(toys, run):
    out, _ = toys("export", "toys", "--format", "text", "--to", "exported", "--store", "store")
    assert "9 masks" in out
    assert (toys.folder / "exported" / "masks.txt").read_text().splitlines() == sorted(toys.brightness())


def test_unknown_names_are_rejected_with_the_names_of_extensions(toys):
    for setting in ("dataset.format=folder", "cam.refine=bright", "crf.backend=alone", "execution.runner.kind=loud"):
        process = toys.start("run", "toys.yaml", "--set", setting)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2, err
        assert setting.partition("=")[0] in err
        assert {"folder": "folders", "bright": "brightest", "alone": "lonely", "loud": "announcing"}[
            setting.partition("=")[2]
        ] in err


def test_a_new_stage_resumes_after_the_run_is_killed(tmp_path, project, server_environment, toys, run):
    killed = toys_in(tmp_path, project, server_environment)
    process = killed.start("run", "toys.yaml", TOY_SECONDS="0.5")
    made = killed.folder / "store" / "artifacts" / "brightness"
    while len(list(made.glob("*/*.parquet"))) < 1:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert all_end_within(10, family)
    left = len(list(made.glob("*/*.parquet")))
    assert left < SHARDS

    out, _ = killed("run", "toys.yaml")

    shards, cached, *_ = map(int, line_of("brightness", out)[:3])
    assert (shards, cached) == (SHARDS, left)
    assert killed.brightness() == toys.brightness()


def test_the_new_grid_is_known_by_its_name_and_reuses_the_run(toys, run):
    """The variant `brightest` has the settings of the run, so the runs of the grid compute only the other variant.

    This test is the last one of its file, because the other variant adds artifacts to the store of the run.
    """
    ablate = ("ablate", "toys.yaml", "--grid", "refinements")
    plan, _ = toys(*ablate, "--plan")
    assert [line.split() for line in plan.splitlines()][:4] == [
        ["run", "texts", "cams", "masks", "mask_scores", "brightness"],
        ["toys-refinements-brightest", *["cached"] * 5],
        ["toys-refinements-none", "cached", "9", "9", "cached", "9"],
        ["computed", "in", "all", "0", "9", "9", "0", "9"],
    ]
    toys(*ablate)
    with (toys.folder / "store" / "runs" / "toys-refinements" / "table.csv").open() as file:
        rows = [(row["variant"], row["figure"], bool(row["mean"])) for row in csv.DictReader(file)]
    figures = ("cams.seconds", "brightness.seconds")
    assert rows == [(variant, figure, True) for variant in ("brightest", "none") for figure in figures]
    assert line_of("computed in all", toys(*ablate, "--plan")[0])[2:] == ["0"] * 5
