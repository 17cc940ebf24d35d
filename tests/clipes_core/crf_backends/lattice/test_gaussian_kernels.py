import numpy as np
import pytest

from clipes_core.crf_backends.lattice.filters import channel_type
from clipes_core.crf_backends.lattice.gaussian_kernels import position_kernel, position_lattice


@pytest.mark.parametrize(
    "size", [(2, 1), (2, 2), (3, 7), (16, 5), (31, 40), (5, 200), (200, 5), (300, 90), (5000, 60)], ids=str
)
@pytest.mark.parametrize("lanes", [1, 2, 4, 8])
def test_the_grid_equals_the_lattice(size, lanes):
    """The tolerance is below the effect of how the lattice rounds its weights."""
    channels = np.random.default_rng(0).standard_normal((size[0] * size[1], lanes)).astype(np.float32)
    elements = channels.view(channel_type(lanes)).ravel()
    on_grid, on_lattice = np.zeros_like(elements), np.zeros_like(elements)

    position_kernel(*size, lanes, 1, 3).filter(elements, on_grid, on_grid)
    position_lattice(*size, 1, 3).filter(elements, on_lattice, on_lattice)

    assert on_grid.view(np.float32) == pytest.approx(on_lattice.view(np.float32), abs=3e-6)


def test_a_constant_channel_is_scaled_by_the_weight_of_the_kernel():
    """The symmetric normalisation keeps a constant inside a photo; at its border, the norm of the pixels varies."""
    ones, filtered = np.ones(60 * 50, np.float32), np.zeros(60 * 50, np.float32)
    position_kernel(60, 50, 1, 2, 5).filter(ones, filtered, filtered)
    assert filtered.reshape(60, 50)[20:40, 20:30] == pytest.approx(np.full((20, 10), 5), rel=0.02)


def test_the_filtered_channels_are_added_to_the_base():
    channels = np.random.default_rng(1).standard_normal(12).astype(np.float32)
    base = np.full(12, 7, np.float32)
    for kernel in (position_kernel(3, 4, 1, 1, 3), position_lattice(3, 4, 2, 3)):
        alone, added, in_place = np.zeros(12, np.float32), np.empty(12, np.float32), base.copy()
        kernel.filter(channels, alone, alone)
        kernel.filter(channels, base, added)
        kernel.filter(channels, in_place, in_place)
        assert added - alone == pytest.approx(np.full(12, 7), abs=1e-5)
        assert np.array_equal(added, in_place)
        assert (base == 7).all()
