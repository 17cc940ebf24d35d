"""Loading CLIP from real files of every layout, made in tmp_path; nothing is downloaded from other machines."""

import hashlib
import os
import pickle
import zipfile
from pathlib import Path

import open_clip
import pytest
import safetensors.torch
import torch
from open_clip.model import CLIP, build_model_from_openai_state_dict
from open_clip.transformer import QuickGELU
from support.small_resnets import resnet_architecture, resnet_clip
from support.tiny_clip import TINY, State

from clipes.tasks.models.clip import Clip, load_clip
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.errors import WeightsError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:FutureWarning"),
    pytest.mark.usefixtures("tiny_names"),
]


class Branch(torch.nn.Module):
    """A module that only contains other modules and parameters."""


class Touch:
    """An object that runs a shell command when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.target}",)


@pytest.fixture
def seeded_state(seeded_weights) -> State:
    return torch.load(seeded_weights, weights_only=True)


def archive(state: State, path: Path) -> Path:
    """Write a TorchScript archive as OpenAI does: half precision, with its buffers and QuickGELU modules."""
    root = Branch()
    for name, tensor in state.items():
        *branches, leaf = name.split(".")
        module = root
        for branch in branches:
            if branch not in dict(module.named_children()):
                module.add_module(branch, Branch())
            module = module.get_submodule(branch)
        if "running" in leaf or leaf == "num_batches_tracked":  # statistics of batch normalisation
            module.register_buffer(leaf, tensor)
            continue
        module.register_parameter(leaf, torch.nn.Parameter(tensor.half()))
        if branches[-2:] == ["mlp", "c_fc"]:
            root.get_submodule(".".join(branches[:-1])).add_module("gelu", QuickGELU())
    for name, number in {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}.items():
        root.register_buffer(name, torch.tensor(number))
    torch.jit.save(torch.jit.script(root), str(path))
    return path


def features(model: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the features of one random image, (1, C), and of two sentences, (2, C)."""
    image = torch.rand(1, 3, *model.visual.image_size, generator=torch.Generator().manual_seed(1))
    tokens = open_clip.SimpleTokenizer(context_length=model.context_length)(["a dog", "a clean origami cat."])
    with torch.no_grad():
        return model.encode_image(image), model.encode_text(tokens)


