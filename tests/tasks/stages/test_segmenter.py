"""What the stage decides without training; tests/tasks/execution/test_joint_work.py trains with it."""

import json
import logging
from pathlib import Path

import pytest
from support.plain_runs import photo, run_inputs, write_artifact

from clipes.tasks.plan.jobs import shard_job
from clipes.tasks.plan.shard_plan import ShardPlan
from clipes.tasks.stages.segmenter import SEGMENTER, SegmenterRow, read_training_facts
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import ArtifactKey, checkpoints_uri
from clipes.tasks.training.recipes import Recipe
from clipes_core.errors import BrokenArtifactError

POINT = SegmenterRow(iteration=5, loss=0.5, learning_rate=0.1, kept_fraction=0.9)


def recipe(**values):
    nothing = {"model": {}, "pipeline": (), "optim_wrapper": {}, "param_scheduler": (), "hooks": (), "inputs": ()}
    settings = {"iterations": 40, "precision": "fp32", "init": "none", "ignore_below": None, "seed": 0, "batch_size": 4}
    return Recipe(**{**nothing, **settings, **values})


def job_of(store="/store", gpu_workers="auto", **values):
    key = ArtifactKey("segmenter", "5" * 16, 0, "c" * 16)
    photos = (photo("a"),)
    inputs = run_inputs(photos, training=recipe(**values), settings={"execution": {"gpu_workers": gpu_workers}})
    return shard_job(SEGMENTER, ShardPlan(key, 0, 40, photos, {}, False, {}, {}), ArtifactStore(store), inputs, 0)


@pytest.mark.parametrize(
    ("batch_size", "gpu_workers", "devices", "expected"),
    [
        (4, 3, ["cpu"] * 3, 2),
        (5, 2, ["cpu"] * 2, 1),
        (8, 2, ["cpu"] * 2, 2),
        (8, "auto", ["cpu"] * 2, 1),  # the workers with one thread each are for CAMs
        (5, "auto", [f"cuda:{index}" for index in range(8)], 5),
        (8, 4, ["cuda:0", "cuda:1"] * 2, 2),  # two workers per GPU compute CAMs; NCCL needs one process per GPU
    ],
)
def test_as_many_processes_train_as_divide_the_batch_evenly(batch_size, gpu_workers, devices, expected):
    assert SEGMENTER.processes(job_of(batch_size=batch_size, gpu_workers=gpu_workers), devices) == expected


def test_devices_that_do_not_train_are_logged(caplog):
    caplog.set_level(logging.INFO)
    SEGMENTER.processes(job_of(batch_size=4), ["cpu"] * 2)
    assert caplog.messages == []
    SEGMENTER.processes(job_of(batch_size=4), ["cuda:0", "cuda:1", "cuda:2"])
    told = "batch size 4: training uses 2 of 3 devices, because the number must divide the batch size evenly"
    assert caplog.messages == [told]


def test_the_settings_are_unknown_until_the_recipe_is_read():
    assert SEGMENTER.reads(run_inputs()) is None
    first, other = (SEGMENTER.reads(run_inputs(training=recipe(seed=seed))) for seed in (0, 1))
    assert first == {"training": recipe().digest}
    assert first != other


@pytest.mark.parametrize("enabled", [True, False])
def test_a_run_has_the_stage_if_training_is_enabled(enabled):
    assert SEGMENTER.enabled(run_inputs(settings={"train": {"enabled": enabled}}).config) is enabled


def test_discarding_attempts_deletes_only_the_checkpoints_of_this_job(tmp_path):
    job = job_of(str(tmp_path))
    SEGMENTER.discard_attempts(job)  # the folder does not exist yet
    own = Path(checkpoints_uri(job.store.artifact_uri(job.plan.key)))
    other = own.with_name(f"000-{'d' * 16}.checkpoints")
    for folder in (own, other):
        folder.mkdir(parents=True)
        for step in ("00000005.pt", "00000010.pt", "best.pt"):
            (folder / step).write_bytes(b"weights")
    mine = {"backup.pt", "my_best.pt", "5.pt", "notes.txt", "00000005.pt.bak"}
    for name in mine:
        (own / name).write_text("mine")
    (own / "00000001").mkdir()

    SEGMENTER.discard_attempts(job)

    assert {path.name for path in own.iterdir()} == {*mine, "00000001"}
    assert len(list(other.iterdir())) == 3


def test_the_facts_of_a_training_are_in_the_footer_of_its_artifact(tmp_path):
    facts = {"iterations": 40, "reads": {"unusable_photos": ["ä"]}}
    record = write_artifact(str(tmp_path), SEGMENTER, [POINT], training=json.dumps(facts))
    assert read_training_facts(record.uri) == facts


@pytest.mark.parametrize("metadata", [{}, {"training": '{"iterations"'}])
def test_an_artifact_without_facts_is_broken(tmp_path, metadata):
    record = write_artifact(str(tmp_path), SEGMENTER, [POINT], **metadata)
    with pytest.raises(BrokenArtifactError) as caught:
        read_training_facts(record.uri)
    assert str(caught.value) == (
        f"{record.uri} has no statistics of the training in its footer: delete it and run again; clipes will rebuild it"
    )
