import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from support.damage import flip
from support.pool_calls import call, worker_pool
from support.prepared import prepare_run
from support.small_runs import rows_of
from support.small_segmenters import built, small_config
from support.worker_calls import rows_of_job

from clipes.tasks.execution.make_shard import make_shard
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.models.segmenter_file import save_segmenter
from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.shard_plan import ShardPlan
from clipes.tasks.runs.pooled_scores import pooled_segmenter_scores
from clipes.tasks.stages.segmenter import SEGMENTER
from clipes.tasks.stages.segmenter_scores import SEGMENTER_SCORES
from clipes.tasks.storage.checksums.weights import describe_weights
from clipes.tasks.storage.layout import ArtifactKey, weights_uri
from clipes.tasks.training.own_modules import code_digests
from clipes_core.config.segmenter import EvaluationConfig
from clipes_core.errors import BrokenArtifactError
from clipes_core.evaluation.metrics import confusion
from clipes_core.preprocessing import limit_side
from clipes_core.segmentation.inference import photo_mask

CLASSES = 21


@dataclass(frozen=True)
class NetworkOfOwnModules:
    """The facts about a training that the stage reads: the modules that its network needs."""

    imports: tuple[str, ...]
    digest: str = ""
    iterations: int = 0

    @property
    def code_digests(self):
        """The digests of the code of the modules."""
        return code_digests(self.imports)


@pytest.fixture(scope="module")
def model():
    return built(small_config(CLASSES), seed=3)


@pytest.fixture
def job(tiny, model):
    """Return a function that makes a job of all added photos, with an untrained segmenter."""

    def job(head="FCNHead", imports=(), **sections):
        run = prepare_run(tiny.config(**sections), "masks")
        segmenter_key = ArtifactKey("segmenter", "b" * 16, 0, "c" * 16)
        uri = run.store.artifact_uri(segmenter_key)
        names = [entry.name for entry in run.inputs.vocabulary.classes]
        config, tensors = small_config(CLASSES), model.state_dict()
        config["decode_head"]["type"] = head
        save_segmenter(weights_uri(uri), config, tensors, names, run.inputs.vocabulary.palette)
        with run.store.writer(segmenter_key, SEGMENTER.schema, {"weights": describe_weights(uri)}):
            pass
        key = ArtifactKey("segmenter_scores", "a" * 16, 0, "c" * 16)
        digests = {photo.image_id: photo.fingerprint for photo in run.inputs.shards[0]}
        photos = run.inputs.shards[0]
        plan = ShardPlan(key, 0, len(photos), photos, digests, cached=False, copies={}, upstream={"segmenter": (uri,)})
        training = NetworkOfOwnModules(tuple(imports))
        networks = (run.inputs.model_digest, "fp32", training)
        return ShardJob(SEGMENTER_SCORES, plan, run.store, run.config, run.inputs.vocabulary, *networks)

    return job


@pytest.fixture
def made(job, pool):
    """Return a function that scores all added photos and returns their rows by image id."""

    def made(**sections):
        rows = call(pool, rows_of_job, job(**sections), timeout_s=120)
        return {row.image_id: row for row in rows}

    return made


def write_truth(tiny, name, ids):
    Image.fromarray(np.asarray(ids, np.uint8)).save(tiny.folder / f"{name}-truth.png")
    return f"{name}-truth.png"


def ids_of(row):
    with Image.open(io.BytesIO(row.mask_png)) as image:
        assert image.mode == "P"
        assert image.getpalette()[3:6] == [128, 0, 0]
        return np.array(image)


def photo_of(tiny, name):
    return Image.open(tiny.folder / f"{name}.png")


def test_a_row_holds_the_mask_of_the_segmenter_and_its_confusion_counts(tiny, made, model):
    truth = np.random.default_rng(0).choice([0, 8, 12, 255], (48, 64))
    tiny.add("a", truth=write_truth(tiny, "a", truth))

    row = made()["a"]

    mask = photo_mask(model, np.asarray(photo_of(tiny, "a")), EvaluationConfig())
    assert (ids_of(row) == mask).all()
    assert row.class_pixels == tuple(np.bincount(mask.ravel(), minlength=CLASSES))
    expected = confusion(truth.astype(np.uint8), mask, CLASSES)
    cells = np.zeros((CLASSES, CLASSES), int)
    cells[row.truth, row.prediction] = row.pixels
    assert (cells == expected).all()
    assert min(row.pixels) > 0


def test_a_photo_without_truth_has_a_mask_but_no_confusion_counts(tiny, made):
    tiny.add("a", "")
    tiny.add("z")  # a data set needs a label
    row = made()["a"]
    assert (row.status, row.truth, row.prediction, row.pixels) == ("ok", (), (), ())
    assert sum(row.class_pixels) == 48 * 64


