"""Softmax-GradCAM: for each class, a map of the parts of a photo that raise the score of the class.

With the softmax, each class competes with the other classes and with the background words.
"""

import torch

from clipes_core.backbone import Encoded
from clipes_core.errors import ShapeError

EPSILON = 1e-7
# `gradcam` scales gradients so that their largest entry is this number. With patch_mean pooling, the backward pass
# divides gradients by the number of patches. On large photos, unscaled gradients would then underflow in float16.
GRADIENT_PEAK = 256


def class_scores(
    embedding: torch.Tensor, text_features: torch.Tensor, logit_scale: float, softmax: bool = True
) -> torch.Tensor:
    """Compute the score that an image embedding gets for each text.

    Args:
        embedding: (D,), not normalised.
        text_features: (T, D), L2-normalised.
        logit_scale: CLIP's logit scale, after exp; 100 for OpenAI's weights.
        softmax: if true, return the softmax over the T texts (eq. 3); if false, return the logits.

    Returns:
        (T,) probabilities or logits.

    Source: CLIP-ES sec. 3.1, eq. (1), (3).
    """
    logits = logit_scale * text_features @ (embedding / embedding.norm())
    return logits.softmax(dim=0) if softmax else logits


def score_gradients(
    embedding: torch.Tensor,
    text_features: torch.Tensor,
    logit_scale: float,
    classes: int,
    softmax: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the scores of the classes, and the gradients of these scores with respect to the embedding.

    Args:
        embedding: (D,), not normalised.
        text_features: (T, D), L2-normalised; first those of the K classes, then those of the background words.
        logit_scale: CLIP's logit scale, after exp.
        classes: K <= T, the number of classes.
        softmax: as in `class_scores`.

    Returns:
        (K,) float64 scores and (K, D) float64 gradients.

    Source: CLIP-ES eq. (2), (4). Differs from the reference: the computation uses float64. In float32, 1 - s rounds to
    0 if the score s is nearly 1, and the gradient becomes 0.
    """
    texts = text_features.double()

    def first_scores(point: torch.Tensor) -> torch.Tensor:
        return class_scores(point, texts, logit_scale, softmax)[:classes]

    point = embedding.detach().double()
    return first_scores(point), torch.autograd.functional.jacobian(first_scores, point)


def gradcam(encoded: Encoded, gradients: torch.Tensor) -> torch.Tensor:
    """Compute CAMs by Grad-CAM: weight the channels of the features by the gradients of the scores.

    Args:
        encoded: the network's output for B photos.
        gradients: (B, K, D) gradients of K scores with respect to each photo's embedding. The scale of a gradient does
            not matter, because the function rescales each gradient to prevent underflow in half precision. An all-zero
            gradient gives an all-zero CAM.

    Returns:
        (B, K, h, w) float32 in [0, 1], min-max normalised.

    Raises:
        ShapeError: `gradients` is not (B, K, D).

    Source: CLIP-ES eq. (1), (2); the published program. As in that program, each CAM is normalised twice in a row.
    Differs from the reference: the gradients are rescaled.
    """
    batch, dim = encoded.embedding.shape
    if gradients.ndim != 3 or gradients.shape[0] != batch or gradients.shape[2] != dim:
        raise ShapeError(f"gradients must be ({batch}, K, {dim}), got {tuple(gradients.shape)}")
    largest = gradients.abs().amax(dim=-1, keepdim=True)
    scaled = (GRADIENT_PEAK * gradients / torch.where(largest > 0, largest, 1.0)).to(encoded.embedding)
    channel_weights = encoded.pull_back(scaled)
    maps = (channel_weights @ encoded.features[:, 1:].transpose(1, 2)).relu()
    raw = maps.unflatten(-1, encoded.grid_hw)
    return normalise_cam(normalise_cam(raw))


def normalise_cam(cam: torch.Tensor) -> torch.Tensor:
    """Min-max normalise each map.

    Args:
        cam: (..., h, w) float.

    Returns:
        (..., h, w) in [0, 1]: (x - min) / (max - min + 1e-7), with the minimum and maximum of each map.
    """
    above = cam - cam.amin(dim=(-2, -1), keepdim=True)
    return above / (above.amax(dim=(-2, -1), keepdim=True) + EPSILON)
