"""The initial weights of a training run: identify them, and load them into the network."""

import logging
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from clipes.tasks.models.weight_files import WeightsPlace, copy_place, file_digest, local_copy, web_place
from clipes.tasks.storage.filesystem import first_line
from clipes_core.config.uri import is_uri
from clipes_core.errors import ConfigError, WeightsError

if TYPE_CHECKING:
    from torch import nn

TORCHVISION = "torchvision://"
NO_WEIGHTS = "none"

logger = logging.getLogger(__name__)


def initial_digest(init: str) -> str:
    """Return a text that changes whenever the content of the initial weights changes.

    For a file, the text is the digest of the file's bytes. For weights of torchvision, the text is the file name, which
    contains a hash. If there are no initial weights, the text is `none`.

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


def find_initial_weights(init: str) -> WeightsPlace | None:
    """Return where the initial weights are, or from where they would be downloaded. Download nothing.

    Args:
        init: initial weights, in the form that `initial_digest` accepts.

    Returns:
        The place of the weights; None if there are no initial weights.

    Raises:
        ConfigError: torchvision has no such weights.
        WeightsError: the file does not exist or cannot be read; or it is not on this machine, and the server from which
            it is downloaded does not answer.
        TransientError: the store of the file does not answer.
    """
    if init == NO_WEIGHTS:
        return None
    if not init.startswith(TORCHVISION):
        return copy_place(_location(init), "train.init")
    url, path = _torchvision_place(init.removeprefix(TORCHVISION))
    try:
        return web_place(url, path)
    except OSError as exc:
        raise _not_downloaded(init, url, path, exc) from exc


def load_initial_weights(model: "nn.Module", init: str) -> None:
    """Load initial weights into the backbone. If the file holds a whole segmenter, load the weights of the heads too.

    The tensor names of deeplab-pytorch are translated to tensor names of MMSegmentation. A tensor of a head stays
    unchanged if the file does not have this tensor in the same shape. For example, the shapes differ if the file has
    another number of classes.

    Args:
        model: an MMSegmentation segmentor; changed in place.
        init: initial weights, in the form that `initial_digest` accepts.

    Raises:
        WeightsError: the file cannot be read, does not have every tensor of the backbone in the same shape, or contains
            NaN or infinity.
    """
    path = _file(init)
    if path is None:
        return
    from clipes.tasks.models.state_dicts import check_weights, read_state_dict
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
            f"train.init {init}: the file does not fit the network of train.mmseg_config: {lacks} are missing or have "
            "a different shape; set train.init to weights of this network, or to none"
        )
    check_weights(f"train.init {init}", fitting)
    target.load_state_dict(fitting, strict=False)
    logger.info("train.init %s: initialised %d of %d tensors", init, len(fitting), len(own))


def _without_counters(names: "set[str]") -> set[str]:
    """Return tensor names without the step counters of batch norm, because these do not affect the network's output."""
    return {name for name in names if not name.endswith("num_batches_tracked")}


def _file(init: str) -> Path | None:
    if init == NO_WEIGHTS:
        return None
    if init.startswith(TORCHVISION):
        return _torchvision_file(init.removeprefix(TORCHVISION))
    return local_copy(_location(init), "train.init")


def _location(init: str) -> str:
    return init if is_uri(init) else str(Path(init).expanduser())


def _torchvision_file(name: str) -> Path:
    """Return the path, in torch's cache, of a torchvision model's ImageNet weights. Download them if necessary.

    Raises:
        ConfigError: torchvision has no such weights.
        WeightsError: the file could not be downloaded.
    """
    import torch

    url, path = _torchvision_place(name)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            place = web_place(url, path)  # which fails soon if the server does not answer
            logger.info("train.init %s%s: downloading %.0f MB to %s", TORCHVISION, name, place.size_bytes / 1e6, path)
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except OSError as exc:
            raise _not_downloaded(f"{TORCHVISION}{name}", url, path, exc) from exc
    return path


def _not_downloaded(init: str, url: str, path: Path, cause: OSError) -> WeightsError:
    return WeightsError(
        f"train.init {init}: the file is not at {path}, and could not be downloaded from {url} ({first_line(cause)}): "
        "connect to the internet; or download it on another machine, and put it there or add --set train.init=FILE; or "
        "add --set train.init=none or --set train.enabled=false"
    )


def _torchvision_place(name: str) -> tuple[str, Path]:
    """Return the address of a torchvision model's ImageNet weights, and their path in torch's cache.

    Raises:
        ConfigError: torchvision has no such weights.
    """
    import torch
    from torchvision.models import get_model_weights  # type: ignore[import-untyped]

    try:
        url = get_model_weights(name).IMAGENET1K_V1.url
    except (ValueError, AttributeError) as exc:
        raise ConfigError(f"train.init: torchvision has no ImageNet weights of {name}: {first_line(exc)}") from exc
    return url, Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(url).name
