from itertools import islice
from pathlib import Path

import pytest

import clipes_core.segmentation  # noqa: F401 - registers PackConfidence
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.training.data.dataset import PseudoMaskDataset
from clipes.tasks.training.data.loader import LoadErrorHook, training_loader
from clipes_core.errors import BrokenArtifactError

CPU, GPU = WorkerSlot("cpu", 4), WorkerSlot("cuda:0", 4)


@pytest.fixture
def dataset(seven, files):
    return PseudoMaskDataset(seven.training_set(), [{"type": "mmseg.PackConfidence"}], cache=files)


def image_ids(batch):
    return [sample.image_id for sample in batch["data_samples"]]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_continue_without_end(dataset, workers):
    batches = list(islice(training_loader(dataset, 3, CPU, workers), 4))
    expected = [dataset[draw]["data_samples"].image_id for draw in range(12)]
    assert [image_ids(batch) for batch in batches] == [expected[start : start + 3] for start in range(0, 12, 3)]
    assert [tuple(photo.shape) for photo in batches[0]["inputs"]] == [(3, 24, 32)] * 3


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # the test asks for more processes than cores
@pytest.mark.parametrize(
    ("slot", "workers", "processes"),
    [
        (CPU, "auto", 0),
        (GPU, "auto", 4),
        (WorkerSlot("cuda:0", 32), "auto", 8),
        (CPU, 3, 3),
        (GPU, 0, 0),
    ],
)
def test_the_number_of_loading_processes_is_configured_or_depends_on_the_gpu(dataset, slot, workers, processes):
    assert training_loader(dataset, 1, slot, workers).num_workers == processes


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_a_loading_process_keeps_its_type_and_content(dataset, workers):
    loader = training_loader(dataset, 2, CPU, workers)
    for artifact in dataset.training_set.artifacts:
        Path(artifact.uri).unlink()
    batch = next(iter(loader))
    with pytest.raises(BrokenArtifactError) as caught:
        LoadErrorHook().before_train_iter(None, 0, batch)
    assert caught.value.uri in {artifact.uri for artifact in dataset.training_set.artifacts}


def test_a_batch_without_errors_passes(dataset):
    LoadErrorHook().before_train_iter(None, 0, next(iter(training_loader(dataset, 2, CPU, 0))))
