"""Pass gradients of the image embedding back to the features, with autograd.

Grad-CAM weights each channel of the features A by the mean over the patches of a gradient (CLIP-ES eq. (2)). Autograd
can compute this mean for every network.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from clipes_core.device import upload

# Turns (S, D) gradients with respect to the embeddings of photos into the (S, C) means over the patches of the
# gradients with respect to the features. The gradients are ordered photo by photo. The second argument says how many
# gradients each photo has.
PullBack = Callable[[torch.Tensor, Sequence[int]], torch.Tensor]


def by_autograd(embed: Callable[[torch.Tensor], torch.Tensor], features: torch.Tensor) -> tuple[torch.Tensor, PullBack]:
    """Compute embeddings, and pull gradients back with autograd.

    Args:
        embed: computes the (B, D) embeddings from the features.
        features: (B, hw, C) features of the patches.

    Returns:
        (B, D) embeddings, and the function that pulls gradients back.
    """
    leaf = features.detach().requires_grad_(True)
    with torch.enable_grad():
        embedding = embed(leaf)

    def pull_back(gradients: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
        # a pass through the graph takes one gradient per photo, which is 0 for photos that have no more gradients
        most = max(counts)
        slots = [photo * most + slot for photo, count in enumerate(counts) for slot in range(count)]
        own = upload(np.asarray(slots), gradients.device)
        padded = gradients.new_zeros(len(counts) * most, gradients.shape[1]).index_copy(0, own, gradients)
        per_pass = [
            torch.autograd.grad(embedding, leaf, grad_outputs=each, retain_graph=True)[0].mean(dim=1)
            for each in padded.unflatten(0, (-1, most)).unbind(dim=1)
        ]
        return torch.stack(per_pass, dim=1).flatten(0, 1)[own]

    return embedding.detach(), pull_back
