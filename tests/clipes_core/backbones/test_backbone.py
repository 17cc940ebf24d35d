import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from support.tiny_networks import tiny_visual

from clipes_core.backbones.backbone import resize_positional_embedding
from clipes_core.backbones.vit import VitBackbone
from clipes_core.errors import ShapeError


def random_tensor(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_positional_embedding_of_the_native_grid_is_kept():
    embedding = random_tensor(1 + 2 * 3, 5)
    assert_allclose(resize_positional_embedding(embedding, (2, 3), (2, 3)), embedding, atol=1e-6)


def test_positional_embedding_is_resized_bilinearly_without_the_class_token():
    embedding = torch.tensor([[99.0, -99.0], [0.0, 1.0], [4.0, 1.0], [8.0, 1.0], [12.0, 1.0]])
    resized = resize_positional_embedding(embedding, (2, 2), (4, 4))
    # The centres of the new cells are at -0.25, 0.25, 0.75, 1.25 of the old grid, clamped at the border.
    expected = [[0, 1, 3, 4], [2, 3, 5, 6], [6, 7, 9, 10], [8, 9, 11, 12]]
    assert resized[0].tolist() == [99, -99]
    assert_allclose(resized[1:, 0].reshape(4, 4), expected)
    assert_allclose(resized[1:, 1], np.ones(16))
    assert embedding.shape == (5, 2)


def test_positional_embedding_of_an_oblong_grid_keeps_its_rows():
    rows = torch.tensor([[0.0], [1.0], [1.0], [1.0], [5.0], [5.0], [5.0]])  # 2 rows of 3
    assert resize_positional_embedding(rows, (2, 3), (2, 2)).flatten().tolist() == [0, 1, 1, 5, 5]
    assert resize_positional_embedding(rows.half(), (2, 3), (1, 1)).tolist() == [[0], [3]]


@pytest.mark.parametrize("shape", [(1, 32, 33, 3), (1, 31, 32, 3), (32, 32, 3), (1, 32, 32, 1), (32,)])
def test_refuses_photos_that_are_not_whole_patches(shape):
    expected = "photos_rgb must be (B, H, W, 3) uint8, with H and W multiples of 8, "
    with pytest.raises(ShapeError, match=re.escape(f"{expected}got {shape} uint8")):
        VitBackbone(tiny_visual()).encode(np.zeros(shape, np.uint8))
    with pytest.raises(ShapeError, match=re.escape(f"{expected}got (1, 8, 8, 3) float32")):
        VitBackbone(tiny_visual()).encode(np.zeros((1, 8, 8, 3), np.float32))
