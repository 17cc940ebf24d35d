"""The tables of docs/input.md: each row has a case that makes the input and checks what clipes does with it."""

import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.commands import ClipesHere, ClipesProcess, settings
from support.input_cases import annotations, photos
from support.input_cases.commands import COMMANDS
from support.input_cases.data_sets import DATA_SETS
from support.input_cases.readers import READ
from support.input_cases.seen import TABLE, Seen, TableRow, table_rows
from support.input_cases.servers import SERVERS, WebServer
from support.input_cases.sources import OF_SOURCES
from support.input_cases.trainings import TRAININGS, seen_of_training
from support.input_cases.truths import TRUTHS, seen_of_truths
from support.input_cases.weights import WEIGHTS, seen_of_long_words, seen_of_weights
from support.input_cases.yaml_files import YAML_FILES
from support.web_server import serve

from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.errors import ErrorKind

ROWS = {(row.group, row.given): row for row in table_rows()}
VOC_LINES = annotations.lines("unused")
IN_THIS_PROCESS = {**DATA_SETS, **OF_SOURCES, **YAML_FILES}
LONG_WORDS = ("Config", "class words longer than 77 tokens")


@dataclass(frozen=True)
class RunOutcome:
    """The log, rejects and rows of a completed run."""

    output: str
    rejects: list[dict[str, str]]
    cams: Mapping[str, dict]
    masks: Mapping[str, dict]

    def seen(self, image_id: str) -> Seen:
        """Return what clipes did with a photo."""
        rejects = tuple((row["stage"], row["kind"]) for row in self.rejects if row["image_id"] == image_id)
        masked = self.masks.get(image_id, {}).get("status") == "ok"
        return Seen(rejects, tuple(self.cams[image_id]["notes"]) if masked else None, message=self.output)

    @property
    def with_mask(self) -> set[str]:
        """Ids of the photos with a mask."""
        return {image_id for image_id, row in self.masks.items() if row["status"] == "ok"}

    @property
    def accounted_lines(self) -> int:
        """The number of lines that led to a mask or to a reject of the stages up to `masks`."""
        return len(self.with_mask) + sum(row["stage"] in ("manifest", "cams", "masks") for row in self.rejects)


def test_every_row_has_a_case_and_every_case_has_a_row():
    read = [*READ, *IN_THIS_PROCESS, *TRUTHS, *TRAININGS]
    cases = [*photos.LINES, *VOC_LINES, *read, *COMMANDS, *WEIGHTS, *SERVERS, LONG_WORDS]
    assert len(cases) == len(set(cases))
    assert set(cases) == set(ROWS)


def test_the_page_explains_every_kind_of_a_reject_and_which_kinds_are_tried_again():
    kinds = re.findall(r"^- `(\w+)`: ", TABLE.read_text().partition("The kind of a rejected photo")[2], re.MULTILINE)
    explained = kinds[: kinds.index("rejects")]
    # A photo that failed in an earlier stage has one row in rejects.parquet, with the kind of this first failure.
    assert explained == [kind for kind in ErrorKind if kind is not ErrorKind.UPSTREAM and not kind.transient] + [
        kind for kind in ErrorKind if kind.transient
    ]


def rows(cases) -> list:
    """Return the table's rows for some cases, as test parameters."""
    return [pytest.param(ROWS[case], id="-".join(case)) for case in cases if case in ROWS]


