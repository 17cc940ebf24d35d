"""Build a frozen OpenCLIP model with the weights that `clip.pretrained` names.

Importing torch and OpenCLIP takes seconds. The digest of weights that are not those of an OpenCLIP tag is computed
without them.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from clipes.tasks.machine.shipped_files import CLIP_MODELS
from clipes.tasks.models.clip_architecture import fitting_architecture, named_architecture
from clipes.tasks.models.clip_models.building import build_clip, build_without_memory
from clipes.tasks.models.clip_models.normalisation import Normalisation, tag_normalisation, usual_normalisation
from clipes.tasks.models.clip_models.tokenizers import open_tokenizer, tokenizer_digest
from clipes.tasks.models.package_files import package_version
from clipes.tasks.models.weight_files import (
    HubError,
    WeightsPlace,
    cached_hub_file,
    copy_place,
    file_digest,
    hub_file,
    hub_place,
    local_copy,
    local_place,
)
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.config.uri import is_uri
from clipes_core.errors import WeightsError

if TYPE_CHECKING:
    from open_clip.model import CLIP, CustomTextCLIP

    from clipes_core.prompts import Tokenizer


PRETRAINED = "clip.pretrained"
Found = TypeVar("Found")


@dataclass(frozen=True)
class Clip:
    """A frozen CLIP model with its tokenizer.

    Attributes:
        model: OpenCLIP's model; float32, on the CPU, in eval mode, without gradients. Its image network has the
            attributes `image_mean` and `image_std` if it does not normalise photos as OpenAI's CLIP does.
        tokenizer: turns N texts into (N, context_length) int64 tokens.
        digest: digest of the weights, 16 hex characters; see `weights_digest`.
    """

    model: "CLIP | CustomTextCLIP"
    tokenizer: "Tokenizer"
    digest: str


def load_clip(config: ClipConfig) -> Clip:
    """Build the CLIP that a config names, and load its weights.

    `clip.model` decides which network is built, except for some weights files that decide it themselves; see
    `fitting_architecture`.

    Args:
        config: settings of CLIP. `pretrained` is an OpenCLIP tag, the name of a weights file in configs/models, a path,
            an fsspec URI, or `random:SEED`.

    Returns:
        The model with its tokenizer.

    Raises:
        WeightsError: `named_architecture` does not accept `clip.model`; or the weights or the tokenizer are missing or
            damaged, or the weights contain NaN or infinity; or `fitting_architecture` refuses the weights.
        TransientError: the server from which the weights are downloaded does not answer.
    """
    architecture = named_architecture(config.model)
    seed = _seed(config)
    if seed is not None:
        model, own_digest = _random_model(architecture, seed), _random_digest(config.model, seed)
    else:
        path = _weights_file(config)
        model, own_digest = _load_model(config.model, path), file_digest(path)
    tokenizer = open_tokenizer(config, architecture["text_cfg"] | {"context_length": model.context_length})
    normalisation = _normalisation(config, architecture)
    if normalisation:
        model.visual.image_mean, model.visual.image_std = normalisation
    return Clip(model.eval().requires_grad_(False), tokenizer, _digest(config, architecture, own_digest))


def weights_digest(config: ClipConfig) -> str:
    """Compute the digest of the weights that `load_clip` would load, without building the model.

    Args:
        config: as for `load_clip`. If `pretrained` is a tag or a URI, and this host does not have the weights yet,
            the weights are downloaded.

    Returns:
        16 hex characters of a SHA-256. For a file, the digest covers only the file's bytes, not `clip.model`. For
        `random:SEED`, the digest covers the model's name, the seed, and the versions of torch, OpenCLIP and timm. A
        tokenizer other than that of OpenAI's CLIP, and another normalisation of photos, count too.

    Raises:
        WeightsError: `named_architecture` does not accept `clip.model`, or the file, the tag or the tokenizer does not
            exist.
        TransientError: the server from which the weights are downloaded does not answer.
    """
    architecture = named_architecture(config.model)
    seed = _seed(config)
    own_digest = file_digest(_weights_file(config)) if seed is None else _random_digest(config.model, seed)
    return _digest(config, architecture, own_digest)


def find_weights(config: ClipConfig) -> WeightsPlace | None:
    """Return where the weights of a config are, or from where they would be downloaded. Download nothing.

    Args:
        config: as for `load_clip`.

    Returns:
        The place of the weights; None for random weights.

    Raises:
        WeightsError: `named_architecture` does not accept `clip.model`; the file or tag does not exist; or the weights
            are not on this machine, and the server from which they are downloaded does not answer.
        TransientError: the server of a URI does not answer.
    """
    named_architecture(config.model)
    if _seed(config) is not None:
        return None
    if not _tag_entry(config.model, config.pretrained):
        is_remote = is_uri(config.pretrained)
        return copy_place(config.pretrained, PRETRAINED) if is_remote else local_place(_weights_file(config))
    return _at_hub(config, hub_place)


def has_weights(config: ClipConfig) -> bool:
    """Return whether the weights of a config are on this host, so that a run does not have to download them.

    Download nothing. The Hugging Face hub is not asked; the server of a URI is asked only whether its file has changed.

    Args:
        config: as for `load_clip`.

    Raises:
        WeightsError: for the same reasons as `find_weights`, apart from a hub that does not answer.
        TransientError: the server of a URI does not answer.
    """
    named_architecture(config.model)
    if _tag_entry(config.model, config.pretrained):
        return cached_hub_file(_hub_entry(config.model, config.pretrained)) is not None
    place = find_weights(config)
    return place is None or place.path is not None


def context_length(model_name: str) -> int:
    """Return the number of tokens that the text network of a model reads.

    Raises:
        WeightsError: `named_architecture` does not accept the name.
    """
    return int(named_architecture(model_name)["text_cfg"].get("context_length", 77))


def _normalisation(config: ClipConfig, architecture: dict[str, Any]) -> Normalisation | None:
    """Return how photos are normalised for the weights of a config; None if it is as for OpenAI's CLIP."""
    entry = _tag_entry(config.model, config.pretrained)
    return tag_normalisation(entry) if entry else usual_normalisation(config.model, architecture)


