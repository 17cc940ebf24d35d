import numpy as np
import pytest
import torch
from support.crf_cases import random_image

from clipes_core.crf_backends.lattice.gaussian_kernels import bilateral_kernel
from clipes_core.crf_backends.lattice.gaussian_kernels import position_lattice as numba_position_lattice
from clipes_core.crf_backends.torch_lattice.gaussian_kernels import bilateral_lattice, most_photos, position_lattice
from clipes_core.errors import PhotoError

SIZE = 21, 30
CPU = torch.device("cpu")


def filtered_by_numba(kernel, channel):
    """Return an (H, W) channel after a filter that scans it by columns."""
    columns = np.ascontiguousarray(channel.numpy().T).reshape(-1)
    result = np.empty_like(columns)
    kernel.filter(columns, np.zeros_like(columns), result)
    return result.reshape(channel.shape[::-1]).T


@pytest.fixture(scope="module")
def channel():
    return torch.rand(SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("xy_std", [0.5, 1, 3])
def test_positions_are_filtered_as_by_the_numba_kernels(channel, xy_std):
    own = position_lattice(SIZE, xy_std, 3, CPU).filter(channel)
    expected = filtered_by_numba(numba_position_lattice(*SIZE[::-1], xy_std, 3), channel)
    assert own.numpy() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("rgb_std", [3, 30])
def test_colours_are_filtered_as_by_the_numba_kernels(channel, rgb_std):
    image = random_image(*SIZE) // 8
    own = bilateral_lattice(torch.from_numpy(image)[:, :, None], 67, rgb_std, 4).filter(channel)
    expected = filtered_by_numba(bilateral_kernel(image, 67, rgb_std, 4), channel)
    assert own.numpy() == pytest.approx(expected, abs=2e-6)


def test_each_photo_of_a_lattice_is_filtered_as_if_it_were_alone(channel):
    images = [
        torch.from_numpy(image) for image in (random_image(*SIZE), random_image(*SIZE) // 8, np.zeros((*SIZE, 3)))
    ]
    images = torch.stack([image.to(torch.uint8) for image in images], dim=2)
    channels = torch.stack([channel, 1 - channel, channel * channel], dim=2)
    together = bilateral_lattice(images, 67, 3, 4).filter(channels)
    for photo in range(3):
        alone = bilateral_lattice(images[:, :, photo, None], 67, 3, 4).filter(channels[:, :, photo].contiguous())
        assert torch.equal(together[:, :, photo], alone)


def test_fewer_photos_share_a_lattice_if_their_keys_are_long():
    assert most_photos((375, 500), 67, 3) > 1000
    assert most_photos((1500, 2000), 67, 0.7) > 100
    assert most_photos((40, 40), 0.3, 0.12) == 14
    with pytest.raises(PhotoError, match=r"needs more than 2\^62 cells"):
        most_photos((4, 2000), 0.1, 0.1)
