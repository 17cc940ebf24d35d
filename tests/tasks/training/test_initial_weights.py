import pytest
import torch
from torch import nn

from clipes.tasks.training.initial_weights import initial_digest, load_initial_weights
from clipes_core.errors import ConfigError, WeightsError

RESNET18 = "resnet18-f37072fd.pth"  # the file name in torchvision


class Segmentor(nn.Module):
    """A network with the module names of MMSegmentation: a backbone with batch norm, and a head."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.backbone = nn.Sequential()
        self.backbone.add_module("conv1", nn.Conv2d(3, 4, 1, bias=False))
        self.backbone.add_module("bn1", nn.BatchNorm2d(4))
        self.decode_head = nn.ModuleDict({"conv_seg": nn.Conv2d(4, classes, 1)})


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return the path of an empty torch cache for this test."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def state(module, value):
    """Return a state dict in which all tensors are filled with a value."""
    return {
        name: torch.full_like(tensor, value)
        for name, tensor in module.state_dict().items()
        if tensor.is_floating_point()
    }


def values(module):
    """Return the value of each tensor that has only one value, or None, by tensor name."""
    tensors = ((name, tensor) for name, tensor in module.state_dict().items() if tensor.is_floating_point())
    return {name: tensor.flatten()[0].item() if tensor.unique().numel() == 1 else None for name, tensor in tensors}


def saved(path, content):
    torch.save(content, path)
    return str(path)


def test_init_none_leaves_the_network_unchanged():
    model = Segmentor()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    load_initial_weights(model, "none")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert initial_digest("none") == "none"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    path = saved(tmp_path / "w.pt", state(Segmentor().backbone, value))
    with pytest.raises(WeightsError, match=r"^train\.init .*w\.pt: expected finite weights, found NaN or infinity in"):
        load_initial_weights(Segmentor(), path)


def test_weights_of_a_backbone_leave_the_head_unchanged(tmp_path):
    model = Segmentor()
    head = model.decode_head.conv_seg.weight.clone()
    given = state(model.backbone, 0.5) | {"fc.weight": torch.ones(1000, 4)}

    load_initial_weights(model, saved(tmp_path / "backbone.pth", given))

    assert set(values(model.backbone).values()) == {0.5}
    assert torch.equal(model.decode_head.conv_seg.weight, head)


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_of_a_whole_segmentor_are_loaded_into_backbone_and_head(tmp_path, wrapped):
    model, given = Segmentor(), state(Segmentor(), 0.25)
    load_initial_weights(model, saved(tmp_path / "whole.pth", {"state_dict": given} if wrapped else given))
    assert set(values(model).values()) == {0.25}


def test_a_head_for_other_classes_is_not_loaded(tmp_path):
    model = Segmentor(3)
    head = model.decode_head.conv_seg.weight.clone()
    load_initial_weights(model, saved(tmp_path / "whole.pth", state(Segmentor(21), 0.25)))
    assert set(values(model.backbone).values()) == {0.25}
    assert torch.equal(model.decode_head.conv_seg.weight, head)


class CaffeNamed(nn.Module):
    """A network whose tensors have other names in deeplab-pytorch."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict({"conv1": nn.Conv2d(3, 4, 1, bias=False), "bn1": nn.BatchNorm2d(4)})
        self.decode_head = nn.ModuleDict({"branches": nn.ModuleList([nn.Conv2d(4, 3, 1)])})


def test_tensor_names_of_deeplab_pytorch_are_translated(tmp_path):
    of_norm = {f"base.layer1.conv1.bn.{name}": torch.full((4,), 2.0) for name in ("weight", "bias")}
    of_norm |= {f"base.layer1.conv1.bn.running_{name}": torch.full((4,), 2.0) for name in ("mean", "var")}
    given = {"base.layer1.conv1.conv.weight": torch.full((4, 3, 1, 1), 2.0), **of_norm}
    given |= {"base.aspp.c0.weight": torch.full((3, 4, 1, 1), 2.0), "base.aspp.c0.bias": torch.full((3,), 2.0)}
    model = CaffeNamed()
    load_initial_weights(model, saved(tmp_path / "caffe.pth", given))
    assert set(values(model).values()) == {2.0}


def test_weights_of_torchvision_are_read_from_the_cache_of_torch(hub):
    model = Segmentor()
    saved(hub / RESNET18, state(model.backbone, 0.125))
    load_initial_weights(model, "torchvision://resnet18")
    assert set(values(model.backbone).values()) == {0.125}
    assert initial_digest("torchvision://resnet18") == RESNET18


@pytest.mark.parametrize("name", ["resnet1", "fcn_resnet50"])
def test_weights_that_torchvision_lacks_are_reported(hub, name):
    with pytest.raises(ConfigError, match=rf"^train\.init: torchvision has no ImageNet weights of {name}: "):
        initial_digest(f"torchvision://{name}")


def test_a_missing_file_is_reported(tmp_path):
    for call in (initial_digest, lambda init: load_initial_weights(Segmentor(), init)):
        with pytest.raises(WeightsError, match=rf"^train\.init {tmp_path}/gone\.pth: expected a readable file"):
            call(f"{tmp_path}/gone.pth")


def test_weights_of_another_network_are_refused(tmp_path):
    init = saved(tmp_path / "other.pth", {"conv1.weight": torch.ones(8, 3, 1, 1), "bn1.weight": torch.ones(4)})
    with pytest.raises(WeightsError, match=r"4 of the backbone's tensors \(such as bn1\.bias\) are missing or"):
        load_initial_weights(Segmentor(), init)


def test_a_damaged_file_is_reported(tmp_path):
    path = tmp_path / "damaged.pth"
    saved(path, state(Segmentor(), 1.0))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(WeightsError, match=r"damaged\.pth: "):
        load_initial_weights(Segmentor(), str(path))


def test_the_digest_is_that_of_the_file(tmp_path):
    for name, content in (("a.pth", b"one"), ("b.pth", b"one"), ("c.pth", b"two")):
        (tmp_path / name).write_bytes(content)
    first, same, other = (initial_digest(str(tmp_path / name)) for name in ("a.pth", "b.pth", "c.pth"))
    assert first == same != other
    assert len(first) == 16
