"""The CLIP of a worker process, loaded once and kept for all of the worker's shards."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from clipes.tasks.machine.worker_state import current_worker
from clipes.tasks.models.clip import Clip, load_clip
from clipes.tasks.models.weight_files import check_unchanged
from clipes_core.backbones.backbone import Backbone
from clipes_core.backbones.kinds import open_backbone
from clipes_core.config.pseudo_masks import ClipConfig


@cache
def loaded_backbone(config: ClipConfig, digest: str, precision: str) -> Backbone:
    """Return the image network of the process's CLIP on the worker's device. Only the first call builds the network.

    Raises:
        WeightsError, TransientError: for the same reasons as `loaded_clip`.
    """
    return image_network(loaded_clip(config, digest), config, current_worker().slot.device, precision)


@cache
def loaded_clip(config: ClipConfig, digest: str) -> Clip:
    """Return the CLIP of this process, on the CPU. Only the first call loads the model.

    Args:
        config: settings of CLIP.
        digest: digest of the weights when the run was planned. The keys of the artifacts contain this digest.

    Raises:
        WeightsError: the weights cannot be used, or have changed since the run was planned.
        TransientError: the server from which the weights are downloaded does not answer.
    """
    torch.set_num_threads(current_worker().slot.threads)
    clip = load_clip(config)
    check_unchanged(f"clip.pretrained {config.pretrained}", digest, clip.digest)
    return clip


def image_network(clip: Clip, config: ClipConfig, device: str, precision: str) -> Backbone:
    """Return the image network of a CLIP on a device.

    Args:
        clip: the model.
        config: settings of CLIP.
        device: torch device.
        precision: precision of the matrix products, which must not be auto.

    Raises:
        WeightsError: clipes does not support this kind of image network.
    """
    torch.backends.cudnn.allow_tf32 = False  # a GPU would otherwise round the pixels that the patch embedding reads
    return open_backbone(clip.model.visual, config.pooling, device, precision)


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use this number of threads in the block. The number decides the last bits of results on a CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def logit_scale(clip: Clip) -> float:
    """Return exp(model.logit_scale), the factor by which CLIP multiplies cosine similarities."""
    return float(clip.model.logit_scale.detach().exp())
