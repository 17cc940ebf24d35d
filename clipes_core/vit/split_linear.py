"""A linear layer that multiplies bfloat16 numbers, and yet is as accurate as with float32."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

# torch's setting of the precision applies to the whole process, so only one thread at a time may change it.
_PRECISION = threading.Lock()


class SplitLinear(nn.Module):
    """A linear layer that computes its product as three products of bfloat16 numbers.

    The layer splits each input x = x1 + x2 and each weight w = w1 + w2 into bfloat16 numbers, where x2 and w2 are the
    remainders. It computes x1 w1 + x2 w1 + x1 w2, added up in float32, and leaves out x2 w2, which is about 2^-17 of
    the result. While autograd records, the layer computes one product in float32.

    Args:
        linear: float32 layer. The new layer shares its weight and bias.
    """

    rounded: torch.Tensor
    rest: torch.Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        rounded, rest = split(linear.weight.detach())
        self.register_buffer("rounded", rounded, persistent=False)
        self.register_buffer("rest", rest, persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the (..., out) float32 result for (..., in) float32 inputs."""
        if torch.is_grad_enabled():
            return F.linear(inputs, self.weight, self.bias)
        rounded, rest = split(inputs.flatten(0, -2))
        total = _product(rounded, self.rounded) + self.bias
        total += _product(rest, self.rounded)
        total += _product(rounded, self.rest)
        return total.unflatten(0, inputs.shape[:-1])


def split(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float32 numbers rounded to bfloat16, and the rounding errors, rounded to bfloat16 too."""
    rounded = numbers.bfloat16()
    return rounded, (numbers - rounded.float()).bfloat16()


def _product(rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the float32 product of (n, in) and (out, in) bfloat16 numbers, (n, out), added up in float32."""
    if rows.device.type == "cuda":
        return torch.mm(rows, weights.T, out_dtype=torch.float32)
    with _bfloat16_in_float32_products():
        return F.linear(rows.float(), weights.float())


@contextmanager
def _bfloat16_in_float32_products() -> Iterator[None]:
    """Let oneDNN multiply float32 numbers as bfloat16 numbers, if the processor can. torch on a CPU has no such call.

    The rounding to bfloat16 changes none of the numbers of this module, because they are bfloat16 numbers already. It
    would change the float32 products of other threads, so compute nothing else in this process meanwhile.
    """
    settings = cast(Any, torch.backends.mkldnn).matmul
    with _PRECISION:
        before = settings.fp32_precision
        settings.fp32_precision = "bf16"
        try:
            yield
        finally:
            settings.fp32_precision = before
