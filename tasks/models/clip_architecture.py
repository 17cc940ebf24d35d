"""Find the architecture of the CLIP model to which the tensors in a state dict belong."""

import logging
import math
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipes.tasks.inputs.config_text.architectures import architectures
from clipes.tasks.models.clip_models.building import build_without_memory
from clipes.tasks.models.clip_models.support import unsupported
from clipes_core.config.image_networks import RESNET, VIT, image_network
from clipes_core.errors import WeightsError

if TYPE_CHECKING:
    from clipes.tasks.models.state_dicts import StateDict

logger = logging.getLogger(__name__)

HEAD_WIDTH = 64  # number of channels of an attention head in all of OpenAI's CLIP models
VOCAB_SIZE = 49408  # number of tokens that CLIP's tokenizer knows
# tensor whose shape shows sizes of the network -> number of axes of the tensor
TEXT_TENSORS = {"positional_embedding": 2, "text_projection": 2, "token_embedding.weight": 2}
VIT_TENSORS = {"visual.conv1.weight": 4, "visual.positional_embedding": 2, "visual.proj": 2}
RESNET_TENSORS = {"visual.conv1.weight": 4, "visual.attnpool.positional_embedding": 2}
RESNET_STAGES = ("layer1", "layer2", "layer3", "layer4")
USUAL_MODELS = {VIT: "ViT-B-16-quickgelu", RESNET: "RN50-quickgelu"}
SHOWN_NAMES = 3  # similar names in the message about an unknown one
RESNET_STRIDE = 32  # pixels of a photo per position of the last stage


def named_architecture(model_name: str) -> dict[str, Any]:
    """Return the architecture of the model of this name, with which `build_clip` builds it.

    Args:
        model_name: name of a model of OpenCLIP, or of a model that clipes ships.

    Raises:
        WeightsError: there is no model of this name, or `unsupported` says why clipes does not support it.
    """
    known = architectures()
    if model_name not in known:
        similar = get_close_matches(model_name, known, n=SHOWN_NAMES, cutoff=0)
        raise WeightsError(
            f"clip.model {model_name}: expected the name of a model of OpenCLIP, found no model of this name; set "
            f"clip.model to another name, such as {', '.join(similar)}"
        )
    if reason := unsupported(known[model_name]):
        raise WeightsError(
            f"clip.model {model_name}: clipes does not support this model, because {reason}; set clip.model to a plain "
            f"ViT or a ResNet, such as {USUAL_MODELS[VIT]} or {USUAL_MODELS[RESNET]}"
        )
    return known[model_name]


def fitting_architecture(state: "StateDict", model_name: str, path: Path) -> dict[str, Any]:
    """Return the architecture of the network to which a file's tensors belong.

    The first of these rules that applies decides:

    1. If the file is a TorchScript archive, or a state dict with the tensor `input_resolution`, it comes from OpenAI.
       The shapes of the tensors determine the sizes of the network. The activation is QuickGELU, and the attention
       heads have 64 channels. `model_name` is ignored.
    2. If the tensors have exactly the names and shapes of the model `model_name`, the architecture is that of this
       model.
    3. If the tensors have exactly the names and shapes of another OpenCLIP model, the file is refused. The user must
       set `clip.model` to that model. clipes cannot choose the model, because several models that differ only in the
       activation or the number of heads may have these tensors.
    4. If the file has OpenAI's tensor names, the architecture is determined as in rule 1.

    If the model `model_name` has an image network of timm, or another text network or tokenizer than OpenAI's models,
    only rule 2 applies.

    Rules 1 and 4 refuse a file with another kind of image network than that of `model_name`, because the kind decides
    the defaults of settings.

    Args:
        state: weights in the file.
        model_name: value of `clip.model`.
        path: path of the file, for messages.

    Returns:
        The architecture. The network that `build_clip` builds with it has the tensor names and shapes of `state`.

    Raises:
        WeightsError: `named_architecture` does not accept `model_name`; or a rule refuses the file; or the tensors
            are incomplete or form neither a ViT nor a ResNet.
    """
    named = named_architecture(model_name)
    differences = "" if state.openai else _describe_differences(named, state)
    if not state.openai and not differences:
        return named
    if not _has_layout_of_openai(named):
        found = differences or "those of a network of OpenAI"
        raise WeightsError(
            f"{path}: expected the tensors of clip.model {model_name}, found others: {found}; set clip.model to the "
            "name of the network that was trained"
        )
    sizes = _openai_architecture(state, path)
    names = [] if state.openai else _find_names(sizes, state)
    if names:
        raise WeightsError(
            f"{path}: expected the tensors of clip.model {model_name}, found those of {' or '.join(names)}; "
            "set clip.model to the name of the network that was trained"
        )
    if differences := _describe_differences(sizes, state):
        raise WeightsError(
            f"{path}: the tensors fit neither {model_name} nor OpenAI's layout: {differences}; "
            "use a complete CLIP state dict"
        )
    kind = image_network(sizes)
    if kind != image_network(named):
        raise WeightsError(
            f"{path}: expected the weights of a {image_network(named).name} for clip.model {model_name}, found those "
            f"of a {kind.name}; set clip.model to {USUAL_MODELS[kind]}"
        )
    if sizes != named:
        level = logging.INFO if named.get("quick_gelu") else logging.WARNING
        logger.log(
            level,
            "%s: clip.model %s is ignored: the network gets its sizes from the file's tensors, and has QuickGELU",
            path,
            model_name,
        )
    return sizes


