"""No command that writes files replaces a file of the data set, wherever its target lies."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image
from support.prepared import prepare_run
from support.report_runs import write_run_files
from support.small_runs import make_run
from support.small_segmenters import built, save_run, small_config

from clipes.tasks.commands.export.formats import export_run
from clipes.tasks.commands.predictions import PredictionRequest, predict
from clipes.tasks.report.report_file import write_report
from clipes_core.config.run import parse_config
from clipes_core.errors import UsageError

TARGETS = (
    "the photos' folder",
    "the true masks' folder",
    "below the photos' folder",
    "above both folders",
    "a link to the photos' folder",
    "a link to the true masks' folder",
    "a folder with links to the true masks",
    "a folder with hard links to the photos",
    "the earlier output",
)


@pytest.fixture(scope="module")
def model():
    return built(small_config(), seed=3)


@pytest.fixture
def data(tiny, tmp_path):
    """Return a folder with PNG photos in `photos` and true masks of the same names in `truth`."""
    tiny.folder = tmp_path / "photos"
    tiny.folder.mkdir()
    (tmp_path / "truth").mkdir()
    for name in "ab":
        tiny.add(name, "cat", truth=str(tmp_path / "truth" / f"{name}.png"))
        Image.new("L", (64, 48), 8).save(tmp_path / "truth" / f"{name}.png")
    return tmp_path


def target_folder(data: Path, target: str) -> Path:
    """Return one of the TARGETS; create it if it does not exist."""
    photos, truth, out = data / "photos", data / "truth", data / "out"
    places = {TARGETS[0]: photos, TARGETS[1]: truth, TARGETS[2]: photos / "masks", TARGETS[3]: data}
    if target in places:
        return places[target]
    if target in TARGETS[4:6]:
        out.symlink_to(photos if target == TARGETS[4] else truth)
        return out
    out.mkdir()
    for name in ("a.png", "b.png") if target in TARGETS[6:8] else ():
        if target == TARGETS[6]:
            (out / name).symlink_to(truth / name)
        else:
            os.link(photos / name, out / name)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def data_set(data: Path) -> dict[str, bytes]:
    return {
        path: content
        for folder in ("photos", "truth")
        for path, content in contents(data / folder).items()
        if "masks" not in path
    }


def check_nothing_is_replaced(data: Path, target: Path, write) -> None:
    """Call `write` twice, and check that each file that was there before, or that a link leads to, is unchanged."""
    before, there = data_set(data), contents(target) if target.is_dir() else {}
    for _ in range(2):
        with suppress(UsageError):
            write(str(target))
        assert data_set(data).items() >= before.items()
        assert contents(target).items() >= there.items()


@pytest.mark.parametrize("target", TARGETS)
def test_export_replaces_no_file_of_the_data_set(data, tiny, pool, target):
    config = tiny.config(store=str(data / "store"))
    run = write_run_files(make_run(prepare_run(config, "masks"), pool))
    folder = target_folder(data, target)
    check_nothing_is_replaced(data, folder, lambda to: export_run("voc", run.config.store, "tiny", to, 0.0))


@pytest.mark.parametrize("overlay", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_predict_replaces_no_file_of_the_data_set(data, model, target, overlay):
    config = parse_config({"name": "r", "store": str(data / "store"), "dataset": {"root": str(data / "photos")}})
    save_run(config, model)
    folder = target_folder(data, target)

    def write(to: str) -> None:
        list(predict(config.store, "r", PredictionRequest((str(data / "photos" / "a.png"),), to, overlay, "cpu")))

    check_nothing_is_replaced(data, folder, write)


@pytest.mark.parametrize("store", ["photos", "truth", ".", "photos/store"])
def test_report_replaces_no_file_of_the_data_set(data, tiny, pool, store):
    run = write_run_files(make_run(prepare_run(tiny.config(store=str(data / store)), "masks"), pool))
    before = data_set(data)
    write_report(run.config.store, "tiny")
    assert data_set(data).items() >= before.items()
    report = data / store / "runs" / "tiny" / "report.html"
    assert report.is_file()