def read_outcome(folder: Path, name: str, output: str) -> RunOutcome:
    """Read the rejects and rows of a completed run."""
    store = ArtifactStore(str(folder / "clipes-store"))
    of_run = folder / "clipes-store" / "runs" / name
    status = RunFiles(store.uri, name).read_status()

    def of_stage(stage: str) -> dict[str, dict]:
        uris = [row["artifact"] for row in status if row["stage"] == stage]
        return {row["image_id"]: row for uri in uris for row in store.read_rows(uri)}

    rejects = pq.read_table(of_run / "rejects.parquet").to_pylist()
    return RunOutcome(output, rejects, of_stage("cams"), of_stage("masks"))


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """Yield a listening socket, which notices if anything connects to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@dataclass(frozen=True)
class Runs:
    """Two runs, one per data set, which together read all bad photos, annotations and lines."""

    folder: Path
    of_list: RunOutcome
    of_voc: RunOutcome
    list_ids: Mapping[str, str]
    list_lines: int
    voc_lines: int


@pytest.fixture(scope="module")
def runs(server_environment, tmp_path_factory, seeded_weights, listener) -> Runs:
    """Run both data sets at the same time, and delete one photo after it has been listed."""
    folder = tmp_path_factory.mktemp("bad")
    list_ids = photos.write_list_data_set(folder)
    lines = annotations.lines(f"http://127.0.0.1:{listener.getsockname()[1]}/x.dtd")
    annotations.write_voc_data_set(folder / "voc", lines)
    (folder / "list.yaml").write_text("name: list\ndataset: {format: list, root: photos, split: list.csv}\n")
    (folder / "voc.yaml").write_text("name: voc\ndataset: {root: voc, split: bad}\n")
    clipes = ClipesProcess(folder, server_environment)
    given = settings(
        f"clip.pretrained={seeded_weights}",
        "clip.device=cpu",
        "clip.precision=fp32",
        "execution.max_failure_rate=1",
        "execution.shards=1",
        "execution.cpu_workers=1",
        "crf.enabled=false",
        "train.enabled=false",
    )
    processes = [clipes.start("run", f"{name}.yaml", *given) for name in ("list", "voc")]
    try:
        _wait_for(folder / "clipes-store" / "runs" / "list" / "manifest.parquet", processes[0])
        (folder / "photos" / photos.VANISHING).unlink()
        outputs = ["".join(process.communicate()) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], outputs
    split = (folder / "voc" / "ImageSets" / "Segmentation" / "bad.txt").read_text()
    return Runs(
        folder,
        *(read_outcome(folder, name, output) for name, output in zip(("list", "voc"), outputs, strict=True)),
        list_ids,
        list_lines=len(photos.LINES),
        voc_lines=len([line for line in split.splitlines() if line.strip()]),
    )


def _wait_for(manifest: Path, process: subprocess.Popen[str]) -> None:
    while not manifest.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.parametrize("row", rows(photos.LINES))
def test_a_line_of_a_list_is_handled_as_documented(runs, row: TableRow):
    row.check(runs.of_list.seen(runs.list_ids[photos.LINES[row.group, row.given].image]))


@pytest.mark.parametrize("row", rows(VOC_LINES))
def test_a_line_of_a_voc_split_is_handled_as_documented(runs, row: TableRow):
    row.check(runs.of_voc.seen(VOC_LINES[row.group, row.given].image_id))


def test_masks_and_rejects_add_up_to_the_lines_of_the_list(runs):
    assert runs.of_list.accounted_lines == runs.list_lines
    assert runs.of_voc.accounted_lines == runs.voc_lines
    assert runs.list_lines > 40
    assert runs.voc_lines > 14


def test_every_reject_has_a_reason_of_one_line(runs):
    for row in (*runs.of_list.rejects, *runs.of_voc.rejects):
        assert row["reason"], row
        assert "\n" not in row["reason"], row


def test_a_password_in_a_list_appears_in_no_file_or_record(runs, server_environment):
    records = [path for path in Path(server_environment["PREFECT_HOME"]).rglob("*") if path.is_file()]
    files = [path for path in (runs.folder / "clipes-store").rglob("*") if path.is_file()]
    assert any(path.name == "report.html" for path in files)
    assert any(path.name.startswith("prefect.db") for path in records)
    for path in (*files, *records):
        assert photos.SECRET.encode() not in path.read_bytes(), path
    assert photos.SECRET not in runs.of_list.output
    assert photos.SECRET not in str(runs.of_list.rejects)


def test_external_addresses_in_annotations_are_not_fetched(runs, listener):
    assert ("manifest", "unreadable_labels") in runs.of_voc.seen("refers").rejects
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_export_writes_no_file_outside_the_target_folder(runs, clipes_in):
    before = set(runs.folder.rglob("*"))
    done = clipes_in(runs.folder)("export", "list", "--to", "out/masks")
    assert done.returncode == 0, done.stderr
    out = runs.folder / "out" / "masks"
    assert {str(path.relative_to(out))[:-4] for path in out.rglob("*.png")} == runs.of_list.with_mask
    assert {path for path in set(runs.folder.rglob("*")) - before if not path.is_relative_to(out.parent)} == set()


@pytest.mark.parametrize("row", rows(READ))
def test_an_input_read_in_this_process_is_handled_as_documented(tmp_path, row: TableRow):
    row.check(READ[row.group, row.given](tmp_path))


@pytest.mark.parametrize("row", rows(TRUTHS))
def test_true_masks_that_disagree_with_labels_are_reported_as_documented(tmp_path, row: TableRow):
    row.check(seen_of_truths(tmp_path, TRUTHS[row.group, row.given]()))


@pytest.mark.parametrize("row", rows(TRAININGS))
def test_a_config_that_cannot_train_is_reported_as_documented(tmp_path, monkeypatch, row: TableRow):
    monkeypatch.syspath_prepend(tmp_path)
    row.check(seen_of_training(tmp_path, row.given))


@pytest.mark.parametrize("row", rows(IN_THIS_PROCESS))
def test_a_file_read_in_this_process_is_handled_as_documented(tmp_path, row: TableRow):
    row.check(IN_THIS_PROCESS[row.group, row.given](tmp_path))


@pytest.mark.parametrize("row", rows(COMMANDS))
def test_a_bad_list_or_config_is_reported_as_documented(clipes_in, tmp_path, row: TableRow):
    done = clipes_in(tmp_path)(*COMMANDS[row.group, row.given].write(tmp_path))
    row.check(Seen(exit_code=done.returncode, message=done.stderr))
    assert done.stdout == ""
    assert all(line.startswith("clipes: ") for line in done.stderr.splitlines())
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("row", rows(SERVERS))
def test_an_unusable_server_is_reported_as_documented(tmp_path, row: TableRow):
    with serve(WebServer) as url:
        (tmp_path / "run.yaml").write_text("name: some\ndataset: {root: ., split: ./all.txt}\n")
        (tmp_path / "all.txt").write_text("a\n")
        clipes = ClipesHere(tmp_path, {"PREFECT_API_URL": SERVERS[row.group, row.given](url)})
        done = clipes("run", "run.yaml")
    row.check(Seen(exit_code=done.returncode, message=done.stderr))
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "clipes-store").exists()


@pytest.mark.parametrize("row", rows(WEIGHTS))
def test_bad_weights_are_reported_as_documented(tmp_path, seeded_weights, row: TableRow):
    WEIGHTS[row.group, row.given](tmp_path / "weights.pt", seeded_weights)
    row.check(seen_of_weights(tmp_path / "weights.pt"))
    assert not (tmp_path / "ran").exists()


def test_too_long_class_words_are_reported_as_documented(seeded_weights):
    ROWS[LONG_WORDS].check(seen_of_long_words(seeded_weights))


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", rows([("Weights", "truncated weights"), ("Weights", "pickle that would run a program")])
)
def test_the_command_reports_bad_weights_as_documented(clipes, scene_arguments, seeded_weights, row: TableRow):
    path = clipes.folder / "weights.pt"
    WEIGHTS[row.group, row.given](path, seeded_weights)
    done = clipes(*scene_arguments, "--set", f"clip.pretrained={path}")
    row.check(Seen(exit_code=done.returncode, message=done.stderr))
    assert not (clipes.folder / "ran").exists()
