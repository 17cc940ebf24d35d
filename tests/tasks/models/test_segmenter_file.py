import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from support.damage import flip
from support.small_segmenters import built, small_config

from clipes.tasks.models.segmenter_file import load_segmenter, save_segmenter
from clipes_core.config.segmenter import EvaluationConfig
from clipes_core.errors import BrokenArtifactError, WeightsError
from clipes_core.segmentation.inference import photo_probs

CLASSES = ("cat", "dög")
FAILS = "cannot be read (it fails its checksum)"
PALETTE = tuple((number, 255 - number, 7) for number in range(256))


@pytest.fixture(scope="module")
def model():
    """Return a network with random weights and batch norm statistics."""
    model = built(small_config(3), seed=5)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand_like(tensor))
    return model


def save(uri, model, config=None, tensors=None):
    """Write a file as a training does and return its URI."""
    save_segmenter(str(uri), config or small_config(3), tensors or model.state_dict(), CLASSES, PALETTE)
    return str(uri)


@pytest.fixture
def saved(tmp_path, model):
    return save(tmp_path / "sub" / "s.safetensors", model)


def probs_of(model):
    image = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
    return photo_probs(model, image, EvaluationConfig())


@pytest.mark.parametrize("folder", ["{}", "memory:/{}"])
def test_a_segmenter_is_restored_as_it_was(tmp_path, model, folder):
    segmenter = load_segmenter(save(folder.format(tmp_path) + "/s.safetensors", model), "cpu")

    assert (segmenter.classes, segmenter.palette, segmenter.device) == (CLASSES, PALETTE, "cpu")
    assert not segmenter.model.training
    assert not any(parameter.requires_grad for parameter in segmenter.model.parameters())
    assert torch.equal(probs_of(segmenter.model), probs_of(model))


@pytest.mark.parametrize(
    ("name", "value"), [("decode_head.conv_seg.bias", torch.nan), ("backbone.bn1.running_var", torch.inf)]
)
def test_a_segmenter_that_is_not_finite_is_refused(tmp_path, model, name, value):
    tensors = {**model.state_dict(), name: torch.full_like(model.state_dict()[name], value)}
    with pytest.raises(WeightsError, match=rf"s\.safetensors: expected finite weights, found .* in the tensor {name}"):
        load_segmenter(save(tmp_path / "s.safetensors", model, tensors=tensors), "cpu")


def test_the_same_segmenter_gives_the_same_bytes(tmp_path, model):
    """safetensors writes the metadata in the order of a hash table, which is another one in each call."""
    contents = {Path(save(tmp_path / f"{number}.safetensors", model)).read_bytes() for number in range(8)}
    assert len(contents) == 1


def test_other_programs_can_read_the_metadata(saved):
    with safe_open(saved, "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["model"])["decode_head"] == small_config(3)["decode_head"]
    assert json.loads(metadata["classes"]) == list(CLASSES)
    assert json.loads(metadata["palette"])[2] == [2, 253, 7]


def test_tensors_that_share_memory_or_have_strides_can_be_written(tmp_path, model):
    tensors = dict(model.state_dict())
    weight = tensors["decode_head.conv_seg.weight"]
    everything = torch.rand(2, *weight.shape)
    tensors["decode_head.conv_seg.weight"] = everything[0].transpose(0, 1).contiguous().transpose(0, 1)
    bias = torch.rand(16)
    tensors["decode_head.convs.0.bn.bias"] = tensors["decode_head.convs.0.bn.weight"] = bias[::2]

    loaded = load_segmenter(save(tmp_path / "s.safetensors", model, tensors=tensors), "cpu").model.state_dict()

    assert torch.equal(loaded["decode_head.conv_seg.weight"], everything[0])
    assert torch.equal(loaded["decode_head.convs.0.bn.bias"], bias[::2])
    assert torch.equal(loaded["decode_head.convs.0.bn.weight"], bias[::2])


def test_a_later_segmenter_replaces_the_file(tmp_path, saved, model):
    other = built(small_config(3), seed=9)
    save(saved, other)
    assert torch.equal(probs_of(load_segmenter(saved, "cpu").model), probs_of(other))
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["s.safetensors"]


def test_initial_weights_are_neither_read_nor_downloaded(tmp_path, model):
    config = small_config(3)
    config["pretrained"] = "https://nowhere.invalid/weights.pth"
    config["init_cfg"] = {"type": "Pretrained", "checkpoint": "/nowhere/weights.pth"}
    config["backbone"]["init_cfg"] = [{"type": "Pretrained", "checkpoint": "torchvision://resnet18"}]
    config["decode_head"]["loss_decode"] = [{"type": "CrossEntropyLoss", "class_weight": "/nowhere/weights.pkl"}]
    loaded = load_segmenter(save(tmp_path / "s.safetensors", model, config), "cpu").model
    assert torch.equal(probs_of(loaded), probs_of(model))
    assert "Pretrained" not in str([part.init_cfg for part in (loaded, loaded.backbone)])


def timm_config(**settings):
    config = small_config(3)
    config["backbone"] = {"type": "TIMMBackbone", "model_name": "resnet10t", "out_indices": (1, 2), **settings}
    config["decode_head"].update(in_channels=128, in_index=1)
    return config


def test_a_timm_network_is_built_without_its_pretrained_weights(tmp_path):
    model = built(timm_config(pretrained=False))
    loaded = load_segmenter(save(tmp_path / "s.safetensors", model, timm_config(pretrained=True)), "cpu").model
    assert torch.equal(probs_of(loaded), probs_of(model))


def test_names_that_timm_would_import_are_not_imported(tmp_path, monkeypatch):
    (tmp_path / "never_imported.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    uri = save(
        tmp_path / "s.safetensors", built(timm_config(pretrained=False)), timm_config(norm_layer="never_imported.x")
    )
    with pytest.raises(WeightsError, match=r"a module 'never_imported\.x', which is not registered; no code of"):
        load_segmenter(uri, "cpu")


@pytest.mark.parametrize("place", ["network", "backbone", "loss"])
def test_a_type_that_is_not_registered_is_not_executed(tmp_path, model, place):
    config, made = small_config(3), tmp_path / "made"
    call = {"type": "os.mkdir", "path": str(made)}
    if place == "network":
        config = call
    elif place == "backbone":
        config["backbone"] = call
    else:
        config["decode_head"]["loss_decode"] = [{"type": "CrossEntropyLoss", "avg_non_ignore": True}, call]
    uri = save(tmp_path / "s.safetensors", model, config)
    with pytest.raises(WeightsError, match=r"a module 'os\.mkdir', which is not registered; no code of"):
        load_segmenter(uri, "cpu")
    assert not made.exists()


def test_names_with_a_scope_are_found(tmp_path, model):
    config = small_config(3)
    config["decode_head"].update(type="mmseg.FCNHead", _scope_="mmseg")
    loaded = load_segmenter(save(tmp_path / "s.safetensors", model, config), "cpu").model
    assert torch.equal(probs_of(loaded), probs_of(model))


def test_a_scope_is_not_imported(tmp_path, model):
    config = small_config(3)
    config["backbone"]["_scope_"] = "antigravity"
    with pytest.raises(WeightsError, match="a module 'antigravity', which is not registered"):
        load_segmenter(save(tmp_path / "s.safetensors", model, config), "cpu")


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"type": "ReLU"}, "its network is a ReLU, expected a segmentor"),
        ({"type": "EncoderDecoder"}, "its network cannot be built"),
        ([1, 2], r"its network config is '\[1, 2\]', expected a dict with a type"),
        (small_config(4), "its tensors do not fit its network .*conv_seg.weight"),
    ],
)
def test_a_config_that_does_not_match_the_tensors_is_an_error(tmp_path, model, config, complaint):
    uri = save(tmp_path / "s.safetensors", model, config)
    with pytest.raises(WeightsError, match=complaint) as caught:
        load_segmenter(uri, "cpu")
    assert str(caught.value).startswith(uri)
    assert "\n" not in str(caught.value)


