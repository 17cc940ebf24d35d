"""Build a frozen OpenCLIP model with the weights that `clip.pretrained` names.

Importing torch and OpenCLIP takes seconds. The digest of weights that are not those of an OpenCLIP tag is computed
without them.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipes.tasks.models.clip_architecture import fitting_architecture, named_architecture
from clipes.tasks.models.clip_models.building import build_clip
from clipes.tasks.models.clip_models.normalisation import Normalisation, tag_normalisation, usual_normalisation
from clipes.tasks.models.clip_models.pretrained import random_seed, tag_entry, weights_file
from clipes.tasks.models.clip_models.tokenizers import open_tokenizer, tokenizer_digest
from clipes.tasks.models.package_files import package_version
from clipes.tasks.models.weight_files import (
    file_digest,
)
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.errors import WeightsError

if TYPE_CHECKING:
    from open_clip.model import CLIP, CustomTextCLIP

    from clipes_core.prompts import Tokenizer


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
    seed = random_seed(config)
    if seed is not None:
        model, own_digest = _random_model(architecture, seed), _random_digest(config.model, seed)
    else:
        path = weights_file(config)
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
    seed = random_seed(config)
    own_digest = file_digest(weights_file(config)) if seed is None else _random_digest(config.model, seed)
    return _digest(config, architecture, own_digest)


def context_length(model_name: str) -> int:
    """Return the number of tokens that the text network of a model reads.

    Raises:
        WeightsError: `named_architecture` does not accept the name.
    """
    return int(named_architecture(model_name)["text_cfg"].get("context_length", 77))


def _normalisation(config: ClipConfig, architecture: dict[str, Any]) -> Normalisation | None:
    """Return how photos are normalised for the weights of a config; None if it is as for OpenAI's CLIP."""
    entry = tag_entry(config.model, config.pretrained)
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
