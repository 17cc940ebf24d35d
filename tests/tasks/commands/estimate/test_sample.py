from dataclasses import replace
from pathlib import Path

import pytest
from support.ledger_records import finished, record

from clipes.tasks.commands.estimate.forecast import Machines, TrainingCost, Work
from clipes.tasks.commands.estimate.sample import measured_costs, sample_config, without_placeholders, work_of
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.record.contents import status_table
from clipes.tasks.storage.layout import STATUS_FILE, ArtifactKey, artifact_uri
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.config.run import NAME_LENGTH, RunConfig
from clipes_core.errors import StageError

COUNTS = {"images": 24, "seconds_per_row": 0.5, "cpu_seconds_per_row": 0.25, "peak_memory_mib": 100}


@pytest.fixture
def recorded(config):
    """Write the status of a run that has one artifact of 2,400 bytes in each of two stages."""
    ledger = Ledger(24, 1)
    for stage in ("cams", "mask_scores"):
        key = ArtifactKey(stage, "0" * 16, 0, "1" * 16)
        uri = artifact_uri(config.store, key)
        Path(uri).parent.mkdir(parents=True)
        Path(uri).write_bytes(bytes(2_400))
        finished(ledger, replace(record(stage=stage), uri=uri))
    RunFiles(config.store, config.name).write_table(STATUS_FILE, status_table(ledger, config.store))
    return config


def test_the_sample_is_a_run_of_its_own_with_few_photos_and_iterations():
    sample = sample_config(RunConfig(name="voc", train={"iterations": 5_000}), photos=24, workers=2)
    assert sample.name == "voc-estimate"
    assert sample.dataset.sample == 24
    assert sample.execution.shards == 8
    assert (sample.train.iterations, sample.train.checkpoint_every, sample.train.validate_every) == (20, 10, 10)


@pytest.mark.parametrize(
    ("name", "sampled"),
    [
        ("{date}", "run-estimate"),
        ("{date}-voc{time}", "voc-estimate"),
        ("a" * NAME_LENGTH, "a" * (NAME_LENGTH - 9) + "-estimate"),
    ],
)
def test_the_name_of_a_sample_is_valid(name, sampled):
    sample = sample_config(without_placeholders(RunConfig(name=name)), 24, 2)
    assert sample.name == sampled
    assert RunConfig.model_validate(sample.model_dump()) == sample


def test_no_share_of_bad_photos_fails_a_sample():
    assert sample_config(RunConfig(name="voc"), 24, 2).execution.max_failure_rate == 1


@pytest.mark.parametrize(("photos", "workers", "shards"), [(24, 16, 12), (2, 8, 1), (1, 1, 1), (1_000, 3, 12)])
def test_each_worker_gets_several_shards_if_there_are_enough_photos(photos, workers, shards):
    assert sample_config(RunConfig(name="voc"), photos, workers).execution.shards == shards


def test_a_shorter_training_is_measured_completely_and_without_validations_if_there_are_none():
    sample = sample_config(RunConfig(name="voc", train={"iterations": 7, "validate_every": 0}), 24, 2)
    assert (sample.train.iterations, sample.train.validate_every) == (7, 0)


@pytest.mark.parametrize(
    ("train", "iterations", "evaluated", "validated", "checkpoints"),
    [
        ({}, 2_200, 300, 10 * 100, 20),
        ({}, 2_205, 300, 11 * 100, 21),
        ({"validate_every": 1_000, "checkpoint_every": 500}, 2_200, 40, 3 * 40, 5),
        ({"validate_every": 0}, 2_200, 300, 0, 20),
        ({}, 3, 40, 3 * 40, 3),
    ],
)
def test_all_validations_and_checkpoints_count(train, iterations, evaluated, validated, checkpoints):
    work = work_of(RunConfig(name="voc", train=train), 50, evaluated, iterations, 4)
    assert work == Work(50, 32, evaluated, iterations, validated, checkpoints, 4)


def test_without_training_no_photo_is_scored():
    assert work_of(RunConfig(name="voc"), 50, 300) == Work(50, 32)


def test_a_run_has_no_more_shards_than_photos():
    assert work_of(RunConfig(name="voc"), 5, 0) == Work(photos=5, shards=4)


def test_the_costs_are_those_of_all_photos_even_if_only_some_have_a_row(recorded):
    metrics = {"stages": {"cams": COUNTS, "mask_scores": {**COUNTS, "images": 6}}}
    found = measured_costs(recorded, metrics, Machines(1, 2), {"cams": 0.5}, 10.0)
    cams, scores = found.stages
    assert (cams.workers, scores.workers) == ("gpu", "cpu")
    assert (cams.stage, cams.seconds, cams.gpu_seconds, cams.cpu_seconds) == ("cams", 0.5, 0.25, 0.25)
    assert (scores.stage, scores.seconds, scores.gpu_seconds) == ("mask_scores", 0.125, 0.0)
    assert cams.stored_bytes == 100
    assert scores.stored_bytes == 100
    assert found.work == Work(24, 16)


@pytest.mark.parametrize(
    ("every", "seconds"),
    [
        (10, 0.5),  # two validations of ten photos, which took 8 s and 5 s
        (20, 1.3),
        (0, 0.0),
    ],
)
def test_the_first_validation_of_a_sample_is_left_out_if_there_are_more(recorded, every, seconds):
    facts = {"iterations": 20, "processes": 2, "iterations_per_second": 5.0, "peak_memory_mib": 900}
    facts |= {"validation_seconds": 13.0, "first_validation_seconds": 8.0, "checkpoint_seconds": 3.0}
    train = recorded.train.model_copy(update={"validate_every": every, "checkpoint_every": 10})
    metrics = {
        "stages": {"cams": COUNTS, "segmenter_scores": {**COUNTS, "images": 10, "seconds_per_row": None}},
        "training": facts,
    }
    found = measured_costs(recorded.model_copy(update={"train": train}), metrics, Machines(0, 2), {}, 10.0)
    assert found.training == TrainingCost(0.2, seconds, 1.5, 2, 900)


def test_a_sample_without_usable_photos_is_reported(recorded):
    with pytest.raises(StageError, match=r"^no photo of the sample could be used: choose a larger --sample$"):
        measured_costs(recorded, {"stages": {}}, Machines(0, 2), {}, 10.0)
