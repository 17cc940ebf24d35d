import os
import pickle
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from support.damage import flip

from clipes.tasks.models.state_dicts import PICKLE_START, read_state_dict
from clipes.tasks.training.hooks.checkpoints import CheckpointFolder
from clipes_core.errors import WeightsError


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    return {
        "visual.proj": torch.arange(6.0).reshape(2, 3),
        "token_embedding.weight": torch.tensor([[0.1, -0.2]]).half(),
        "logit_scale": torch.tensor(4.6),
    }


class Touch:
    """An object that runs a shell command when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.target}",)


def check_same(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    state = read_state_dict(path)
    assert not state.openai
    assert state.tensors.keys() == tensors.keys()
    for name, expected in tensors.items():
        assert state.tensors[name].dtype == expected.dtype
        assert torch.equal(state.tensors[name], expected)


def test_a_plain_state_dict_is_read(tmp_path, tensors):
    torch.save(tensors, tmp_path / "clip.pt")
    check_same(tmp_path / "clip.pt", tensors)


def test_a_checkpoint_older_than_torch_1_6_is_read(tmp_path, tensors):
    torch.save(tensors, tmp_path / "clip.pt", _use_new_zipfile_serialization=False)
    check_same(tmp_path / "clip.pt", tensors)


def test_a_checkpoint_of_distributed_open_clip_training_is_read(tmp_path, tensors):
    wrapped = {f"module.{name}": tensor for name, tensor in tensors.items()}
    content = {"epoch": 3, "name": "run", "state_dict": wrapped, "optimizer": {"state": {0: {"step": 7}}}}
    torch.save(content, tmp_path / "epoch_3.pt")
    check_same(tmp_path / "epoch_3.pt", tensors)


@pytest.mark.parametrize("name", ["clip.safetensors", "clip.bin"])
def test_safetensors_are_recognised_with_any_suffix(tmp_path, tensors, name):
    safetensors.torch.save_file(tensors, tmp_path / name)
    check_same(tmp_path / name, tensors)


def test_safetensors_may_start_with_the_byte_of_a_pickle(tmp_path, tensors):
    path, metadata = tmp_path / "clip.safetensors", ""
    while not path.is_file() or path.read_bytes()[:1] != PICKLE_START:
        metadata += "x"  # which lengthens the header, whose length the first bytes hold
        safetensors.torch.save_file(tensors, path, {"made": metadata})
    check_same(path, tensors)


def test_a_checkpoint_with_the_suffix_safetensors_is_read(tmp_path, tensors):
    torch.save(tensors, tmp_path / "clip.safetensors")
    check_same(tmp_path / "clip.safetensors", tensors)


def test_integers_and_masks_are_dropped_but_identify_openai_files(tmp_path, tensors):
    extra = {"input_resolution": torch.tensor(224), "vocab_size": torch.tensor(49408), "attn_mask": torch.ones(2, 2)}
    torch.save(tensors | extra, tmp_path / "clip.pt")

    state = read_state_dict(tmp_path / "clip.pt")

    assert state.openai
    assert state.tensors.keys() == tensors.keys()


def test_logit_scale_of_one_element_becomes_0d(tmp_path, tensors):
    torch.save(tensors | {"logit_scale": torch.tensor([4.6])}, tmp_path / "clip.pt")
    state = read_state_dict(tmp_path / "clip.pt")
    assert state.shapes["logit_scale"] == ()
    assert state.tensors["logit_scale"] == torch.tensor(4.6)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:FutureWarning")
def test_an_archive_with_gelu_is_not_identified_as_openai(tmp_path):
    path = tmp_path / "jit.pt"
    torch.jit.save(torch.jit.script(torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.GELU())), str(path))
    with pytest.raises(WeightsError, match=r"jit\.pt: expected a TorchScript archive from OpenAI .* with GELU; load"):
        read_state_dict(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_a_command_is_refused(tmp_path, tensors, zipped):
    target, path = tmp_path / "executed", tmp_path / "clip.pt"
    torch.save({**tensors, "x": Touch(target)}, path, _use_new_zipfile_serialization=zipped)

    with pytest.raises(WeightsError, match=r"clip\.pt: .*imports posix\.system; nothing in it was executed") as caught:
        read_state_dict(path)

    assert "\n" not in str(caught.value)
    assert not target.exists()
    torch.load(path, weights_only=False)
    assert target.exists(), "the same file does run when torch trusts it"


def test_a_plain_pickle_is_refused_without_advice_to_trust_it(tmp_path):
    (tmp_path / "clip.pt").write_bytes(pickle.dumps({"x": Touch(tmp_path / "executed")}, protocol=4))

    with pytest.raises(WeightsError, match=r"found a pickle that torch\.save did not write .*; nothing in it was exec"):
        read_state_dict(tmp_path / "clip.pt")
    assert not (tmp_path / "executed").exists()


def test_a_whole_pickled_model_is_refused(tmp_path):
    torch.save(torch.nn.Linear(1, 1), tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=r"imports torch\.nn\.modules\.linear\.Linear; nothing"):
        read_state_dict(tmp_path / "model.pt")


@pytest.mark.parametrize("kind", ["zip", "pickle", "safetensors"])
@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_truncated_files_are_errors(tmp_path, tensors, kind, kept):
    path = tmp_path / f"clip.{kind}"
    if kind == "safetensors":
        safetensors.torch.save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "zip")
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])

    with pytest.raises(
        WeightsError, match=rf"clip\.{kind}: expected complete .*damaged file.*download it again"
    ) as caught:
        read_state_dict(path)

    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_zip_file_without_a_checkpoint_is_reported_as_damaged(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photo.txt", "a dog")
    with pytest.raises(WeightsError, match=r"photos\.zip: .*damaged file"):
        read_state_dict(tmp_path / "photos.zip")


@pytest.mark.parametrize("content", [b"", b"<html>404 Not Found</html>", b"\xff\xd8\xff\xe0 JFIF photo"])
def test_files_without_weights_are_errors(tmp_path, content):
    path = tmp_path / "clip.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"clip\.pt: expected weights \(.*\), found another kind of file; use"):
        read_state_dict(path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(WeightsError, match=r"nothing\.pt: .*No such file"):
        read_state_dict(tmp_path / "nothing.pt")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"model": {"a": torch.ones(1)}, "epoch": 1}, "a dict without tensors and with the keys model, epoch"),
        ({}, "a dict without tensors and with the keys none"),
        ([torch.ones(1)], "an object of type list"),
        ({"state_dict": {}}, "a dict without tensors and with the keys state_dict"),
    ],
)
def test_checkpoints_without_weights_are_errors(tmp_path, content, found):
    torch.save(content, tmp_path / "clip.pt")
    with pytest.raises(WeightsError, match=rf"clip\.pt: expected a state dict, .*found {found}; save"):
        read_state_dict(tmp_path / "clip.pt")


@pytest.mark.parametrize("name", ["best.pt", "00000020.pt"])
def test_a_checkpoint_of_clipes_with_a_flipped_bit_is_damaged(tmp_path, name):
    weights = {"layer.weight": torch.arange(64.0).reshape(8, 8)}
    folder = CheckpointFolder(str(tmp_path), 2, "training")
    folder.write(20, weights)
    folder.write_best({"state_dict": weights})
    content = (tmp_path / name).read_bytes()
    for position in range(0, len(content), 41):
        flip(tmp_path / name, position, bit=position % 8)
        try:
            found = read_state_dict(tmp_path / name).tensors
        except WeightsError:
            continue
        finally:
            (tmp_path / name).write_bytes(content)
        assert {key: tensor.tolist() for key, tensor in found.items()} == {
            "layer.weight": weights["layer.weight"].tolist()
        }