def check_same_features(clip: Clip, expected: torch.nn.Module) -> None:
    for ours, theirs in zip(features(clip.model), features(expected.eval()), strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def check_loads_as(path: Path, model_name: str, architecture: dict, state: State) -> Clip:
    """Check that the file gives the features of the architecture with the state dict loaded directly."""
    expected = CLIP(**architecture)
    expected.load_state_dict(state)
    clip = load_clip(ClipConfig(model=model_name, pretrained=str(path)))
    check_same_features(clip, expected)
    return clip


def test_a_state_dict_is_read_as_by_open_clip(seeded_weights, seeded_state):
    clip = load_clip(ClipConfig(pretrained=str(seeded_weights)))

    check_same_features(clip, build_model_from_openai_state_dict(dict(seeded_state)).float())
    assert [block.attn.num_heads for block in clip.model.visual.transformer.resblocks] == [2] * 12
    assert isinstance(clip.model.visual.transformer.resblocks[0].mlp.gelu, QuickGELU)
    assert clip.digest == hashlib.sha256(seeded_weights.read_bytes()).hexdigest()[:16]


def test_the_model_is_frozen_float32_on_the_cpu(seeded_weights):
    clip = load_clip(ClipConfig(pretrained=str(seeded_weights)))
    tensors = [*clip.model.parameters(), *clip.model.buffers()]
    assert {(tensor.dtype, tensor.device.type, tensor.requires_grad) for tensor in tensors} == {
        (torch.float32, "cpu", False)
    }
    assert not any(module.training for module in clip.model.modules())


def test_the_tokenizer_has_the_context_length_of_the_model():
    tokens = load_clip(ClipConfig(model="tiny56", pretrained="random:0")).tokenizer(["a dog", "a cat"])
    assert tokens.shape == (2, 20)
    assert tokens.dtype == torch.int64
    assert tokens[0, :5].tolist() == [49406, 320, 1929, 49407, 0]  # start, a</w>, dog</w>, end, padding


def test_float32_weights_in_the_layout_of_openai_are_not_rounded(tmp_path, seeded_state):
    state = {name: tensor.float() * 1.0001 for name, tensor in seeded_state.items()}
    torch.save(state, tmp_path / "clip.pt")
    loaded = load_clip(ClipConfig(pretrained=str(tmp_path / "clip.pt"))).model.state_dict()
    assert not torch.equal(state["visual.proj"].half().float(), state["visual.proj"])
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_an_archive_of_openai_equals_its_state_dict(tmp_path, seeded_state, seeded_weights):
    path = archive(seeded_state, tmp_path / "ViT.pt")
    clip = load_clip(ClipConfig(pretrained=str(path)))
    check_same_features(clip, load_clip(ClipConfig(pretrained=str(seeded_weights))).model)


def test_an_archive_of_a_resnet_of_openai_is_read_with_its_sizes_and_statistics(tmp_path):
    model = resnet_clip(architecture=resnet_architecture(image_size=96, layers=[1, 2, 3, 1]))
    path = archive(model.state_dict(), tmp_path / "RN.pt")
    clip = load_clip(ClipConfig(model="RN50-quickgelu", pretrained=str(path)))
    halves = {
        name: t if "running" in name or not t.is_floating_point() else t.half()
        for name, t in model.state_dict().items()
    }
    model.load_state_dict(halves)
    for ours, theirs in zip(resnet_features(clip.model), resnet_features(model), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert clip.model.visual.image_size == 96
    assert isinstance(clip.model.transformer.resblocks[0].mlp.gelu, QuickGELU)


def resnet_features(model: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the features of one random image of the model's size, (1, C), and of a sentence, (1, C)."""
    side = model.visual.image_size
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.encode_image(image), model.encode_text(open_clip.tokenize(["a dog"]))


@pytest.mark.parametrize("damage", [float("nan"), float("inf")])
def test_statistics_of_a_resnet_that_are_not_finite_are_refused(tmp_path, damage):
    state = resnet_clip().state_dict()
    state["visual.layer2.0.bn1.running_var"][3] = damage
    torch.save(state, tmp_path / "resnet.pt")
    with pytest.raises(WeightsError, match=r"NaN or infinity in the tensor visual\.layer2\.0\.bn1\.running_var"):
        load_clip(ClipConfig(model="RN50-quickgelu", pretrained=str(tmp_path / "resnet.pt")))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_state_dict_of_a_resnet_is_read(tmp_path, suffix):
    model, path = resnet_clip(), tmp_path / f"resnet{suffix}"
    save = torch.save if suffix == ".pt" else safetensors.torch.save_file
    save(model.state_dict(), path)
    clip = load_clip(ClipConfig(model="RN50-quickgelu", pretrained=str(path)))
    for ours, theirs in zip(resnet_features(clip.model), resnet_features(model), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_an_archive_of_openai_has_quickgelu_even_if_the_name_has_gelu(tmp_path, tiny_names, tiny_state):
    path = archive(tiny_state, tmp_path / "ViT.pt")
    half = {name: tensor.half() for name, tensor in tiny_state.items()}
    check_loads_as(path, tiny_names[0], {**TINY, "quick_gelu": True}, half)


def test_a_state_dict_from_an_archive_of_openai_keeps_quickgelu(tmp_path, tiny_names, tiny_state):
    torch.save({**tiny_state, "input_resolution": torch.tensor(48)}, tmp_path / "clip.pt")
    check_loads_as(tmp_path / "clip.pt", tiny_names[0], {**TINY, "quick_gelu": True}, tiny_state)


@pytest.mark.parametrize("quick_gelu", [False, True])
def test_a_checkpoint_has_the_activation_of_the_named_network(tmp_path, tiny_names, tiny_state, quick_gelu):
    wrapped = {f"module.{name}": tensor for name, tensor in tiny_state.items()}
    torch.save({"epoch": 1, "name": "run", "state_dict": wrapped}, tmp_path / "epoch_1.pt")
    check_loads_as(tmp_path / "epoch_1.pt", tiny_names[quick_gelu], {**TINY, "quick_gelu": quick_gelu}, tiny_state)


def test_gelu_and_quickgelu_differ_more_than_the_tolerance(tiny_state):
    gelu, quick = CLIP(**TINY), CLIP(**TINY, quick_gelu=True)
    gelu.load_state_dict(tiny_state)
    quick.load_state_dict(tiny_state)
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(features(gelu), features(quick), strict=True))


@pytest.mark.parametrize("name", ["clip.safetensors", "clip.bin"])
def test_weights_in_safetensors_are_loaded(tmp_path, tiny_names, tiny_state, name):
    safetensors.torch.save_file(tiny_state, tmp_path / name)
    check_loads_as(tmp_path / name, tiny_names[0], TINY, tiny_state)


def test_weights_of_a_different_named_network_are_refused(tmp_path, tiny_names, tiny_state):
    torch.save(tiny_state, tmp_path / "clip.pt")
    with pytest.raises(WeightsError, match=r"clip\.pt: .*ViT-B-16, found those of tiny56 or tiny56-quickgelu; set"):
        load_clip(ClipConfig(model="ViT-B-16", pretrained=str(tmp_path / "clip.pt")))


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants:UserWarning")
def test_sparse_tensors_are_refused(tmp_path, tiny_names, tiny_state):
    torch.save({**tiny_state, "visual.proj": tiny_state["visual.proj"].to_sparse()}, tmp_path / "clip.pt")
    with pytest.raises(WeightsError, match=r"clip\.pt: expected dense tensors, found another kind; save dense"):
        load_clip(ClipConfig(model=tiny_names[0], pretrained=str(tmp_path / "clip.pt")))


@pytest.mark.parametrize("layout", ["zip", "pickle", "archive"])
def test_a_file_that_would_run_code_is_refused(tmp_path, tiny_state, layout):
    target, path = tmp_path / "executed", tmp_path / "clip.pt"
    if layout == "archive":
        with zipfile.ZipFile(path, "w") as forged:
            forged.writestr("clip/data.pkl", pickle.dumps(Touch(target), protocol=2))
            forged.writestr("clip/constants.pkl", pickle.dumps(Touch(target), protocol=2))
    else:
        content = {**tiny_state, "x": Touch(target)}
        torch.save(content, path, _use_new_zipfile_serialization=layout == "zip")

    with pytest.raises(WeightsError, match=r"clip\.pt: .*posix\.system.*nothing in it was executed"):
        load_clip(ClipConfig(pretrained=str(path)))

    assert not target.exists()


def test_loading_a_file_leaves_the_global_random_state(seeded_weights):
    before = torch.get_rng_state()
    load_clip(ClipConfig(pretrained=str(seeded_weights)))
    assert torch.equal(torch.get_rng_state(), before)
