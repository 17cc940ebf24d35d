"""How confidence maps reach the losses past segmentors and heads that know nothing of them."""

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


def hand_over_confidence(model: nn.Module) -> tuple[RemovableHandle, RemovableHandle]:
    """Let each forward pass in mode `loss` begin with its batch's confidence in every ConfidenceGuidedLoss.

    The maps are the data samples' `gt_confidence`, (1, H, W) uint8, padded with 0 at the right and bottom to the size
    of the batch's labels. They are taken away again after the pass.

    Args:
        model: an MMSegmentation segmentor, not its distributed wrapper; auxiliary heads count too.

    Returns:
        What undoes it: the handles of the two hooks that are now on the segmentor.

    Raises:
        ConfigError: the model has no ConfidenceGuidedLoss.
    """
    if not _losses(model):
        raise ConfigError(
            "no head of the model has a ConfidenceGuidedLoss: set loss_decode=dict(type='ConfidenceGuidedLoss')"
        )
    before = model.register_forward_pre_hook(_give, with_kwargs=True)
    return before, model.register_forward_hook(_take_away, always_call=True)


def _losses(model: nn.Module) -> list[ConfidenceGuidedLoss]:
    return [module for module in model.modules() if isinstance(module, ConfidenceGuidedLoss)]


def _give(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    batch = inspect.signature(model.forward).bind(*args, **kwargs).arguments
    samples = batch.get("data_samples") or []
    if batch.get("mode") != "loss" or not all("gt_confidence" in sample for sample in samples):
        return
    confidence = torch.stack([_padded(sample.gt_confidence.data, sample.gt_sem_seg.shape) for sample in samples])
    for loss in _losses(model):
        loss.confidence = confidence


def _take_away(model: nn.Module, *_: Any) -> None:
    for loss in _losses(model):
        loss.confidence = None


def _padded(confidence: Tensor, size: tuple[int, int]) -> Tensor:
    bottom, right = (wanted - given for wanted, given in zip(size, confidence.shape[-2:], strict=True))
    return F.pad(confidence, (0, right, 0, bottom))


@HOOKS.register_module()
class ConfidenceHook(Hook):
    """Hands over the confidence while a runner of MMEngine trains, and logs the share of pixels that counted.

    The log's `kept_fraction` is that of the model's first ConfidenceGuidedLoss, which is the decode head's.
    """

    def before_train(self, runner: Runner) -> None:
        """Put the hooks on the segmentor."""
        self.model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self.handles = hand_over_confidence(self.model)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Write `train/kept_fraction` to the message hub."""
        runner.message_hub.update_scalar("train/kept_fraction", _losses(self.model)[0].kept_fraction)

    def after_train(self, runner: Runner) -> None:
        """Leave the segmentor as it was."""
        for handle in self.handles:
            handle.remove()
