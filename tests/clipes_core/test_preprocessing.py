import numpy as np
import pytest
from PIL import Image

from clipes_core.preprocessing import limit_side, patch_grid, resize_to_patches


def test_a_photo_within_max_side_is_returned_itself():
    photo = Image.new("RGB", (30, 20))
    assert limit_side(photo, 30) is photo


@pytest.mark.parametrize(
    ("size", "max_side", "reduced"),
    [
        ((100, 50), 40, (40, 20)),
        ((50, 100), 40, (20, 40)),
        ((500, 375), 333, (333, 250)),
        ((2000, 3), 32, (32, 1)),
    ],
)
def test_a_longer_side_is_reduced_to_max_side(size, max_side, reduced):
    assert limit_side(Image.new("RGB", size), max_side).size == reduced


def test_photos_are_reduced_with_the_bicubic_filter_of_pil():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    expected = photo.resize((15, 10), Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(limit_side(photo, 15)), np.asarray(expected))


@pytest.mark.parametrize(
    ("size_hw", "patch_size", "scale", "grid"),
    [
        ((375, 500), 16, 1.0, (24, 32)),
        ((384, 512), 16, 1.0, (24, 32)),
        ((385, 512), 16, 1.0, (25, 32)),
        ((375, 500), 16, 0.5, (12, 16)),
        ((375, 500), 16, 1.5, (36, 47)),
        ((1, 2), 32, 1.0, (1, 1)),
    ],
)
def test_a_grid_covers_the_photo(size_hw, patch_size, scale, grid):
    assert patch_grid(size_hw, patch_size, scale) == grid


@pytest.mark.parametrize(
    ("scale", "size_hw"),
    [(0.5, (16, 8)), (1.0, (24, 16)), (1.5, (40, 24)), (0.01, (8, 8)), (2.0, (48, 32))],
)
def test_a_photo_is_scaled_before_its_sides_are_rounded_up_to_patches(scale, size_hw):
    # 24 x 16 px: half is 12 x 8, one and a half 36 x 24
    photo = Image.effect_noise((16, 24), 90).convert("RGB")
    expected = photo.resize(size_hw[::-1], Image.Resampling.BICUBIC)
    assert np.array_equal(resize_to_patches(photo, 8, scale), expected)


def test_a_photo_of_whole_patches_is_not_resized():
    photo = Image.new("RGB", (16, 24))
    assert resize_to_patches(photo, 8) is photo
    assert resize_to_patches(photo, 5).size == (20, 25)
