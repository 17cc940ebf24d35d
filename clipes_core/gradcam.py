"""Softmax-GradCAM: for each class, a map of the parts of a photo that raise the score of the class.

With the softmax, each class competes with the other classes and with the background words.
"""

from collections.abc import Sequence

import torch

from clipes_core.backbones.backbone import Encoded
from clipes_core.device import upload
from clipes_core.errors import ShapeError
from clipes_core.flattened import by_photo
from clipes_core.text_features import TextFeatures, TextPairs

EPSILON = 1e-7
# `gradcam` scales gradients so that their largest entry is this number. With patch_mean pooling, the backward pass
# divides gradients by the number of patches. On large photos, unscaled gradients would then underflow in float16.
GRADIENT_PEAK = 256


def score_gradients(
    embeddings: torch.Tensor, texts: TextFeatures, pairs: TextPairs, softmax: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the scores that photos get for texts, and the gradients of the scores with respect to the embeddings.

    Args:
        embeddings: (B, D), not normalised, on a device that supports float64.
        texts: text features of the vocabulary.
        pairs: the S pairs of a photo and a text.
        softmax: if true, a score is the softmax over the texts that compete (eq. 3); if false, it is the logit.

    Returns:
        (S,) float64 scores and (S, D) float64 gradients.

    Source: CLIP-ES sec. 3.1, eq. (1) to (4). Differs from the reference: the computation uses float64, and 1 - s is the
    sum of the other scores of the softmax. In float32, 1 - s rounds to 0 if the score s is nearly 1, and the gradient
    becomes 0.
    """
    features, photos, own, competes = (
        upload(each, embeddings.device) for each in (texts.features, pairs.photos, pairs.texts, pairs.competes)
    )
    features, lengths = features.double(), embeddings.double().norm(dim=1, keepdim=True)
    directions = embeddings / lengths
    logits = (texts.logit_scale * directions @ features.T)[photos]
    scores, slopes = logits.gather(1, own[:, None]), features[own]
    if softmax:
        shares = logits.masked_fill(~competes, -torch.inf).softmax(dim=1)
        others = shares.scatter(1, own[:, None], 0)
        scores = shares.gather(1, own[:, None])
        slopes = scores * (others.sum(dim=1, keepdim=True) * slopes - others @ features)
    along = (slopes * directions[photos]).sum(dim=1, keepdim=True) * directions[photos]
    # a score depends only on the direction of the embedding, so the part along the embedding is taken out
    return scores[:, 0], texts.logit_scale * (slopes - along) / lengths[photos]


def gradcam(encoded: Encoded, gradients: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Compute CAMs by Grad-CAM: weight the channels of the features by the gradients of the scores.

    Args:
        encoded: the network's output for B photos.
        gradients: (S, D) gradients of S scores with respect to the embedding of their photo, photo by photo. The scale
            of a gradient does not matter, because the function rescales each gradient to prevent underflow in half
            precision. An all-zero gradient gives an all-zero CAM.
        counts: B numbers of gradients, one per photo.

    Returns:
        (S, h, w) float32 in [0, 1], min-max normalised.

    Raises:
        ShapeError: `gradients` is not (S, D), or `counts` does not have B numbers with the sum S.

    Source: CLIP-ES eq. (1), (2); the published program. As in that program, each CAM is normalised twice in a row.
    Differs from the reference: the gradients are rescaled.
    """
    batch, dim = encoded.embedding.shape
    if len(counts) != batch or gradients.shape != (sum(counts), dim):
        raise ShapeError(f"gradients of {batch} photos must be ({sum(counts)}, {dim}), got {tuple(gradients.shape)}")
    largest = gradients.abs().amax(dim=-1, keepdim=True)
    scaled = (GRADIENT_PEAK * gradients / torch.where(largest > 0, largest, 1.0)).to(encoded.embedding)
    patches = encoded.features.transpose(1, 2)
    channel_weights = encoded.pull_back(scaled, counts)
    maps = by_photo(channel_weights, counts, lambda photos, weights: weights @ patches[photos]).relu()
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
