"""Check that the output of a network or of the method is finite, before it becomes a result."""

import math
from typing import TYPE_CHECKING

from clipes_core.errors import ErrorKind, PhotoError

if TYPE_CHECKING:
    import numpy as np
    import torch

OF_CLIP = "the weights of clip.pretrained are damaged, or a number is too large for clip.precision: try fp32"
OF_SEGMENTER = "the training diverged, or the weights are damaged: train again with train.precision=fp32"
OF_CRF = "the settings of the crf section are extreme: try the defaults"


def check_finite(values: "np.ndarray | torch.Tensor", what: str, causes: str) -> None:
    """Check that an array or a tensor holds neither NaN nor infinity.

    Args:
        values: array or tensor of numbers, on any device.
        what: name of the values, for the message.
        causes: likely causes and what to do, for the message, such as `OF_CLIP`.

    Raises:
        PhotoError: NOT_FINITE if a value is NaN or infinite.
    """
    if not is_finite(values):
        raise PhotoError(ErrorKind.NOT_FINITE, f"{what} contains NaN or infinity. Likely causes: {causes}")


def is_finite(values: "np.ndarray | torch.Tensor") -> bool:
    """Return whether every value is finite. If a value is NaN or infinite, the maximum or the minimum is too."""
    return 0 in values.shape or all(math.isfinite(extreme) for extreme in (values.max(), values.min()))
