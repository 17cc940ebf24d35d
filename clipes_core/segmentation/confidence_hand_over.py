"""Set confidence maps directly in the losses, because MMSegmentation's heads have no argument for confidence maps."""

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from clipes_core.errors import ConfigError
from clipes_core.segmentation.confidence_guided_loss import ConfidenceGuidedLoss


def register_confidence_hooks(model: nn.Module) -> tuple[RemovableHandle, RemovableHandle]:
    """Register hooks that set the confidence of the batch in every ConfidenceGuidedLoss of a model.

    Before each forward pass in mode `loss`, the first hook reads the confidence map `gt_confidence`, (1, H, W) uint8,
    of each data sample. It pads the maps with 0, on the right and at the bottom, to the size of the batch's labels.
    After each forward pass, the second hook removes the maps from the losses.

    Args:
        model: an MMSegmentation segmentor without its distributed wrapper. The losses of its auxiliary heads also get
            the confidence.

    Returns:
        Handles of the two hooks on the segmentor; remove both to undo the registration.

    Raises:
        ConfigError: the model has no ConfidenceGuidedLoss.
    """
    if not _losses(model):
        raise ConfigError(
            "no head of the model has a ConfidenceGuidedLoss: set loss_decode=dict(type='ConfidenceGuidedLoss') in at "
            "least one head"
        )
    before = model.register_forward_pre_hook(_set, with_kwargs=True)
    return before, model.register_forward_hook(_remove, always_call=True)


def _losses(model: nn.Module) -> list[ConfidenceGuidedLoss]:
    return [module for module in model.modules() if isinstance(module, ConfidenceGuidedLoss)]


def _set(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    batch = inspect.signature(model.forward).bind(*args, **kwargs).arguments
    samples = batch.get("data_samples") or []
    if batch.get("mode") != "loss" or not all("gt_confidence" in sample for sample in samples):
        return
    confidence = torch.stack([_padded(sample.gt_confidence.data, sample.gt_sem_seg.shape) for sample in samples])
    for loss in _losses(model):
        loss.confidence = confidence


def _remove(model: nn.Module, *_: Any) -> None:
    for loss in _losses(model):
        loss.confidence = None


def _padded(confidence: Tensor, size: tuple[int, int]) -> Tensor:
    bottom, right = (wanted - given for wanted, given in zip(size, confidence.shape[-2:], strict=True))
    return F.pad(confidence, (0, right, 0, bottom))


@HOOKS.register_module()
class ConfidenceHook(Hook):
    """Passes the confidence to the losses during training, and logs which share of the labelled pixels counted.

    If several heads have a ConfidenceGuidedLoss, only the share of the first of these losses is logged. The decode
    head comes before the auxiliary heads.
    """

    def before_train(self, runner: Runner) -> None:
        """Register the hooks of `register_confidence_hooks` on the segmentor."""
        self.model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self.handles = register_confidence_hooks(self.model)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Write `kept_fraction` of the loss to MMEngine's message hub. MMEngine logs the values in the hub."""
        runner.message_hub.update_scalar("train/kept_fraction", _losses(self.model)[0].kept_fraction)

    def after_train(self, runner: Runner) -> None:
        """Remove the hooks from the segmentor."""
        for handle in self.handles:
            handle.remove()
