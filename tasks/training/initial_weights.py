"""The initial weights of a training run: identify them, and load them into the network."""

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
    """Return a text that identifies the content of initial weights.

    For a file, the text is the digest of the file's bytes. For torchvision's weights, the text is the name of their
    file, which contains a hash. For no weights, the text is `none`.

    Args:
        init: torchvision://NAME, the path or URI of a file, or none. Weights that are not on this host are downloaded.

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
    """Load initial weights into the whole segmenter if the file holds a whole segmenter, else into the backbone only.

    The tensor names of deeplab-pytorch are translated to those of MMSegmentation. A tensor of a head keeps its
    value if the file lacks it or has it in a different shape, for example because the numbers of classes differ.

    Args:
        model: an MMSegmentation segmentor; changed in place.
        init: initial weights, in the form that `initial_digest` accepts.

    Raises:
        WeightsError: the file cannot be read, or a tensor of the backbone is missing in it or has a different shape.
    """
    path = _file(init)
    if path is None:
        return
    from clipes_core.segmentation.deeplab_weights import to_mmsegmentation_names

    tensors = to_mmsegmentation_names(read_state_dict(path).tensors)
    whole = any(name.startswith("backbone.") for name in tensors)
    target = model if whole else model.get_submodule("backbone")
    own = target.state_dict()
    fitting = {name: tensor for name, tensor in tensors.items() if name in own and own[name].shape == tensor.shape}
    of_backbone = {name for name in own if not whole or name.startswith("backbone.")}
    missing = _without_counters(of_backbone - fitting.keys())
    if missing:
        lacks = f"{len(missing)} of the backbone's tensors (such as {min(missing)})"
        raise WeightsError(
            f"train.init {init}: expected weights of the network to train, but the file does not have {lacks} in the "
            "required shape: set train.init to weights of this network, or to none"
        )
    target.load_state_dict(fitting, strict=False)
    logger.info("train.init %s: initialised %d of %d tensors", init, len(fitting), len(own))


def _without_counters(names: "set[str]") -> set[str]:
    """Return the names, except those of batch norm's step counters, which do not affect the network's output."""
    return {name for name in names if not name.endswith("num_batches_tracked")}


def _file(init: str) -> Path | None:
    if init == NO_WEIGHTS:
        return None
    if init.startswith(TORCHVISION):
        return _torchvision_file(init.removeprefix(TORCHVISION))
    return local_copy(str(Path(init).expanduser()) if "://" not in init else init, "train.init")


def _torchvision_file(name: str) -> Path:
    """Return the file in torch's cache with the ImageNet weights of a torchvision model. Download it if it is missing.

    Raises:
        ConfigError: torchvision has no such weights.
        WeightsError: the file could not be downloaded.
    """
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
                f"train.init {TORCHVISION}{name} could not be downloaded ({first_line(exc)}): connect to the internet, "
                f"put the file at {path}, set train.init to a file or none, or set train.enabled to false"
            ) from exc
    return path
