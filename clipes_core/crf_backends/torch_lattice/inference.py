"""Mean-field inference of the dense CRFs of several photos of one size."""

from collections.abc import Callable

import numpy as np
import torch

from clipes_core.config.crf import DenseCrfConfig
from clipes_core.crf_backends.torch_lattice.gaussian_kernels import bilateral_lattice, most_photos, position_lattice
from clipes_core.crf_backends.torch_lattice.mean_field import mean_field
from clipes_core.device import download, upload


def infer_batch(
    unaries: np.ndarray, images: np.ndarray, config: DenseCrfConfig, device: str
) -> Callable[[], np.ndarray]:
    """Queue mean-field inference for each photo of a batch.

    The result for a photo does not depend on the other photos. A batch is computed in several parts if the keys of
    all its vertices do not fit into 64 bits. The host waits for the device while it builds the two lattices, twice for
    each. It does not wait during the iterations.

    Memory on the device, apart from the arguments and the result, for each pixel of each photo: at most 900 bytes and
    12 bytes per label, or 440 bytes and 96 bytes per label if that is more. Pure noise needs this much, because each
    pixel has 6 vertices of its own. Photos need about 600 bytes with up to 6 labels, and 1400 bytes with 21.

    Args:
        unaries: (B, 1 + K, H, W) float32.
        images: (B, H, W, 3) uint8.
        config: kernels and number of iterations.
        device: torch device.

    Returns:
        A function that waits for the (B, 1 + K, H, W) float32 posteriors, in [0, 1]; the channels add up to 1. The
        posterior of a photo is NaN if one of its unaries is not finite.

    Raises:
        PhotoError: TOO_LARGE if the photos are too large for the standard deviations.

    Source: Krähenbühl and Koltun 2011; Adams, Baek and Davis 2010.
    """
    most = most_photos(images.shape[1:3], config.bi_xy_std, config.bi_rgb_std) if config.bi_w else len(images)
    queued = []
    for start in range(0, len(images), most):
        arrays = (array[start : start + most] for array in (unaries, images))
        given, pixels = (
            upload(np.require(array, requirements=["C", "W"]), torch.device(device)) for array in arrays
        )  # torch refuses arrays that cannot be written
        queued.append(download(_posteriors(given, pixels, config)))
    return lambda: (
        np.concatenate([posteriors for get in queued for posteriors in get()]) if queued[1:] else queued[0]()[0]
    )


def _posteriors(unaries: torch.Tensor, images: torch.Tensor, config: DenseCrfConfig) -> torch.Tensor:
    """Return the posteriors of photos that share a lattice; arguments and result are those of `infer_batch`."""
    _, labels, height, width = unaries.shape
    usable = unaries.isfinite().flatten(1).all(1)[:, None, None, None]
    if labels == 1:
        return torch.where(usable, torch.ones_like(unaries), torch.nan)
    unaries = torch.where(usable, unaries, 0)  # so that no other photo gets a NaN
    logits = (unaries[:, :1] - unaries[:, 1:]).permute(2, 3, 0, 1).contiguous()
    lattices = []
    if config.pos_w:
        lattices.append(position_lattice((height, width), config.pos_xy_std, config.pos_w, unaries.device))
    if config.bi_w:
        pixels = images.permute(1, 2, 0, 3)
        lattices.append(bilateral_lattice(pixels, config.bi_xy_std, config.bi_rgb_std, config.bi_w))
    posteriors = mean_field(logits, lattices, config.iter_max).permute(2, 3, 0, 1)
    return torch.where(usable, posteriors, torch.nan)
