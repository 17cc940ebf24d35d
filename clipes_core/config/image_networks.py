"""The kinds of image networks of CLIP, and the settings that suit each kind."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clipes_core.config.run import RunConfig
from clipes_core.errors import ConfigError
from clipes_core.refinements import REFINEMENTS


@dataclass(frozen=True)
class ImageNetwork:
    """A kind of image network.

    Attributes:
        name: name of the kind, for messages.
        poolings: permitted values of `clip.pooling`; the first one is the default.
        precisions: permitted values of `clip.precision`.
        has_attention: whether the network has attention between patches, which refinements of CAMs may need.
    """

    name: str
    poolings: tuple[str, ...]
    precisions: tuple[str, ...] = ("auto", "fp32", "bf16", "fp16", "fast")
    has_attention: bool = True


VIT = ImageNetwork("ViT", poolings=("patch_mean", "cls"))
POOLED_VIT = ImageNetwork("ViT with attention pooling", poolings=("attention",))
RESNET = ImageNetwork(
    "ResNet", poolings=("attention",), precisions=("auto", "fp32", "fp16", "fast"), has_attention=False
)


def image_network(architecture: Mapping[str, Any]) -> ImageNetwork:
    """Return the kind of the image network of an architecture, which is the content of an OpenCLIP file of a model."""
    vision = architecture["vision_cfg"]
    if vision.get("timm_pool") == "map":
        return POOLED_VIT
    return RESNET if isinstance(vision.get("layers"), list) else VIT


def suited_config(config: RunConfig, network: ImageNetwork) -> RunConfig:
    """Return a config in which the defaults of settings that the config does not state are those of an image network.

    Args:
        config: configuration of a run; left unchanged.
        network: kind of the image network of `clip.model`.

    Raises:
        ConfigError: a stated setting does not suit the network. The message has one line per setting.
    """
    clip, cam = config.clip, config.cam
    if clip.pooling not in network.poolings and "pooling" not in clip.model_fields_set:
        config = config.model_copy(update={"clip": clip.model_copy(update={"pooling": network.poolings[0]})})
    if not network.has_attention and "refine" not in cam.model_fields_set:
        config = config.model_copy(update={"cam": cam.model_copy(update={"refine": "none"})})
    if faults := list(_faults(config, network)):
        raise ConfigError("\n".join(faults))
    return config


def _faults(config: RunConfig, network: ImageNetwork) -> Iterator[str]:
    clip, refine, of_kind = config.clip, config.cam.refine, f"{config.clip.model} is a {network.name}"
    if REFINEMENTS[refine].needs_attention and not network.has_attention:
        yield (
            f"cam.refine {refine}: {of_kind}, which has no attention between patches to refine CAMs with; set "
            "cam.refine to none, or clip.model to a ViT"
        )
    if clip.pooling not in network.poolings:
        yield (
            f"clip.pooling {clip.pooling}: {of_kind}, which has no such image embedding; set clip.pooling to "
            f"{' or '.join(network.poolings)}"
        )
    if clip.precision not in network.precisions:
        yield (
            f"clip.precision {clip.precision}: {of_kind}, which does not support this precision; set clip.precision to "
            f"one of {', '.join(network.precisions)}"
        )
