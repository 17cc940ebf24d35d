import torch

from clipes_core.segmentation import CaffeResNet, DeepLabV2Head
from clipes_core.segmentation.deeplab_weights import to_mmsegmentation_names

DEPTHS = {2: 3, 3: 4, 4: 23, 5: 3}  # number of blocks in each layer of ResNet-101
NORM = ("weight", "bias", "running_mean", "running_var")


def unit(prefix: str) -> list[str]:
    return [f"{prefix}.conv.weight", *(f"{prefix}.bn.{tensor}" for tensor in NORM)]


def published_names() -> list[str]:
    """Return the names of all tensors of the DeepLabV2 in deeplab-pytorch."""
    names = unit("layer1.conv1")
    for layer, depth in DEPTHS.items():
        for block in range(1, depth + 1):
            parts = ("reduce", "conv3x3", "increase", "shortcut")[: 4 if block == 1 else 3]
            names += [name for part in parts for name in unit(f"layer{layer}.block{block}.{part}")]
    return names + [f"aspp.c{branch}.{tensor}" for branch in range(4) for tensor in ("weight", "bias")]


def test_every_tensor_of_the_network_gets_a_name():
    with torch.device("meta"):
        head = DeepLabV2Head(2048, 21, loss_decode={"type": "ConfidenceGuidedLoss"})
        network = torch.nn.ModuleDict({"backbone": CaffeResNet(101), "decode_head": head})
    expected = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}

    for prefix in ("", "base."):
        given = {f"{prefix}{name}": torch.empty(0) for name in published_names()}
        assert to_mmsegmentation_names(given).keys() == expected


def test_names_equal_those_worked_out_by_hand():
    tensor = torch.ones(1)
    given = {"base.layer4.block23.conv3x3.bn.running_var": tensor, "layer5.block1.shortcut.conv.weight": tensor}
    assert list(to_mmsegmentation_names(given)) == [
        "backbone.layer3.22.bn2.running_var",
        "backbone.layer4.0.downsample.0.weight",
    ]


def test_unknown_names_are_kept():
    given = {"layer1.0.conv1.weight": torch.ones(1), "backbone.conv1.weight": torch.ones(1), "fc.bias": torch.ones(1)}
    assert to_mmsegmentation_names(given) == given
