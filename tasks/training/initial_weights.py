"""The initial weights of a training."""

import logging
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from clipes.tasks.models.state_dicts import read_state_dict
from clipes.tasks.models.weight_files import file_digest, local_copy
from clipes.tasks.storage.filesystem import first_line
from clipes_core.errors import ConfigError, WeightsError

if TYPE_CHECKING:
    from torch import nn

TORCHVISION = "torchvision://"
NO_WEIGHTS = "none"

logger = logging.getLogger(__name__)


def initial_digest(init: str) -> str:
    """Return the digest of initial weights; for torchvision's weights, this is the name of their file.

    Args:
        init: torchvision://NAME, a file or URI, or none. Weights that are not on this host yet are downloaded.

    Raises:
        ConfigError: torchvision has no such weights.
        WeightsError: the file does not exist, or could not be downloaded.
        TransientError: the store of the file does not answer.
    """
    path = _file(init)
    if path is None:
        return NO_WEIGHTS
    return path.name if init.startswith(TORCHVISION) else file_digest(path)


def load_initial_weights(model: "nn.Module", init: str) -> None:
    """Load initial weights into the whole segmenter if the file holds one, else into the backbone only.

    The tensor names of deeplab-pytorch are translated. If the shape of a tensor differs, such as in a head for
    different classes, it is not loaded, and the model keeps its own tensor.

    Args:
        model: an MMSegmentation segmentor; changed in place.
        init: initial weights, as for `initial_digest`.

    Raises:
        WeightsError: the file is damaged, or belongs to a different network.
    """
    path = _file(init)
    if path is None:
        return
    from clipes_core.segmentation.deeplab_weights import named_as_in_mmsegmentation

    tensors = named_as_in_mmsegmentation(read_state_dict(path).tensors)
    whole = any(name.startswith("backbone.") for name in tensors)
    target = model if whole else model.get_submodule("backbone")
    own = target.state_dict()
    fitting = {name: tensor for name, tensor in tensors.items() if name in own and own[name].shape == tensor.shape}
    of_backbone = {name for name in own if not whole or name.startswith("backbone.")}
    missing = _without_counters(of_backbone - fitting.keys())
    if missing:
        lacks = f"{len(missing)} of the backbone's tensors, such as {min(missing)}"
        raise WeightsError(f"train.init {init}: expected weights of the network to train, but the file lacks {lacks}")
    target.load_state_dict(fitting, strict=False)
    logger.info("train.init %s: loaded %d of %d tensors", init, len(fitting), len(own))


def _without_counters(names: "set[str]") -> set[str]:
    """Remove the counters of batch norm, which do not affect the network."""
    return {name for name in names if not name.endswith("num_batches_tracked")}


def _file(init: str) -> Path | None:
    if init == NO_WEIGHTS:
        return None
    if init.startswith(TORCHVISION):
        return _torchvision_file(init.removeprefix(TORCHVISION))
    return local_copy(str(Path(init).expanduser()) if "://" not in init else init, "train.init")


def _torchvision_file(name: str) -> Path:
    """Return the file with the ImageNet weights of a torchvision model in torch's cache, downloaded if necessary."""
    import torch
    from torchvision.models import get_model_weights  # type: ignore[import-untyped]

    try:
        url = get_model_weights(name).IMAGENET1K_V1.url
    except (ValueError, AttributeError) as exc:
        raise ConfigError(f"train.init: torchvision has no ImageNet weights of {name}: {first_line(exc)}") from exc
    path = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(url).name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except OSError as exc:
            raise WeightsError(
                f"train.init {TORCHVISION}{name} could not be downloaded ({first_line(exc)}): connect to the network, "
                f"put the file at {path}, or set train.init to a file or none, or train.enabled to false"
            ) from exc
    return path