def broken(uri):
    with pytest.raises(BrokenArtifactError) as caught:
        load_segmenter(str(uri), "cpu")
    assert caught.value.uri == str(uri)
    return caught.value.reason


@pytest.mark.parametrize("uri", ["{}/s.safetensors", "memory:/{}/s.safetensors"])
def test_a_missing_file_is_a_broken_artifact(tmp_path, uri):
    assert broken(uri.format(tmp_path)) == "is missing"


@pytest.mark.parametrize("size", [0, 5, 5000, -1])
def test_a_truncated_file_is_a_broken_artifact(tmp_path, saved, size):
    path = tmp_path / "short.safetensors"
    path.write_bytes(Path(saved).read_bytes()[:size])
    assert broken(path).startswith("cannot be read (")


def test_a_flipped_bit_at_any_position_is_a_broken_artifact(saved):
    content = Path(saved).read_bytes()
    header = int.from_bytes(content[:8], "little")
    mark = content.index(b"clipes-sha256:")
    for position in {*range(0, header, 41), *range(header, len(content), len(content) // 50), len(content) - 1}:
        flip(Path(saved), position, bit=position % 8)
        if not mark <= position < mark + 14:  # without its seal, the file counts as a file of an earlier version
            assert broken(saved)
        Path(saved).write_bytes(content)


def test_a_file_whose_seal_is_not_recognised_is_a_broken_artifact(saved):
    content = Path(saved).read_bytes()
    Path(saved).write_bytes(content.replace(b"clipes-sha256:", b"clipes-sha255:"))
    assert broken(saved) == "is not the file of a segmenter, or its metadata is damaged"


def test_a_file_of_an_earlier_version_has_a_checksum_of_its_tensors_in_place_of_a_seal(tmp_path, saved, model):
    with safe_open(saved, "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del metadata["seal"]
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name].numpy().tobytes(), crc)
    path = tmp_path / "earlier.safetensors"
    safetensors.torch.save_file(tensors, path, {**metadata, "checksum": str(crc)})
    assert load_segmenter(str(path), "cpu").classes == CLASSES

    flip(path, -1000)
    assert broken(path) == "cannot be read (it fails its checksum)"


@pytest.mark.parametrize(
    "change",
    [
        {"classes": "5"},
        {"classes": '{"a": 1}'},
        {"classes": "[1, 2]"},
        {"palette": "[[1, 2]]"},
        {"palette": "null"},
        {"model": "[" * 9999},
        {"checksum": ""},
    ],
)
def test_metadata_of_other_types_is_a_broken_artifact(tmp_path, saved, change):
    with safe_open(saved, "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del metadata["seal"]
    path = tmp_path / "forged.safetensors"
    safetensors.torch.save_file(tensors, path, {**metadata, "checksum": "0", **change})
    assert broken(path) in ("is not the file of a segmenter, or its metadata is damaged", FAILS)


def test_tensors_of_another_program_are_a_broken_artifact(tmp_path, model):
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path)
    assert broken(path) == "is not the file of a segmenter, or its metadata is damaged"
