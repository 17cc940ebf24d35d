"""Give the weights of kazuto1011/deeplab-pytorch the tensor names of MMSegmentation."""

import re
from collections.abc import Mapping

from torch import Tensor

CONVOLUTIONS = {"reduce": "1", "conv3x3": "2", "increase": "3"}
SHORTCUT = {"conv": "0", "bn": "1"}
STEM = re.compile(r"layer1\.conv1\.(?P<kind>conv|bn)\.(?P<tensor>\w+)")
BLOCK = re.compile(r"layer(?P<stage>[2-5])\.block(?P<block>\d+)\.(?P<part>\w+)\.(?P<kind>conv|bn)\.(?P<tensor>\w+)")
HEAD = re.compile(r"aspp\.c(?P<branch>\d+)\.(?P<tensor>\w+)")


def to_mmsegmentation_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors that have deeplab-pytorch's names, and keep all other names.

    Args:
        tensors: tensors by name. The names may begin with `base.`, as in deeplab-pytorch's multi-scale DeepLabV2.

    Returns:
        The same tensors under the names that they have in a segmentor with a CaffeResNet and a DeepLabV2Head, such as
        `backbone.layer1.0.conv1.weight` and `decode_head.branches.0.weight`.

    Source: the names in kazuto1011/deeplab-pytorch. CLIP-ES starts its training from the weights of that repository.
    """
    return {_renamed(name): tensor for name, tensor in tensors.items()}


def _renamed(name: str) -> str:
    plain = name.removeprefix("base.")
    if found := STEM.fullmatch(plain):
        return f"backbone.{found['kind']}1.{found['tensor']}"
    if found := HEAD.fullmatch(plain):
        return f"decode_head.branches.{found['branch']}.{found['tensor']}"
    if found := BLOCK.fullmatch(plain):
        block = f"backbone.layer{int(found['stage']) - 1}.{int(found['block']) - 1}"
        return f"{block}.{_in_block(found['part'], found['kind'])}.{found['tensor']}"
    return name


def _in_block(part: str, kind: str) -> str:
    return f"downsample.{SHORTCUT[kind]}" if part == "shortcut" else f"{kind}{CONVOLUTIONS[part]}"
