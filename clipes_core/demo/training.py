"""The training of the demo's small CLIP: its settings, its learning rates, its steps and its contrastive loss."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field

from clipes_core.backbones.backbone import OPENAI_MEAN, OPENAI_STD
from clipes_core.config.section import Section

LOGIT_SCALE_MAX = math.log(100)


class TrainingConfig(Section):
    """The settings with which the demo's small CLIP is trained."""

    seed: int = Field(0, ge=0, description="Seed of scenes, captions, initial weights and patch dropout.")
    samples: int = Field(
        300_000, ge=1, description="Number of scenes in all steps. A scene counts each time that a step uses it."
    )
    batch: int = Field(64, ge=2, description="Number of scenes per step.")
    captions: int = Field(4, ge=1, description="Number of captions per scene and step.")
    learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate.")
    warmup: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Share of the steps, at the start of the training, in which the learning rate rises linearly. In "
        "the other steps, the learning rate falls to 0 along a cosine.",
    )
    weight_decay: float = Field(
        0.05, ge=0, description="Weight decay of AdamW. It applies only to parameters with at least two axes."
    )
    patch_dropout: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Share of the patches that each step drops to save time, as in FLIP (arXiv 2212.00794).",
    )
    whole_share: float = Field(
        0.1, ge=0, le=1, description="Share of the steps, at the end of the training, that drop no patches."
    )

    @property
    def steps(self) -> int:
        """Return the total number of optimizer steps."""
        return math.ceil(self.samples / self.batch)

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step. The first step has the number 0."""
        warm = self.warmup * self.steps
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / (self.steps - warm)))

    def patch_dropout_at(self, step: int) -> float:
        """Return the share of the patches that a step drops. The first step has the number 0."""
        return self.patch_dropout if step < (1 - self.whole_share) * self.steps else 0.0


class ClipTrainer:
    """Trains a CLIP network; holds the network, its optimizer and the number of finished steps.

    Args:
        model: a CLIP network that OpenCLIP built. Its visual tower must have a PatchDropout module, and must also
            return the patch tokens (`output_tokens=True`).
        config: settings of the training.
    """

    def __init__(self, model: Any, config: TrainingConfig) -> None:
        self.model, self.config, self.step = model.train(), config, 0
        matrices = [weight for weight in model.parameters() if weight.ndim >= 2]
        others = [weight for weight in model.parameters() if weight.ndim < 2]
        groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98))

    def train_step(self, images_rgb: torch.Tensor, captions: list[torch.Tensor]) -> float:
        """Take one step of AdamW.

        Args:
            images_rgb: (B, 3, S, S) uint8 RGB, [0, 255].
            captions: tokens of the captions. Each tensor in the list is (B, L) int64 and has one caption per image.

        Returns:
            The loss, computed with the weights before this step.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate_at(self.step)
        self.model.visual.patch_dropout.prob = self.config.patch_dropout_at(self.step)
        loss = clip_loss(self.model, normalised(images_rgb), captions)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, LOGIT_SCALE_MAX)
        self.step += 1
        return loss.item()

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which `load_state_dict` resumes the training."""
        return {"step": self.step, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume the training from a state that `state_dict` returned."""
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def normalised(images_rgb: torch.Tensor) -> torch.Tensor:
    """Convert (B, 3, S, S) uint8 RGB images to float32, normalised with CLIP's mean and standard deviation."""
    mean, std = torch.tensor([OPENAI_MEAN, OPENAI_STD]).reshape(2, 1, 3, 1, 1)
    return (images_rgb.float() / 255 - mean) / std


def clip_loss(model: Any, pixels: torch.Tensor, captions: list[torch.Tensor]) -> torch.Tensor:
    """Compute CLIP's contrastive loss twice, with the class token and with the patch mean, and average both losses.

    The demo computes CAMs from the patch mean. The class token is trained too, because a network that is trained only
    with the patch mean has inverted CAMs.

    Args:
        model: a CLIP network that `ClipTrainer` accepts.
        pixels: (B, 3, S, S) float32, normalised.
        captions: tokens of the captions. Each tensor in the list is (B, L) int64 and has one caption per image.
    """
    class_token, tokens = model.visual(pixels)
    embeddings = [F.normalize(embedding, dim=-1) for embedding in (class_token, tokens.mean(dim=1) @ model.visual.proj)]
    scale = model.logit_scale.exp()
    losses = []
    for tokenised in captions:
        unique, of_image = torch.unique(tokenised, dim=0, return_inverse=True)
        texts = model.encode_text(unique, normalize=True)
        losses += [contrastive_loss(scale * embedding @ texts.T, of_image) for embedding in embeddings]
    return torch.stack(losses).mean()


def contrastive_loss(logits: torch.Tensor, of_image: torch.Tensor) -> torch.Tensor:
    """Compute the symmetric cross entropy between images and captions. Equal captions do not compete with each other.

    Args:
        logits: (B, U) scaled cosine similarities of B images and U different captions.
        of_image: (B,) int64, index of each image's caption. Every caption belongs to at least one image.

    Returns:
        () mean of two cross entropies. The first cross entropy predicts the caption of an image. Its softmax over the
        captions contains a caption of n images n times. The second cross entropy predicts the image of a caption. A
        caption of n images adds n terms to this cross entropy, one per image.
    """
    counts = torch.bincount(of_image, minlength=logits.shape[1])
    to_text = F.cross_entropy(logits + counts.log(), of_image)
    to_image = -logits.log_softmax(dim=0)[torch.arange(len(logits)), of_image].mean()
    return (to_text + to_image) / 2
