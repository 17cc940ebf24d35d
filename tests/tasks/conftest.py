"""Fixtures shared by the stage tests: a worker process, artifacts of nine scenes, a data set of tiny photos."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pool_calls import worker_pool
from support.prepared import prepare_ranking, prepare_run, prepare_word_ranking
from support.small_runs import TINY_NETWORK, Made, TinyPhotos, make_all_shards, make_run
from support.small_trainings import SmallTraining, training_work

from clipes.tasks.execution.worker_pool import WorkerPool
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.stages.registry import STAGES
from clipes_core.config.run import RunConfig, parse_config

PAPER_TEMPLATE = "a clean origami {}."


@pytest.fixture(scope="session")
def pool() -> Iterator[WorkerPool]:
    """Yield one CPU worker with one thread, so that all tests load the small CLIP only once."""
    with worker_pool([WorkerSlot("cpu", 1)], Counters(tuple(STAGES))) as pool:
        yield pool


@pytest.fixture(scope="session")
def scenes_made(tmp_path_factory, scene_photos, seeded_weights, pool) -> Made:
    """Compute all stages without a training for nine scenes, with a small CLIP in fp32 and two shards."""
    config = scenes_config(tmp_path_factory.mktemp("made"), scene_photos, seeded_weights)
    return make_run(prepare_run(config, "mask_scores"), pool)


@pytest.fixture(scope="session")
def scenes_trained(scenes_made, pool) -> Made:
    """Train a tiny network for forty steps on the masks of `scenes_made`, and score it on the same photos."""
    config = scenes_made.run.config
    train = {
        "mmseg_config": str(TINY_NETWORK),
        "init": "none",
        "iterations": 40,
        "precision": "fp32",
        "compare_masks": True,
    }
    values = {
        **config.model_dump(mode="json"),
        "name": "trained",
        "train": train,
        "evaluation": {"split": config.dataset.split},
    }
    run = prepare_run(parse_config(values), "segmenter_scores")
    ledger = make_all_shards(run, pool)
    return Made(run, {(record.stage, record.shard): record for record in ledger.records()})


@pytest.fixture(scope="session")
def scenes_ranked(tmp_path_factory, scene_photos, seeded_weights, pool) -> Made:
    """Rank three candidates on nine scenes, and score the CAMs of two of them."""
    config = scenes_config(tmp_path_factory.mktemp("ranked"), scene_photos, seeded_weights)
    run = prepare_ranking(config, (PAPER_TEMPLATE, "a {}.", "the {}."), scored_photos=9)
    return make_run(run.with_inputs(run.inputs.with_sampled(("the {}.", PAPER_TEMPLATE))), pool)


@pytest.fixture(scope="session")
def words_ranked(tmp_path_factory, scene_photos, seeded_weights, pool) -> Made:
    """Score two words on nine scenes."""
    config = scenes_config(tmp_path_factory.mktemp("words"), scene_photos, seeded_weights)
    return make_run(prepare_word_ranking(config, ("seabird", "harbour wall")), pool)


def scenes_config(folder: Path, photos: Path, weights: Path) -> RunConfig:
    """Return the config of nine scenes with a small CLIP, fp32 and two shards."""
    config = {
        "name": "scenes",
        "store": str(folder / "store"),
        "dataset": {"root": str(photos), "split": "nine"},
        "clip": {"pretrained": str(weights), "precision": "fp32", "device": "cpu"},
        "execution": {"shards": 2},
    }
    return parse_config(config)


@pytest.fixture
def tiny(tmp_path, large_scene, seeded_weights) -> TinyPhotos:
    """Return an empty data set of format `list`, to which the test adds photos."""
    return TinyPhotos(tmp_path, large_scene, seeded_weights)


@pytest.fixture(scope="module")
def small(tmp_path_factory, large_scene, seeded_weights, pool) -> SmallTraining:
    """Return a training that takes seconds and whose pseudo masks already exist."""
    small = SmallTraining(TinyPhotos(tmp_path_factory.mktemp("small"), large_scene, seeded_weights))
    with training_work(small.prepared(), pool):
        return small


@pytest.fixture
def prepared(tiny):
    """Return a function that prepares a run of two photos in two shards without computing anything."""
    tiny.add("a", "cat;dog")
    tiny.add("d", "")

    def prepared(until="masks", **sections):
        return prepare_run(tiny.config(**{"execution": {"shards": 2}, **sections}), until)

    return prepared
