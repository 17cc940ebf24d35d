import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from clipes_core.vit.split_linear import SplitLinear, split


def linear(width=48, out=32):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Linear(width, out).requires_grad_(False)


def inputs(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_a_number_is_split_into_two_of_eight_bits_each():
    numbers = torch.tensor([1.0, 1 + 2**-7, 1 + 2**-7 + 2**-12, -(1 + 2**-12), 0.0])
    rounded, rest = split(numbers)
    assert {rounded.dtype, rest.dtype} == {torch.bfloat16}
    assert rounded.tolist() == [1, 1 + 2**-7, 1 + 2**-7, -1, 0]
    assert rest.tolist() == [0, 0, 2**-12, -(2**-12), 0]


@pytest.mark.parametrize("shape", [(2, 7, 48), (5, 48)])
@torch.no_grad()
def test_the_result_is_a_hundred_times_as_accurate_as_one_product(shape):
    layer, given = linear(), inputs(*shape)
    exact = given.double() @ layer.weight.double().T + layer.bias.double()

    actual = SplitLinear(layer)(given)

    assert (actual.shape, actual.dtype) == (exact.shape, torch.float32)
    one_product = nn.functional.linear(given.bfloat16(), layer.weight.bfloat16(), layer.bias.bfloat16())
    assert 100 * (actual - exact).abs().max() < (one_product - exact).abs().max()


def test_with_autograd_the_layer_is_the_given_one():
    layer = linear()
    given = inputs(5, 48).requires_grad_()
    (gradient,) = torch.autograd.grad(SplitLinear(layer)(given).sum(), given)
    assert_allclose(gradient, layer.weight.sum(dim=0).expand(5, 48), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_setting_of_torch_is_restored_also_after_an_error():
    settings = torch.backends.mkldnn.matmul
    before = settings.fp32_precision
    layer = SplitLinear(linear())
    layer(inputs(5, 48))
    assert settings.fp32_precision == before
    with pytest.raises(RuntimeError):
        layer(inputs(5, 47))
    assert settings.fp32_precision == before
