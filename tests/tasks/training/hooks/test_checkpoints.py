import uuid
from pathlib import Path

import fsspec
import pytest
import torch
from support.damage import flip

from clipes.tasks.training.hooks.checkpoints import CheckpointFolder

TRAINING = "0123456789abcdef"


@pytest.fixture(params=["path", "memory"])
def uri(request, tmp_path):
    return str(tmp_path / "0.checkpoints") if request.param == "path" else f"memory://{uuid.uuid4()}/0.checkpoints"


def state(iteration):
    return {
        "iteration": iteration,
        "model": {"weight": torch.full((2, 2), float(iteration))},
        "curve": [{"miou": None}],
    }


def plain(checkpoint):
    """Return a checkpoint with plain numbers instead of tensors."""
    return {**checkpoint, "model": {name: tensor.tolist() for name, tensor in checkpoint["model"].items()}}


def names(uri):
    fs, path = fsspec.url_to_fs(uri)
    return sorted(Path(each).name for each in fs.find(path))


def test_an_empty_folder_has_no_newest_checkpoint(uri):
    assert CheckpointFolder(uri, 2, TRAINING).load_newest() is None


def test_the_newest_checkpoint_is_read_as_it_was_written(uri):
    folder = CheckpointFolder(uri, 2, TRAINING)
    for iteration in (9, 10):
        folder.write(iteration, state(iteration))
    newest = folder.load_newest()
    assert newest["iteration"] == 10
    assert torch.equal(newest["model"]["weight"], torch.full((2, 2), 10.0))
    assert newest["curve"] == [{"miou": None}]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_only_the_newest_complete_checkpoints_are_kept(uri, keep):
    folder = CheckpointFolder(uri, keep, TRAINING)
    for iteration in (2, 9, 10, 100):
        folder.write(iteration, state(iteration))
    assert names(uri) == ["00000002.pt", "00000009.pt", "00000010.pt", "00000100.pt"][-keep:]


def test_the_best_checkpoint_is_kept_until_there_is_a_better_one(uri):
    folder = CheckpointFolder(uri, 1, TRAINING)
    for iteration in (1, 2):
        folder.write_best(state(iteration))
        folder.write(10 * iteration, state(10 * iteration))
    assert names(uri) == ["00000020.pt", "best.pt"]
    fs, path = fsspec.url_to_fs(f"{uri}/best.pt")
    with fs.open(path, "rb") as file:
        assert torch.load(file, weights_only=True)["iteration"] == 2


def test_a_training_is_never_resumed_from_the_best_checkpoint(uri):
    folder = CheckpointFolder(uri, 1, TRAINING)
    folder.write_best(state(7))
    assert folder.load_newest() is None


@pytest.mark.parametrize("length", [0, 100, 1000])
def test_a_damaged_checkpoint_is_skipped_with_a_warning_and_replaced(tmp_path, caplog, length):
    folder = CheckpointFolder(str(tmp_path), 2, TRAINING)
    for iteration in (10, 20):
        folder.write(iteration, state(iteration))
    newest = tmp_path / "00000020.pt"
    newest.write_bytes(newest.read_bytes()[:length])

    assert folder.load_newest()["iteration"] == 10
    (warning,) = caplog.messages
    assert "00000020.pt cannot be read (" in warning

    folder.write(20, state(20))
    assert folder.load_newest()["iteration"] == 20


def test_a_checkpoint_with_a_flipped_bit_never_continues_a_training_with_other_values(tmp_path):
    folder = CheckpointFolder(str(tmp_path), 2, TRAINING)
    folder.write(20, state(20))
    path, whole = tmp_path / "00000020.pt", plain(folder.load_newest())
    content = path.read_bytes()
    for position in range(0, len(content), len(content) // 400):
        flip(path, position, bit=position % 8)
        found = folder.load_newest()
        assert found is None or plain(found) == whole
        path.write_bytes(content)


def test_a_checkpoint_of_an_earlier_version_has_no_seal_and_is_read(tmp_path):
    torch.save(state(20), tmp_path / "00000020.pt")
    assert CheckpointFolder(str(tmp_path), 2, TRAINING).load_newest()["iteration"] == 20


def test_a_checkpoint_of_another_training_is_skipped_with_a_warning(tmp_path, caplog):
    own, other = (CheckpointFolder(str(tmp_path), 2, training) for training in (TRAINING, "another"))
    own.write(10, state(10))
    other.write(20, state(20))
    assert own.load_newest()["iteration"] == 10
    (warning,) = caplog.messages
    assert "00000020.pt belongs to another training: clipes tries the next older checkpoint" in warning


@pytest.mark.parametrize("keep", [1, 2])
def test_a_skipped_checkpoint_never_displaces_one_of_the_training(tmp_path, keep):
    folder = CheckpointFolder(str(tmp_path), keep, TRAINING)
    (tmp_path / "99999999.pt").write_bytes(b"damaged")
    for iteration in (1, 2, 3):
        folder.write(iteration, state(iteration))
        assert folder.load_newest()["iteration"] == iteration
    assert len(names(str(tmp_path))) == keep + 1


def test_a_file_that_is_not_a_checkpoint_is_skipped_with_a_warning(tmp_path, caplog):
    torch.save([1, 2], tmp_path / "00000020.pt")
    assert CheckpointFolder(str(tmp_path), 2, TRAINING).load_newest() is None
    assert "00000020.pt cannot be read (" in caplog.text


def test_nothing_in_a_checkpoint_is_executed(tmp_path, caplog):
    torch.save({"iteration": 20, "model": Path}, tmp_path / "00000020.pt")
    assert CheckpointFolder(str(tmp_path), 2, TRAINING).load_newest() is None
    assert "cannot be read" in caplog.text


def test_a_training_whose_checkpoints_are_all_damaged_restarts(tmp_path):
    for name in ("00000010.pt", "00000020.pt"):
        (tmp_path / name).write_bytes(b"")
    assert CheckpointFolder(str(tmp_path), 2, TRAINING).load_newest() is None


def test_other_files_are_not_checkpoints(tmp_path):
    folder = CheckpointFolder(str(tmp_path), 1, TRAINING)
    for name in ("x.pt", "1.pt", "00000030.pt.tmp"):
        (tmp_path / name).write_bytes(b"x")
    folder.write(1, state(1))
    assert folder.load_newest()["iteration"] == 1
    assert len(names(str(tmp_path))) == 4
