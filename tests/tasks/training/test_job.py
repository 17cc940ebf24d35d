import pickle
from dataclasses import replace

import pytest

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import ArtifactKey
from clipes.tasks.training.job import TrainingJob
from clipes_core.config.run import parse_config
from clipes_core.vocabulary import ClassEntry, Vocabulary

PHOTO = Photo("a", "a.png", 1, "1", ())


@pytest.fixture
def job_with(tmp_path, recipe_of_lines):
    """Return a function that makes a training job with the given settings."""

    def job_with(iterations=30, accumulated=1, validation=(PHOTO,), **train):
        recipe = recipe_of_lines(iterations=iterations)
        return TrainingJob(
            key=ArtifactKey("toy", "0" * 16, 0, "1" * 16),
            store=ArtifactStore(str(tmp_path)),
            config=parse_config({"name": "r", "dataset": {"root": "/"}, "train": train}),
            vocabulary=Vocabulary(classes=(ClassEntry(name="cat"),)),
            recipe=replace(recipe, optim_wrapper={**recipe.optim_wrapper, "accumulative_counts": accumulated}),
            mask_uris=("masks.parquet",),
            validation=validation,
            processes=1,
            rendezvous_url="",
        )

    return job_with


def test_a_job_can_be_pickled(job_with):
    job = job_with()
    copy = pickle.loads(pickle.dumps(job))
    assert (copy.key, copy.config, copy.recipe, copy.mask_uris) == (job.key, job.config, job.recipe, job.mask_uris)


def test_a_job_names_the_manifest_of_its_run(job_with, tmp_path):
    assert job_with().files.uri("manifest.parquet") == f"{tmp_path}/runs/r/manifest.parquet"


def test_checkpoints_lie_next_to_the_artifact(job_with, tmp_path):
    job = job_with()
    artifact = f"{tmp_path}/artifacts/toy/{'0' * 16}/000-{'1' * 16}"
    assert (job.uri, job.checkpoints) == (f"{artifact}.parquet", f"{artifact}.checkpoints")


@pytest.mark.parametrize("change", [{"stage_key": "2" * 16}, {"content_key": "2" * 16}])
def test_trainings_differ_if_their_recipes_or_masks_differ(job_with, change):
    job = job_with()
    assert replace(job, key=replace(job.key, **change)).training != job.training


@pytest.mark.parametrize(
    ("iterations", "accumulated", "train", "every"),
    [
        (100, 1, {}, 5),
        (7, 1, {}, 1),
        (100, 2, {}, 6),
        (100, 1, {"checkpoint_every": 9}, 9),
        (100, 2, {"checkpoint_every": 9}, 10),
        (100, 2, {"checkpoint_every": 10}, 10),
    ],
)
def test_checkpoints_are_written_between_steps_of_the_optimizer(job_with, iterations, accumulated, train, every):
    assert job_with(iterations, accumulated, **train).checkpoint_every == every


@pytest.mark.parametrize(
    ("iterations", "train", "every"),
    [(100, {}, 10), (7, {}, 1), (100, {"validate_every": 3}, 3), (100, {"validate_every": 0}, 0)],
)
def test_a_training_is_validated_ten_times_by_default(job_with, iterations, train, every):
    assert job_with(iterations, **train).validate_every == every


def test_a_training_without_validation_photos_is_not_validated(job_with):
    assert job_with(validation=(), validate_every=3).validate_every == 0
