"""CLIP weights, from wherever `clip.pretrained` points, in a frozen OpenCLIP model."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.constants import OPENAI_DATASET_MEAN
from open_clip.factory import get_model_config
from open_clip.model import CLIP
from open_clip.pretrained import download_pretrained, get_pretrained_cfg

from clipes.tasks.machine.shipped import CLIP_MODELS
from clipes.tasks.models.clip_architecture import fitting_architecture, named_architecture
from clipes.tasks.models.state_dicts import read_state_dict
from clipes.tasks.models.weight_files import file_digest, local_copy
from clipes.tasks.storage.filesystem import first_line
from clipes_core.config.run import ClipConfig
from clipes_core.errors import WeightsError


@dataclass(frozen=True)
class Clip:
    """A frozen CLIP.

    Attributes:
        model: OpenCLIP's CLIP with a VisionTransformer; float32, on the CPU, eval, without gradients.
        tokenizer: N sentences to (N, context_length) int64 tokens.
        digest: 16 hex characters that change with the weights.
    """

    model: CLIP
    tokenizer: Callable[[list[str]], torch.Tensor]
    digest: str


def load_clip(config: ClipConfig) -> Clip:
    """Build the CLIP that a configuration names and load its weights.

    For files, `fitting_architecture` says which network they go into: OpenAI's own archives, and networks of
    sizes that OpenCLIP has no name for, decide by their sizes, with QuickGELU; every other file has to fit
    `clip.model`.

    Args:
        config: `model` and `pretrained` are read: an OpenCLIP tag, the name of weights under configs/models, a path, an
            fsspec URI, or `random:SEED`.

    Returns:
        The model with its tokenizer. The global random state stays as it was.

    Raises:
        WeightsError: `clip.model` is no plain ViT, or the weights are missing, damaged or of another network.
        TransientError: the store of the weights does not answer.
    """
    architecture = named_architecture(config.model)
    seed = _seed(config)
    if seed is not None:
        return _clip(_random_model(architecture, seed), _random_digest(config.model, seed))
    path = _weights_file(config)
    return _clip(_loaded_model(config.model, path), file_digest(path))


def weights_digest(config: ClipConfig) -> str:
    """The digest that `load_clip` gives, without building the model.

    Args:
        config: as for `load_clip`; a tag or URI is fetched when it is not on this machine yet.

    Returns:
        16 hex characters: of the SHA-256 of the file's bytes; for `random:SEED` of the model's name, the seed
        and the versions of torch and OpenCLIP. The network that a file is loaded into is not part of it.

    Raises:
        WeightsError: `clip.model` is no plain ViT, or there is no such file or tag.
        TransientError: the store of the weights does not answer.
    """
    named_architecture(config.model)
    seed = _seed(config)
    return file_digest(_weights_file(config)) if seed is None else _random_digest(config.model, seed)


def _clip(model: CLIP, digest: str) -> Clip:
    tokenizer = open_clip.SimpleTokenizer(context_length=model.context_length)
    return Clip(model.eval().requires_grad_(False), tokenizer, digest)


def _random_digest(model_name: str, seed: int) -> str:
    parts = (model_name, seed, str(torch.__version__), open_clip.__version__)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _seed(config: ClipConfig) -> int | None:
    """The seed of `random:SEED`, None for weights that exist."""
    if not config.pretrained.startswith("random:"):
        return None
    if match := re.fullmatch(r"random:(\d{1,18})", config.pretrained):
        return int(match[1])
    raise WeightsError(
        f"clip.pretrained {config.pretrained}: expected random:SEED, found no whole number; write random:0"
    )


def _random_model(architecture: dict[str, Any], seed: int) -> CLIP:
    """OpenCLIP's initial weights; only the CPU's generator is seeded, and set back."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return CLIP(**architecture)


def _loaded_model(model_name: str, path: Path) -> CLIP:
    """The network that a file belongs to, with the file's tensors as float32."""
    state = read_state_dict(path)
    model = _random_model(fitting_architecture(state, model_name, path), seed=0)
    try:
        model.load_state_dict(state.tensors)
    except RuntimeError as exc:
        raise WeightsError(f"{path}: expected dense tensors, found others; save them as safetensors") from exc
    return model


def _weights_file(config: ClipConfig) -> Path:
    """The local file of a tag, shipped name, path or URI; tags go first, as in OpenCLIP."""
    if get_pretrained_cfg(config.model, config.pretrained):
        return _tag_file(config.model, config.pretrained)
    shipped = CLIP_MODELS / f"{config.pretrained}.safetensors"
    if shipped.parent == CLIP_MODELS and shipped.is_file():
        return shipped
    if "://" in config.pretrained:
        return local_copy(config.pretrained, "clip.pretrained")
    path = Path(config.pretrained).expanduser()
    if path.is_file():
        return path
    raise WeightsError(
        f"clip.pretrained {config.pretrained}: expected a file or a tag of {config.model}, found neither; "
        + _tag_hint(config.model, config.pretrained)
    )


def _tag_hint(model_name: str, tag: str) -> str:
    plain = model_name.removesuffix("-quickgelu")
    if get_pretrained_cfg(plain, tag):
        return f"{plain} has this tag, trained with GELU: set clip.model to {plain}"
    tags = open_clip.list_pretrained_tags_by_model(model_name)
    return f"its tags: {', '.join(tags) or 'none'}"


def _tag_file(model_name: str, tag: str) -> Path:
    """The file of a tag, from OpenCLIP's download or its cache."""
    trained = get_pretrained_cfg(model_name, tag)
    if trained.get("quick_gelu", False) != get_model_config(model_name).get("quick_gelu", False):
        raise WeightsError(
            f"clip.pretrained {tag}: was trained with QuickGELU, expected GELU for {model_name}; "
            f"set clip.model to {model_name}-quickgelu"
        )
    if trained["mean"] != OPENAI_DATASET_MEAN:
        raise WeightsError(
            f"clip.pretrained {tag}: expected weights for photos normalised with CLIP's mean, found mean "
            f"{trained['mean']}; choose another tag of {model_name}"
        )
    try:
        return Path(download_pretrained(trained))
    except (OSError, RuntimeError) as exc:
        raise WeightsError(
            f"clip.pretrained {tag}: weights of {model_name} could not be downloaded ({first_line(exc)}); "
            "connect to the network, or download them elsewhere and give the file"
        ) from exc
