"""The confidence-guided loss: cross entropy over the pixels whose pseudo label has a high confidence."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, distributed, nn

from clipes_core.confidence import PAPER_MU, lowest_kept_level
from clipes_core.errors import ConfigError, ShapeError
from clipes_core.pseudo_mask import IGNORE_INDEX


@MODELS.register_module()
class ConfidenceGuidedLoss(nn.Module):
    """Mean cross entropy over the pixels that count: their confidence is at least mu, and their label is not ignored.

    MMSegmentation's heads call this loss like any other loss, without the confidence. The hooks of
    `register_confidence_hooks` set the loss's attribute `confidence` before each batch. If no pixel counts, the loss
    and its gradient are 0. Under torch.distributed, the mean is taken over the pixels of all processes. The gradients,
    averaged over the processes, equal the gradients of a single process that has all images.

    Args:
        mu: threshold of the confidence, in [0, 1]. Pixels of lower confidence do not count. If mu is 0, the loss is the
            mean cross entropy over all labelled pixels, and needs no confidence.
        class_weight: (1 + K,) weight of each class. If given, the mean is weighted, as in torch's cross entropy.
        loss_weight: factor by which the result is multiplied.
        loss_name: name of the loss in the log. MMEngine minimises only losses whose name begins with `loss`.

    Attributes:
        confidence: (B, 1, H, W) uint8, round(255 c), where c in [0, 1] is the confidence of each pixel of the current
            batch. None if the batch has no confidence.
        kept_fraction: float scalar, in [0, 1]: number of pixels that counted in the last call, divided by the number of
            labelled pixels. Both numbers are totals of all processes. None before the first call.

    Raises:
        ConfigError: `mu` is not in [0, 1].

    Source: CLIP-ES sec. 3.4, eq. (9).
    Differs from the reference: the published program excludes pixels by setting their labels to 255. Here the
        confidence is a separate map, and the labels do not depend on mu. The value of the loss is the same.
    """

    class_weight: Tensor | None

    def __init__(
        self,
        mu: float = PAPER_MU,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = "loss_cgl",
    ) -> None:
        super().__init__()
        if not 0 <= mu <= 1:
            raise ConfigError(f"mu of ConfidenceGuidedLoss must be in [0, 1], got {mu}")
        self.lowest_level = lowest_kept_level(mu)
        self.loss_weight = loss_weight
        self.loss_name = loss_name
        self.register_buffer("class_weight", None if class_weight is None else torch.tensor(class_weight), False)
        self.confidence: Tensor | None = None
        self.kept_fraction: Tensor | None = None

    def forward(
        self, logits: Tensor, label: Tensor, weight: Tensor | None = None, ignore_index: int = IGNORE_INDEX
    ) -> Tensor:
        """Compute the mean cross entropy over the pixels that count.

        Args:
            logits: (B, 1 + K, H, W) float; half precision is converted to float32. The logits of pixels that do not
                count have no effect, even if they are infinite.
            label: (B, H, W) int, class ids or `ignore_index`.
            weight: (B, H, W) weight of each pixel, computed by the head's sampler; None if the head has no sampler.
            ignore_index: label of pixels that never count.

        Returns:
            The loss, a scalar of type float32 or float64.

        Raises:
            ShapeError: the sizes of logits, labels and confidence differ, or the logits have only one channel.
            ConfigError: the attribute `confidence` is None, and `mu` is not 0.
        """
        if logits.ndim != 4 or logits.shape[1] < 2 or logits[:, 0].shape != label.shape:
            raise ShapeError(
                "logits must be (B, 1 + K, H, W) with K >= 1 (out_channels of the head), and labels must be (B, H, W); "
                f"got {tuple(logits.shape)} and {tuple(label.shape)}"
            )
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        labelled = label != ignore_index
        kept = labelled & self._sure(label)
        pixel_weight = self._pixel_weight(kept, label, weight).to(logits)
        total, kept_pixels, labelled_pixels = _mean_over_processes(
            torch.stack([pixel_weight.sum(), kept.sum(), labelled.sum()])
        )
        self.kept_fraction = _ratio(kept_pixels, labelled_pixels)
        entropy = _cross_entropy(logits, label, pixel_weight > 0)
        return self.loss_weight * _ratio((pixel_weight * entropy).sum(), total)

    def _sure(self, label: Tensor) -> Tensor:
        if self.lowest_level == 0:
            return torch.ones_like(label, dtype=torch.bool)
        if self.confidence is None:
            raise ConfigError(
                "ConfidenceGuidedLoss got no confidence for this batch. In the config, set "
                "custom_hooks=[dict(type='ConfidenceHook')], make dict(type='PackConfidence') the last transform of "
                "the training pipeline, and use a data set that returns gt_confidence. To train without confidence, "
                "set mu=0"
            )
        if len(self.confidence) != len(label):
            raise ShapeError(f"got the confidence of {len(self.confidence)} images, but the labels of {len(label)}")
        confidence = F.interpolate(self.confidence, size=label.shape[1:], mode="nearest-exact")
        return confidence.squeeze(1) >= self.lowest_level

    def _pixel_weight(self, kept: Tensor, label: Tensor, weight: Tensor | None) -> Tensor:
        pixel_weight = kept if weight is None else kept * weight
        return pixel_weight if self.class_weight is None else pixel_weight * self.class_weight[label.where(kept, 0)]


def _cross_entropy(logits: Tensor, label: Tensor, counted: Tensor) -> Tensor:
    """Return the cross entropy of each pixel.

    If a pixel does not count, the function first sets its logits to 0. Without this step, the cross entropy of such a
    pixel could be infinite. The caller multiplies it by the pixel's weight, which is 0, and the product would be NaN.
    """
    return F.cross_entropy(logits.where(counted.unsqueeze(1), 0), label.where(counted, 0).long(), reduction="none")


def _mean_over_processes(sums: Tensor) -> Tensor:
    """Add up each of the given sums over all processes, and divide by the number of processes.

    The caller divides the loss of each process by this average, not by the total over all processes, because torch
    later averages the gradients of the processes instead of adding them up.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return sums
    distributed.all_reduce(sums)
    return sums / distributed.get_world_size()


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return part / whole.masked_fill(whole == 0, 1)