def test_the_settings_of_the_evaluation_are_applied(tiny, made, model):
    tiny.add("a", size=(70, 50))
    evaluation = {"mode": "slide", "crop": 32, "stride": 20, "scales": [1, 0.5], "flip": True, "merge": "max"}
    evaluation["crf"] = {"enabled": True, "iter_max": 1}
    row = made(evaluation=evaluation)["a"]
    image = np.asarray(photo_of(tiny, "a"))
    expected = photo_mask(model, image, EvaluationConfig.model_validate(evaluation))
    assert (ids_of(row) == expected).all()
    assert (expected != photo_mask(model, image, EvaluationConfig())).any()


def test_the_mask_of_a_reduced_photo_is_enlarged_to_its_full_size(tiny, made, model):
    tiny.add("a", size=(64, 48), truth=write_truth(tiny, "a", np.zeros((48, 64))))
    row = made(dataset={"max_side": 32})["a"]
    small = photo_mask(model, np.asarray(limit_side(photo_of(tiny, "a"), 32)), EvaluationConfig())
    assert small.shape == (24, 32)
    assert (ids_of(row) == small.repeat(2, axis=0).repeat(2, axis=1)).all()
    assert sum(row.pixels) == 48 * 64


def test_bad_photos_and_truths_are_rows_with_an_error(tiny, job, pool):
    tiny.add("a", truth=write_truth(tiny, "a", np.zeros((64, 48))))
    tiny.add("b").write_bytes(b"no photo")
    tiny.add("c", truth=write_truth(tiny, "c", np.full((48, 64), 21)))
    tiny.add("d")
    of_all = job()

    rows = {row.image_id: row for row in call(pool, rows_of_job, of_all, timeout_s=120)}

    assert {name: (row.status, row.error_kind) for name, row in rows.items()} == {
        "a": ("error", "bad_truth"),
        "b": ("error", "undecodable"),
        "c": ("error", "bad_truth"),
        "d": ("ok", None),
    }
    assert rows["a"].error == "the true mask is 48x64 and the photo is 64x48: they must have the same size"
    assert (rows["a"].mask_png, rows["a"].pixels) == (b"", ())


@pytest.mark.parametrize("damage", ["missing", "flipped"])
def test_broken_weights_are_reported_as_a_broken_artifact(tiny, job, pool, damage):
    tiny.add("a")
    of_all = job()
    (uri,) = of_all.plan.upstream["segmenter"]
    weights = Path(weights_uri(uri))
    if damage == "missing":
        weights.unlink()
    else:
        flip(weights, -1000)

    with pytest.raises(BrokenArtifactError, match=r"000-c+\.parquet has (no|a damaged) weights file") as caught:
        call(pool, rows_of_job, of_all, timeout_s=120)
    assert caught.value.uri == uri


def test_opencv_uses_as_many_threads_as_the_worker(tiny, made, pool):
    tiny.add("a")
    call(pool, cv2.setNumThreads, 3, timeout_s=60)
    made()
    assert call(pool, cv2.getNumThreads, timeout_s=60) == 1


def test_the_artifact_holds_masks_and_counts_that_can_be_scored(tiny, job, pool):
    tiny.add("a", truth=write_truth(tiny, "a", np.full((48, 64), 8)))
    tiny.add("b")
    tiny.add("c").write_bytes(b"no photo")
    of_all = job()

    record = call(pool, make_shard, of_all, timeout_s=120)

    assert (record.images, record.computed) == (3, 3)
    assert [(reject.image_id, reject.stage, reject.kind) for reject in record.rejects] == [
        ("c", "segmenter_scores", "undecodable")
    ]
    rows = rows_of(of_all.store, [record.uri])
    mask = np.array(Image.open(io.BytesIO(rows["a"]["mask_png"])))
    assert rows["a"]["class_pixels"] == np.bincount(mask.ravel(), minlength=CLASSES).tolist()
    pooled = pooled_segmenter_scores(of_all.store, [record.uri], CLASSES)
    assert pooled.images == 1
    assert pooled.scores.miou == pytest.approx((mask == 8).mean())


def test_modules_imported_by_the_training_are_imported_in_the_worker(tiny, job, model, tmp_path, monkeypatch):
    (tmp_path / "a_head_of_my_own.py").write_text(
        "from mmseg.models.decode_heads import FCNHead\n"
        "from mmseg.registry import MODELS\n"
        'MODELS.register_module("HeadOfMyOwn", module=type("HeadOfMyOwn", (FCNHead,), {}))\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    tiny.add("a")
    asked = job("HeadOfMyOwn", ("a_head_of_my_own",))
    with worker_pool([WorkerSlot("cpu", 1)], Counters(())) as own:
        (row,) = call(own, rows_of_job, asked, timeout_s=120)
    assert (ids_of(row) == photo_mask(model, np.asarray(photo_of(tiny, "a")), EvaluationConfig())).all()
