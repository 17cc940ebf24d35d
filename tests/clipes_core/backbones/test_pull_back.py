import torch
from numpy.testing import assert_allclose

from clipes_core.backbones.pull_back import by_autograd


def test_gradients_of_several_scores_per_photo_are_means_over_the_patches():
    features = torch.arange(12.0).reshape(2, 3, 2)  # two photos of three patches with two channels

    def embed(leaf):
        return torch.stack([leaf[..., 0].square().sum(dim=1), leaf[:, 1, 1]], dim=1)

    embedding, pull_back = by_autograd(embed, features)
    assert embedding.tolist() == [[0 + 4 + 16, 3], [36 + 64 + 100, 9]]
    assert not embedding.requires_grad
    # the gradient of the first number is 2 a for channel 0; that of the second is 1 at one of three patches
    found = pull_back(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 3.0]]), [1, 2])
    assert_allclose(found, [[4, 0], [16, 0], [0, 1]])
    assert features.grad is None
