"""Find the file with the weights that `clip.pretrained` names: in configs/models, at a path or URI, or on the hub."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from clipes.tasks.machine.shipped_files import CLIP_MODELS
from clipes.tasks.models.clip_architecture import named_architecture
from clipes.tasks.models.clip_models.building import build_without_memory
from clipes.tasks.models.weight_files import (
    HubError,
    WeightsPlace,
    cached_hub_file,
    copy_place,
    hub_file,
    hub_place,
    local_copy,
    local_place,
)
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.config.uri import is_uri
from clipes_core.errors import WeightsError

PRETRAINED = "clip.pretrained"
Found = TypeVar("Found")


def find_weights(config: ClipConfig) -> WeightsPlace | None:
    """Return where the weights of a config are, or from where they would be downloaded. Download nothing.

    Args:
        config: settings of CLIP; see `load_clip`.

    Returns:
        The place of the weights; None for random weights.

    Raises:
        WeightsError: `named_architecture` does not accept `clip.model`; the file or tag does not exist; or the weights
            are not on this machine, and the server from which they are downloaded does not answer.
        TransientError: the server of a URI does not answer.
    """
    named_architecture(config.model)
    if random_seed(config) is not None:
        return None
    if not tag_entry(config.model, config.pretrained):
        is_remote = is_uri(config.pretrained)
        return copy_place(config.pretrained, PRETRAINED) if is_remote else local_place(weights_file(config))
    return _at_hub(config, hub_place)


def has_weights(config: ClipConfig) -> bool:
    """Return whether the weights of a config are on this host, so that a run does not have to download them.

    Download nothing. The Hugging Face hub is not asked; the server of a URI is asked only whether its file has changed.

    Args:
        config: settings of CLIP; see `load_clip`.

    Raises:
        WeightsError: for the same reasons as `find_weights`, apart from a hub that does not answer.
        TransientError: the server of a URI does not answer.
    """
    named_architecture(config.model)
    if tag_entry(config.model, config.pretrained):
        return cached_hub_file(_hub_entry(config.model, config.pretrained)) is not None
    place = find_weights(config)
    return place is None or place.path is not None


def random_seed(config: ClipConfig) -> int | None:
    """Return the seed if `clip.pretrained` is `random:SEED`, or None if the weights come from a file.

    Raises:
        WeightsError: the seed is not an integer of at most 18 digits.
    """
    if not config.pretrained.startswith("random:"):
        return None
    if match := re.fullmatch(r"random:(\d{1,18})", config.pretrained):
        return int(match[1])
    raise WeightsError(
        f"clip.pretrained {config.pretrained}: expected random:SEED with an integer seed, for example random:0"
    )


def weights_file(config: ClipConfig) -> Path:
    """Return the path of the local file with the weights that `clip.pretrained` names; download it if necessary.

    As in OpenCLIP, a tag takes precedence over a file of the same name.

    Raises:
        WeightsError: there is no such file or tag; the tag belongs to another network; or the weights cannot be
            downloaded.
        TransientError: the server of a URI does not answer.
    """
    if tag_entry(config.model, config.pretrained):
        return _at_hub(config, lambda place: hub_file(place, f"{PRETRAINED} {config.pretrained}"))
    shipped = CLIP_MODELS / f"{config.pretrained}.safetensors"
    if shipped.parent == CLIP_MODELS and shipped.is_file():
        return shipped
    if is_uri(config.pretrained):
        return local_copy(config.pretrained, "clip.pretrained")
    path = Path(config.pretrained).expanduser()
    if path.is_file():
        return path
    place = f"the file {path.absolute()}" if path.suffix and not path.is_absolute() else "a file"
    raise WeightsError(
        f"clip.pretrained {config.pretrained}: expected {place} or a tag of {config.model}, found neither; "
        + _tag_hint(config.model, config.pretrained)
    )


def tag_entry(model_name: str, tag: str) -> Mapping[str, Any]:
    """Return OpenCLIP's entry for a tag of a model; empty if the model has no such tag."""
    shipped = (CLIP_MODELS / f"{model_name}.json").is_file()
    if shipped or not tag.replace("-", "_").isidentifier():  # OpenCLIP knows no such model, or no such tag
        return {}
    from open_clip.pretrained import get_pretrained_cfg

    return cast(Mapping[str, Any], get_pretrained_cfg(model_name, tag))


def _tag_hint(model_name: str, tag: str) -> str:
    import open_clip

    plain = model_name.removesuffix("-quickgelu")
    if tag_entry(plain, tag):
        return f"these weights belong to {plain}, which has GELU instead of QuickGELU; set clip.model to {plain}"
    tags = open_clip.list_pretrained_tags_by_model(model_name)
    return f"the tags of this model: {', '.join(tags) or 'none'}"


def _hub_entry(model_name: str, tag: str) -> str:
    """Return the place on the Hugging Face hub, as `hub_file` accepts it, of the weights of an OpenCLIP tag.

    Raises:
        WeightsError: these weights belong to another network, or are not on the hub.
    """
    trained = tag_entry(model_name, tag)
    if trained.get("quick_gelu", False) != named_architecture(model_name).get("quick_gelu", False):
        raise WeightsError(
            f"clip.pretrained {tag}: these weights were trained with QuickGELU, but {model_name} has GELU; "
            f"set clip.model to {model_name}-quickgelu"
        )
    if not trained.get("hf_hub"):  # OpenCLIP has all weights of the models that clipes can build on the hub
        raise WeightsError(
            f"clip.pretrained {tag}: these weights of {model_name} are not on the Hugging Face hub; download "
            f"{trained['url']}, and add --set clip.pretrained=FILE with the path of the file"
        )
    return cast(str, trained["hf_hub"])


def _at_hub(config: ClipConfig, find: Callable[[str], Found]) -> Found:
    """Return what a function finds out about the file of a tag on the Hugging Face hub; explain it if this fails."""
    place, tag = _hub_entry(config.model, config.pretrained), config.pretrained
    try:
        return find(place)
    except HubError as exc:
        size = f"{_about_gigabytes(config.model):.1f} GB"
        raise WeightsError(
            f"clip.pretrained {tag}: the weights of {config.model} with OpenCLIP's tag {tag} are missing: the file "
            f"{exc.name} ({size}) {exc}: connect to the internet; or download {exc.url} on another machine, and add "
            "--set clip.pretrained=FILE with the path of the file"
        ) from exc


def _about_gigabytes(model_name: str) -> float:
    """Return the size [GB] of a file with the weights of a model as float32."""
    model = build_without_memory(named_architecture(model_name))
    return sum(parameter.nbytes for parameter in model.parameters()) / 1e9