def _digest(config: ClipConfig, architecture: dict[str, Any], own_digest: str) -> str:
    """Add to the digest of weights what else decides the output of the model, if it is not that of OpenAI's CLIP."""
    others = (tokenizer_digest(config, architecture["text_cfg"]), _normalisation(config, architecture))
    if others == (None, None):
        return own_digest
    return hashlib.sha256(repr((own_digest, *others)).encode()).hexdigest()[:16]


def _random_digest(model_name: str, seed: int) -> str:
    uses_timm = "timm_model_name" in named_architecture(model_name)["vision_cfg"]
    packages = ("torch", "open_clip", "timm") if uses_timm else ("torch", "open_clip")
    parts = (model_name, seed, *(package_version(package) for package in packages))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _seed(config: ClipConfig) -> int | None:
    """Return the seed if `clip.pretrained` is `random:SEED`, or None if the weights come from a file."""
    if not config.pretrained.startswith("random:"):
        return None
    if match := re.fullmatch(r"random:(\d{1,18})", config.pretrained):
        return int(match[1])
    raise WeightsError(
        f"clip.pretrained {config.pretrained}: expected random:SEED with an integer seed, for example random:0"
    )


def _random_model(architecture: dict[str, Any], seed: int) -> "CLIP | CustomTextCLIP":
    """Build a network whose random weights depend only on the architecture and a seed.

    The state of torch's random generator does not change.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build_clip(architecture)


def _load_model(model_name: str, path: Path) -> "CLIP | CustomTextCLIP":
    """Build the network that fits the tensors in a file, and load the tensors into it as float32."""
    from clipes.tasks.models.state_dicts import check_weights, read_state_dict

    state = read_state_dict(path)
    model = _random_model(fitting_architecture(state, model_name, path), seed=0)
    try:
        model.load_state_dict(state.tensors)
    except RuntimeError as exc:
        raise WeightsError(
            f"{path}: expected dense tensors, found another kind; save dense tensors in a safetensors file"
        ) from exc
    statistics = dict(model.visual.named_buffers(prefix="visual"))  # of batch normalisation
    check_weights(path, {**dict(model.named_parameters()), **statistics, "exp(logit_scale)": model.logit_scale.exp()})
    return model


def _weights_file(config: ClipConfig) -> Path:
    """Return the path of the local file with the weights that `clip.pretrained` names; download it if necessary.

    As in OpenCLIP, a tag takes precedence over a file of the same name.
    """
    if _tag_entry(config.model, config.pretrained):
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


def _tag_entry(model_name: str, tag: str) -> Mapping[str, Any]:
    """Return OpenCLIP's entry for a tag of a model; empty if the model has no such tag."""
    shipped = (CLIP_MODELS / f"{model_name}.json").is_file()
    if shipped or not tag.replace("-", "_").isidentifier():  # OpenCLIP knows no such model, or no such tag
        return {}
    from open_clip.pretrained import get_pretrained_cfg

    return cast(Mapping[str, Any], get_pretrained_cfg(model_name, tag))


def _tag_hint(model_name: str, tag: str) -> str:
    import open_clip

    plain = model_name.removesuffix("-quickgelu")
    if _tag_entry(plain, tag):
        return f"these weights belong to {plain}, which has GELU instead of QuickGELU; set clip.model to {plain}"
    tags = open_clip.list_pretrained_tags_by_model(model_name)
    return f"the tags of this model: {', '.join(tags) or 'none'}"


def _hub_entry(model_name: str, tag: str) -> str:
    """Return the place on the Hugging Face hub, as `hub_file` accepts it, of the weights of an OpenCLIP tag.

    Raises:
        WeightsError: these weights belong to another network, or are not on the hub.
    """
    trained = _tag_entry(model_name, tag)
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
