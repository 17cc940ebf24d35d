"""What the tests of the stages share: a worker process, the golden photos' artifacts, a data set of tiny photos."""

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from support.small_runs import TINY_NETWORK, Made, TinyPhotos, make_run, worked_through
from support.small_trainings import SmallTraining, training_work

from clipes.tasks.execution.worker_pool import WorkerPool, worker_pool
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker import WorkerSlot
from clipes.tasks.runs.preparation import prepare_ranking, prepare_run
from clipes.tasks.stages.registry import STAGES
from clipes_core.config.run import parse_config

PAPER_TEMPLATE = "a clean origami {}."


@pytest.fixture(scope="session")
def pool() -> Iterator[WorkerPool]:
    """One worker on the CPU with one thread; it loads the small CLIP once for all tests."""
    with worker_pool([WorkerSlot("cpu", 1)], Counters(tuple(STAGES))) as pool:
        yield pool


@pytest.fixture(scope="session")
def golden_outputs(golden) -> dict[str, dict[str, np.ndarray]]:
    """image_id -> the published program's outputs."""
    return {path.stem: dict(np.load(path)) for path in sorted(golden.glob("*.npz"))}


@pytest.fixture(scope="session")
def golden_made(tmp_path_factory, golden, golden_outputs, real_data, pool) -> Made:
    """All stages of the nine golden photos with the weights they were made with, in fp32 and two shards."""
    run = prepare_run(
        golden_config(tmp_path_factory.mktemp("golden"), golden, golden_outputs, real_data), "mask_scores"
    )
    return make_run(run, pool)


@pytest.fixture(scope="session")
def golden_trained(golden_made, pool) -> Made:
    """A tiny network trained for forty steps on the masks of `golden_made`, and scored on the same photos."""
    config = golden_made.run.config
    train = {"mmseg_config": str(TINY_NETWORK), "init": "none", "iterations": 40, "precision": "fp32"}
    values = {
        **config.model_dump(mode="json"),
        "name": "trained",
        "train": train,
        "evaluation": {"split": config.dataset.split},
    }
    run = prepare_run(parse_config(values), "segmenter_scores")
    ledger = worked_through(run, pool)
    return Made(run, {(record.stage, record.shard): record for record in ledger.records()})


@pytest.fixture(scope="session")
def golden_ranked(tmp_path_factory, golden, golden_outputs, real_data, pool) -> Made:
    """Three candidates on the nine golden photos, and the CAM scores of two of them."""
    config = golden_config(tmp_path_factory.mktemp("ranked"), golden, golden_outputs, real_data)
    run = prepare_ranking(config, (PAPER_TEMPLATE, "a {}.", "the {}."), scored_photos=9)
    return make_run(run.with_sampled(("the {}.", PAPER_TEMPLATE)), pool)


def golden_config(folder, golden, golden_outputs, real_data):
    """The nine golden photos with the weights they were made with, in fp32 and two shards."""
    (folder / "nine.txt").write_text("\n".join(golden_outputs) + "\n")
    config = {
        "name": "golden",
        "store": str(folder / "store"),
        "dataset": {"root": str(real_data), "split": str(folder / "nine.txt")},
        "clip": {"pretrained": str(golden / "small_vit.pt"), "precision": "fp32", "device": "cpu"},
        "execution": {"shards": 2},
    }
    return parse_config(config)


@pytest.fixture
def tiny(tmp_path, real_data, golden) -> TinyPhotos:
    """An empty list data set; its photos are added by the test."""
    return tiny_photos(tmp_path, real_data, golden)


@pytest.fixture(scope="module")
def small(tmp_path_factory, real_data, golden, pool) -> SmallTraining:
    """A training that takes seconds; its masks exist."""
    small = SmallTraining(tiny_photos(tmp_path_factory.mktemp("small"), real_data, golden))
    with training_work(small.prepared(), pool):
        return small


def tiny_photos(folder, real_data, golden):
    photo = Image.open(real_data / "JPEGImages" / "2007_000068.jpg").convert("RGB")
    return TinyPhotos(folder, photo, golden / "small_vit.pt")


@pytest.fixture
def prepared(tiny):
    """Two photos in two shards, as a run with some settings; nothing is made."""
    tiny.add("a", "cat;dog")
    tiny.add("d", "")

    def prepared(until="masks", **sections):
        return prepare_run(tiny.config(**{"execution": {"shards": 2}, **sections}), until)

    return prepared
