"""Build the network of an architecture with the class of OpenCLIP that fits it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from open_clip.model import CLIP, CustomTextCLIP


def build_clip(architecture: dict[str, Any]) -> "CLIP | CustomTextCLIP":
    """Build a network with initial weights.

    Args:
        architecture: content of an OpenCLIP file of a model. `custom_text` decides whether the text network is a
            separate module, so that the names of its tensors start with `text.`.
    """
    from open_clip.model import CLIP, CustomTextCLIP

    arguments = {name: value for name, value in architecture.items() if name != "custom_text"}
    return CustomTextCLIP(**arguments) if architecture.get("custom_text") else CLIP(**arguments)


def build_without_memory(architecture: dict[str, Any]) -> "CLIP | CustomTextCLIP":
    """Build a network on the meta device: its tensors have names, shapes and dtypes, but no memory."""
    import torch

    with torch.device("meta"):
        return build_clip(architecture)
