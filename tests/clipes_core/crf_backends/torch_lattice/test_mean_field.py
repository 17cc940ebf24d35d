from dataclasses import fields

import pytest
import torch
from support.crf_cases import random_image
from support.torch_calls import torch_calls
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from clipes_core.crf_backends.torch_lattice.gaussian_kernels import bilateral_lattice, position_lattice
from clipes_core.crf_backends.torch_lattice.lattice import Lattice
from clipes_core.crf_backends.torch_lattice.mean_field import mean_field

SIZE = 11, 13


@pytest.fixture(scope="module")
def lattices():
    """Return a function that builds the lattices of B photos."""

    def lattices(batch):
        images = torch.from_numpy(random_image(*SIZE))[:, :, None].repeat(1, 1, batch, 1)
        return [position_lattice(SIZE, 1, 3, images.device), bilateral_lattice(images, 67, 3, 4)]

    return lattices


def on_fake_gpu(lattice):
    """Return the lattice with tensors without content on a GPU that need not exist; call this in FakeTensorMode."""
    tensors = (getattr(lattice, field.name) for field in fields(lattice))
    return Lattice(*(torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda") for tensor in tensors))


def test_without_kernels_the_posterior_is_the_softmax():
    logits = torch.tensor([[0.0, 1.0], [-2.0, 0.5]])
    expected = torch.cat([torch.zeros(2, 1), logits], dim=1).softmax(dim=1)
    assert torch.allclose(mean_field(logits, [], 3), expected)


@pytest.mark.parametrize("labels", [2, 3, 21])
def test_the_host_never_waits_for_the_gpu_during_the_iterations(lattices, labels):
    """In FakeTensorMode, every read of a value by the host is an error."""
    built = lattices(2)
    with FakeTensorMode():
        logits = torch.empty((*SIZE, 2, labels - 1), device="cuda")
        posterior = mean_field(logits, [on_fake_gpu(lattice) for lattice in built], 10)
        assert (posterior.shape, posterior.device.type) == ((*SIZE, 2, labels), "cuda")
        with pytest.raises(DataDependentOutputException):
            posterior.sum().item()


def test_the_number_of_operations_depends_neither_on_the_photos_nor_on_the_labels(lattices):
    logits = {(batch, labels): torch.zeros(*SIZE, batch, labels - 1) for batch, labels in ((1, 2), (3, 2), (3, 9))}
    counts = {torch_calls(mean_field, each, lattices(batch), 4).count for (batch, _), each in logits.items()}
    assert len(counts) == 1
