"""Gradients of the confidence-guided loss, for a batch that processes share under torch.distributed."""

import torch
from torch import distributed

from clipes_core.segmentation import ConfidenceGuidedLoss

MU = 0.5
CLASS_WEIGHT = (1.0, 2.0, 0.5)


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return logits, labels and confidence of four images; the last two have far fewer confident pixels."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 5, 4, generator=draw)
    label = torch.randint(0, 3, (4, 5, 4), generator=draw)
    confidence = torch.randint(0, 256, (4, 1, 5, 4), generator=draw, dtype=torch.uint8)
    confidence[2:] //= 2
    confidence[2:, :, :2] = 255
    return logits, label, confidence


def gradient(images: slice, sure: bool) -> tuple[torch.Tensor, float]:
    """Return the gradient of the loss for some images, and the kept fraction.

    Args:
        images: slice of the four images.
        sure: if false, the confidence of the last two images is set to zero.
    """
    logits, label, confidence = batch()
    if not sure:
        confidence[2:] = 0
    loss = ConfidenceGuidedLoss(mu=MU, class_weight=CLASS_WEIGHT)
    loss.confidence = confidence[images]
    mine = logits[images].requires_grad_()
    loss(mine, label[images]).backward()
    return mine.grad, loss.kept_fraction.item()


def share(rank: int, folder: str) -> None:
    """Compute the gradients of two images in a process group of two, and save them in the folder."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    images = slice(2 * rank, 2 * rank + 2)
    torch.save([gradient(images, sure=True), gradient(images, sure=False)], f"{folder}/{rank}.pt")
    distributed.destroy_process_group()
