"""One flipped byte anywhere in a store: no command gives another result without a message, and none fails otherwise."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.damage import flip
from support.prepared import prepare_run
from support.report_runs import write_run_files
from support.small_runs import make_run

from clipes.tasks.commands.export.formats import export_run
from clipes.tasks.commands.garbage import find_garbage
from clipes.tasks.commands.predictions import PredictionRequest, predict
from clipes.tasks.plan.caching import REUSE_ALL, Reuse
from clipes.tasks.report.gallery import training_plots
from clipes.tasks.report.report_file import write_report
from clipes.tasks.storage.layout import checkpoints_uri, weights_uri
from clipes.tasks.storage.run_status import read_run
from clipes_core.errors import BrokenArtifactError, ClipesError

STAGES = ("texts", "cams", "masks", "mask_scores", "segmenter", "segmenter_scores")
FILES = (*STAGES, "network", "checkpoint", "run.json", "metrics.json", "status.parquet", "manifest.parquet")
DAY = 24 * 3600.0


class Store:
    """A store with a completed run of all stages, and what each command gives for it.

    Args:
        run: the run.
        pool: pool that makes the shards of another run.
        photos: photos for `predict`.
        folder: empty folder for the output of the commands.
    """

    def __init__(self, run, pool, photos, folder):
        self.run, self._pool, self._photos, self._folder = run, pool, photos, folder
        self.uri, self.name = run.config.store, run.config.name
        self.copy = folder / "copy"
        self.commands: dict[str, Callable] = {
            "status": self.status,
            "export": self.export,
            "predict": self.predict,
            "gc": lambda: find_garbage(self.uri, DAY, 0),
            "report": self.report,
        }

    def path(self, file):
        """Return the path of one of FILES."""
        if file in STAGES:
            return Path(self.artifacts(file)[0])
        if file == "network":
            return Path(weights_uri(self.artifacts("segmenter")[0]))
        if file == "checkpoint":
            return max(Path(checkpoints_uri(self.artifacts("segmenter")[0])).glob("0*.pt"))
        return Path(self.uri) / "runs" / self.name / file

    def artifacts(self, stage):
        return read_run(self.uri, self.name).artifacts(stage)

    def status(self):
        status = read_run(self.uri, self.name)
        scores = {name: entry for name, entry in status.metrics.items() if name not in ("run", "stages", "training")}
        places = {(shard["stage"], shard["shard"]): shard["artifact"] for shard in status.shards}
        return status.run["config"], status.run["stage_keys"], places, scores

    def export(self):
        export_run("voc", self.uri, self.name, str(self._folder / "masks"), ignore_below=0)
        return self._written("masks")

    def predict(self):
        request = PredictionRequest((str(self._photos),), str(self._folder / "predicted"))
        for prediction in predict(self.uri, self.name, request):
            assert prediction.reason is None
        return self._written("predicted")

    def report(self):
        Path(self.uri, "runs", self.name, "report.html").unlink(missing_ok=True)
        page = Path(write_report(self.uri, self.name)).read_text()
        return page if "This report lacks the content" not in page else "with a message"

    def rerun(self, reuse):
        """Run again, and return the rows of all artifacts. A damaged artifact that the run did not read has no rows."""
        made = make_run(prepare_run(self.run.config, self.run.until, reuse), self._pool)
        write_run_files(made)
        return {(each.stage, each.shard): self._rows(each.uri) for stage in STAGES for each in made.of(stage)}

    def restore(self):
        """Replace the store by its undamaged copy."""
        shutil.rmtree(self.uri)
        shutil.copytree(self.copy, self.uri)

    def _rows(self, uri):
        try:
            return self.run.store.read(uri).to_pylist()
        except BrokenArtifactError:
            return None

    def _written(self, name):
        files = {path.name: path.read_bytes() for path in (self._folder / name).iterdir()}
        shutil.rmtree(self._folder / name)
        return files


@pytest.fixture(scope="module", autouse=True)
def _each_curve_is_drawn_once():
    """Keep the plots of the reports: drawing the same curve for each report would take most of their time."""
    drawn, draw = {}, training_plots._draw

    def draw_once(plot, curve):
        key = repr((plot, curve))
        if key not in drawn:
            drawn[key] = draw(plot, curve)
        return drawn[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_plots, "_draw", draw_once)
        yield


@pytest.fixture(scope="module")
def original(scenes_trained):
    """Return the files of a complete run and its store's folder."""
    write_run_files(scenes_trained)
    return Path(scenes_trained.run.config.store)


@pytest.fixture(scope="module")
def store(original, scenes_trained, scene_photos, pool, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    shutil.copytree(original, folder / "store")
    config = scenes_trained.run.config.model_copy(update={"store": str(folder / "store")})
    return Store(prepare_run(config, "segmenter_scores"), pool, next((scene_photos / "JPEGImages").iterdir()), folder)


@pytest.fixture(scope="module")
def expected(store):
    """Return the result of each command for the undamaged store, and the rows of its artifacts."""
    rows = store.rerun(REUSE_ALL)
    shutil.copytree(store.uri, store.copy)
    return {**{name: command() for name, command in store.commands.items()}, "rows": rows}


def positions(size, count):
    """Return positions in a file: half of them anywhere in it, a quarter near its start, and a quarter near its end."""
    near = min(size // 2, 400)
    anywhere = [size * place // (count // 2) for place in range(count // 2)]
    start = [near * place // (count // 4) for place in range(count // 4)]
    return sorted({*anywhere, *start, *(size - 1 - place for place in start)})


def check_damage(store, expected, file, count, reruns):
    """Flip a bit at `count` positions of a file. After each `reruns`-th of them, run again, also with --verify."""
    path = store.path(file)
    whole = path.read_bytes()
    for number, position in enumerate(positions(len(whole), count)):
        flip(path, position, bit=number % 8)
        for name, command in store.commands.items():
            check_result(command, expected[name], f"{name}: {file} at {position}")
        if number % reruns == 0:
            check_reruns(store, expected, f"{file} at {position}")
        path.write_bytes(whole)


def check_result(command, expected, place):
    """Check that a command gives the expected result or an error of clipes that names a file of the store."""
    message = ""
    try:
        found = command()
    except ClipesError as error:
        message = str(error)
        found = "with a message" if "store/" in message else error
    assert found in (expected, "with a message"), place
    assert "/runs/" not in message or "delete it" not in message, place  # because a run writes its files again


def check_reruns(store, expected, place):
    """Run again without and with --verify. Only the second must rebuild a damaged artifact that no stage reads."""
    plain = store.rerun(REUSE_ALL)
    assert all(rows in (None, expected["rows"][shard]) for shard, rows in plain.items()), place
    assert store.status() == expected["status"], place
    assert store.rerun(Reuse(verify=True)) == expected["rows"], place
    assert store.status() == expected["status"], place
    store.restore()


@pytest.mark.parametrize("file", FILES)
def test_a_flipped_byte_never_changes_a_result_silently(store, expected, file):
    check_damage(store, expected, file, count=4, reruns=4)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("file", FILES)
def test_no_flipped_byte_of_many_changes_a_result_silently(store, expected, file):
    check_damage(store, expected, file, count=40, reruns=16)