def _has_layout_of_openai(architecture: dict[str, Any]) -> bool:
    vision, text = architecture["vision_cfg"], architecture["text_cfg"]
    return not (architecture.get("custom_text") or "timm_model_name" in vision or {"hf_tokenizer_name"} & text.keys())


def _openai_architecture(state: "StateDict", path: Path) -> dict[str, Any]:
    """Return the architecture of a network in OpenAI's layout, from the shapes of its tensors."""
    shapes = state.shapes
    is_resnet = "visual.layer1.0.conv1.weight" in shapes
    _check_layout(shapes, RESNET_TENSORS if is_resnet else VIT_TENSORS, path)
    text_width, embed_dim = shapes["text_projection"]
    return {
        "embed_dim": embed_dim,
        "quick_gelu": True,
        "vision_cfg": _resnet_sizes(shapes) if is_resnet else _vit_sizes(shapes),
        "text_cfg": {
            "context_length": shapes["positional_embedding"][0],
            "vocab_size": VOCAB_SIZE,
            "width": text_width,
            "heads": text_width // HEAD_WIDTH,
            "layers": _blocks(shapes, "transformer.resblocks."),
        },
    }


def _vit_sizes(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    width, _, _, patch_size = shapes["visual.conv1.weight"]
    grid = math.isqrt(shapes["visual.positional_embedding"][0] - 1)
    return {
        "image_size": patch_size * max(grid, 1),
        "layers": _blocks(shapes, "visual.transformer.resblocks."),
        "width": width,
        "patch_size": patch_size,
    }


def _resnet_sizes(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    grid = math.isqrt(shapes["visual.attnpool.positional_embedding"][0] - 1)
    return {
        "image_size": RESNET_STRIDE * max(grid, 1),
        "layers": [_blocks(shapes, f"visual.{stage}.") for stage in RESNET_STAGES],
        "width": 2 * shapes["visual.conv1.weight"][0],
        "patch_size": None,
    }


def _check_layout(shapes: dict[str, tuple[int, ...]], visual: dict[str, int], path: Path) -> None:
    expected = {**visual, **TEXT_TENSORS}
    missing = [name for name, axes in expected.items() if len(shapes.get(name, ())) != axes or 0 in shapes[name]]
    if missing:
        raise WeightsError(
            f"{path}: expected a CLIP with a ViT or a ResNet, but it has no {', '.join(missing)}; found {len(shapes)} "
            f"tensors such as {', '.join(list(shapes)[:3])}; use weights in OpenAI's or OpenCLIP's layout, and set "
            "clip.model to the name of the network that was trained"
        )
    channels = shapes["visual.conv1.weight"][0]  # a ResNet has attention only in its pooling, of 64 times as many
    widths = channels if visual is VIT_TENSORS else 64 * channels, shapes["text_projection"][0]
    if any(width % HEAD_WIDTH for width in widths):
        raise WeightsError(
            f"{path}: expected widths that are multiples of {HEAD_WIDTH}, the width of an attention head, found "
            f"{widths[0]} in the image network and {widths[1]} in the text network; use weights in OpenAI's layout"
        )


def _blocks(shapes: dict[str, tuple[int, ...]], prefix: str) -> int:
    """Count the residual blocks whose tensor names start with a prefix; return 1 if there are none."""
    blocks = {name.removeprefix(prefix).split(".")[0] for name in shapes if name.startswith(prefix)}
    return max(len(blocks), 1)


def _find_names(sizes: dict[str, Any], state: "StateDict") -> list[str]:
    """Return the names of the OpenCLIP models whose tensors have the same names and shapes as a state dict."""
    width = sizes["vision_cfg"]["width"]
    same_width = {
        name: values
        for name, values in architectures().items()
        if _has_layout_of_openai(values) and values["vision_cfg"].get("width") == width and not unsupported(values)
    }
    return [name for name, values in same_width.items() if not _describe_differences(values, state)]


def _describe_differences(architecture: dict[str, Any], state: "StateDict") -> str:
    """Compare a file's tensors with a network's tensors by name and shape. Describe the differences; "" means none."""
    expected = {
        name: tuple(tensor.shape)
        for name, tensor in build_without_memory(architecture).state_dict().items()
        if tensor.is_floating_point()  # a state dict without the counters of batch normalisation is complete
    }
    found = state.shapes
    differences = {
        "missing": [name for name in expected if name not in found],
        "unknown": [name for name in found if name not in expected],
        "of another shape": [
            f"{name}: {found[name]} instead of {expected[name]}"
            for name in expected
            if name in found and found[name] != expected[name]
        ],
    }
    return ", ".join(f"{len(names)} {kind} (such as {names[0]})" for kind, names in differences.items() if names)
