"""Kernels that handle all channels of a pixel or vertex at once: splat, blur, slice and softmax.

An array of channels has one element for each pixel or vertex: a float32, or a record of several float32 values, the
lanes. `load` and `store` move an element between an array and a variable. For a record, the variable is a vector of the
processor, and one instruction adds or multiplies all lanes. Each kernel thus serves any number of lanes.

All kernels that use vectors are in this file, because numba's cache notices only changes in a kernel's own file.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, overload, register_model

from clipes_core.crf_backends.lattice.compilation import kernel

LOWEST_EXPONENT = np.float32(-50)  # e^-50 is about 2e-22, far below the resolution of a float32 probability
FOUR_LANES = np.dtype([(name, np.float32) for name in ("one", "two", "three", "four")])
BLOCK = 256  # pixels whose exponentials `softmax` computes together

Made = tuple[Any, Callable[..., Any]]  # the signature of an intrinsic, and the function that writes its instructions


def channel_type(lanes: int) -> np.dtype:
    """Return the type of an element with this number of lanes."""
    return np.dtype(np.float32) if lanes == 1 else np.dtype([("lanes", np.float32, (lanes,))])


class Lanes(types.Type):
    """The numba type of a vector of float32 values."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(f"Lanes({count})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, ir.VectorType(ir.FloatType(), lanes.count))


def _element(array: Any) -> Any:
    """Return the numba type of a variable that holds an element of an array of channels."""
    return types.float32 if array.dtype == types.float32 else Lanes(array.dtype.size // 4)


def _pointer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array, element = signature.args[0], _element(signature.args[0])
    data = context.make_array(array)(context, builder, args[0]).data
    index = context.cast(builder, args[1], signature.args[1], types.uint64)
    first_lane = builder.mul(index, ir.Constant(index.type, getattr(element, "count", 1)))
    address = builder.gep(builder.bitcast(data, ir.FloatType().as_pointer()), [first_lane])
    return builder.bitcast(address, context.get_value_type(element).as_pointer())


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Made:
    """Return an element of a contiguous array of channels; the index counts through all axes."""

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_pointer(context, builder, signature, args), align=4)

    return _element(array)(array, index), make


@intrinsic
def store(typing: Any, array: Any, index: Any, value: Any) -> Made:
    """Write an element of a contiguous array of channels; the index counts through all axes."""

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _pointer(context, builder, signature, args), align=4)
        return context.get_dummy_value()

    return types.void(array, index, _element(array)), make


@intrinsic
def _broadcast(typing: Any, scalar: Any, lanes: Any) -> Made:
    """Return a vector like `lanes` with the scalar in all lanes."""

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector, number = args[1].type, ir.IntType(32)
        first = builder.insert_element(ir.Constant(vector, ir.Undefined), args[0], ir.Constant(number, 0))
        everywhere = ir.Constant(ir.VectorType(number, vector.count), [0] * vector.count)
        return builder.shuffle_vector(first, first, everywhere)

    return lanes(scalar, lanes), make


def _define_operator(instruction: str) -> None:
    """Make + (fadd) or * (fmul) apply to two vectors, or to a float32 and a vector."""

    @intrinsic
    def operate(typing: Any, left: Any, right: Any) -> Made:
        def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, instruction)(*args, flags=("fast",))

        return right(left, right), make

    @overload(operator.add if instruction == "fadd" else operator.mul, strict=False)
    def apply(left: Any, right: Any) -> Callable[..., Any] | None:
        if isinstance(right, Lanes) and left == right:
            return lambda left, right: operate(left, right)
        if isinstance(right, Lanes) and left == types.float32:
            return lambda left, right: operate(_broadcast(left, right), right)
        return None


_define_operator("fadd")
_define_operator("fmul")


def _reduction(name: str, lanes: Any, *start: float) -> Made:
    """Return an intrinsic that merges all lanes of a vector into one float32."""

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scalar, vector = ir.FloatType(), args[0].type
        kind = ir.FunctionType(scalar, [*[scalar] * len(start), vector])
        merge = builder.module.declare_intrinsic(f"llvm.vector.reduce.{name}.v{vector.count}f32", fnty=kind)
        return builder.call(merge, [*(ir.Constant(scalar, value) for value in start), args[0]], fastmath=("fast",))

    return types.float32(lanes), make


@intrinsic
def _largest(typing: Any, lanes: Any) -> Made:
    return _reduction("fmax", lanes)


@intrinsic
def _total(typing: Any, lanes: Any) -> Made:
    return _reduction("fadd", lanes, 0.0)


@kernel
def splat(numbers: np.ndarray, weights: np.ndarray, channels: np.ndarray, values: np.ndarray) -> None:
    """Set the values of the vertices to the weighted sums of the channels of the pixels around them.

    Args:
        numbers: (W, vertices, H) uint32, the vertices of each pixel.
        weights: (W, vertices, H) float32.
        channels: (W * H,) elements.
        values: (1 + M,) elements; receives the sums.
    """
    width, vertices, height = numbers.shape
    nothing = np.float32(0) * load(channels, 0)
    for vertex in range(len(values)):
        store(values, vertex, nothing)
    for x in range(width):
        for k in range(vertices):
            for y in range(height):
                vertex = numbers[x, k, y]
                store(values, vertex, load(values, vertex) + weights[x, k, y] * load(channels, x * height + y))


@kernel
def blur(values: np.ndarray, vertices: np.ndarray, runs: np.ndarray) -> None:
    """Blur along each axis in turn: to each vertex, add half of its two neighbours.

    Args:
        values: (1 + M,) elements; become the blurred values.
        vertices: uint32, the vertices of the chains.
        runs: (runs, 2) int64, the lengths of chains and how many chains of a length follow each other.
    """
    half = np.float32(0.5)
    start = np.uint64(0)
    for run in range(len(runs)):
        length = np.uint64(runs[run, 0])
        stop = start + length * np.uint64(runs[run, 1])
        if length == 2:  # a third of the chains; the general loop would be slower
            while start < stop:
                one, two = vertices[start], vertices[start + np.uint64(1)]
                first, second = load(values, one), load(values, two)
                store(values, one, first + half * second)
                store(values, two, second + half * first)
                start += length
        while start < stop:
            vertex = vertices[start]
            here = load(values, vertex)
            before = np.float32(0) * here
            for i in range(start + np.uint64(1), start + length):
                after = load(values, vertices[i])
                store(values, vertex, here + half * (before + after))
                before, here, vertex = here, after, vertices[i]
            store(values, vertex, here + half * before)
            start += length


@kernel
def slice_onto(
    numbers: np.ndarray, weights: np.ndarray, values: np.ndarray, base: np.ndarray, result: np.ndarray
) -> None:
    """Set each pixel of the result to the base plus the weighted sum of the values of the pixel's vertices.

    Args:
        numbers: (W, vertices, H) uint32, the vertices of each pixel.
        weights: (W, vertices, H) float32.
        values: (1 + M,) elements.
        base: (W * H,) elements; may be the result itself.
        result: (W * H,) elements.
    """
    width, vertices, height = numbers.shape
    for x in range(width):
        for y in range(height):
            pixel = x * height + y
            store(result, pixel, load(base, pixel) + weights[x, 0, y] * load(values, numbers[x, 0, y]))
        for k in range(1, vertices):
            for y in range(height):
                pixel = x * height + y
                part = weights[x, k, y] * load(values, numbers[x, k, y])
                store(result, pixel, load(result, pixel) + part)


@kernel
def _exp(x: np.float32) -> np.float32:
    """Return e^x for x <= 0, with a relative error of about 2e-7; e^LOWEST_EXPONENT if x is lower."""
    x = max(x, LOWEST_EXPONENT)
    # x = power * ln(2) + rest, with |rest| <= ln(2) / 2; the conversion to an integer rounds positive numbers down
    power = np.int32(np.int32(x * np.float32(1.4426950408889634) + np.float32(126.5)) - 126)
    rest = x - np.float32(power) * np.float32(0.6931471805599453)
    series = np.float32(1 / 720)
    series = series * rest + np.float32(1 / 120)
    series = series * rest + np.float32(1 / 24)
    series = series * rest + np.float32(1 / 6)
    series = series * rest + np.float32(0.5)
    series = series * rest + np.float32(1)
    series = series * rest + np.float32(1)
    return series * np.int32((power + 127) << 23).view(np.float32)


@kernel
def _exp_all(x: np.ndarray, result: np.ndarray) -> None:
    """Write the exponentials of (n,) float32 into another array."""
    for i in range(len(x)):
        result[i] = _exp(x[i])


@kernel
def two_label_softmax(logits: np.ndarray, subtract: np.float32, probs: np.ndarray, first: np.ndarray) -> None:
    """Compute the softmax of two labels. The arguments are those of `softmax`, as (W * H,) float32.

    If both labels have the same logit, their difference is exactly 0, because the next iterations multiply it.
    """
    for pixel in range(len(first)):
        logit = logits[pixel]
        small = _exp(-abs(logit))
        more = np.float32(1) / (np.float32(1) + small)
        less, difference = small * more, (np.float32(1) - small) * more
        first[pixel] = less if logit > 0 else more
        if subtract > 0:
            probs[pixel] = difference if logit > 0 else -difference
        else:
            probs[pixel] = more if logit > 0 else less


@kernel
def three_label_softmax(logits: np.ndarray, subtract: np.float32, probs: np.ndarray, first: np.ndarray) -> None:
    """Compute the softmax of three labels. The arguments are those of `softmax`, as (W * H,) complex64."""
    for pixel in range(len(first)):
        one, two = logits[pixel].real, logits[pixel].imag
        top = max(max(one, two), np.float32(0))
        zero, one, two = _exp(-top), _exp(one - top), _exp(two - top)
        scale = np.float32(1) / (zero + one + two)
        first[pixel] = zero * scale
        zero *= subtract
        probs[pixel] = complex((one - zero) * scale, (two - zero) * scale)


@kernel
def five_label_softmax(logits: np.ndarray, subtract: np.float32, probs: np.ndarray, first: np.ndarray) -> None:
    """Compute the softmax of five labels. The arguments are those of `softmax`, as (W * H,) FOUR_LANES."""
    for pixel in range(len(first)):
        one, two, three, four = logits[pixel].one, logits[pixel].two, logits[pixel].three, logits[pixel].four
        top = max(max(max(one, two), max(three, four)), np.float32(0))
        zero = _exp(-top)
        one, two, three, four = _exp(one - top), _exp(two - top), _exp(three - top), _exp(four - top)
        scale = np.float32(1) / (zero + ((one + two) + (three + four)))
        first[pixel] = zero * scale
        zero *= subtract
        probs[pixel].one, probs[pixel].two = (one - zero) * scale, (two - zero) * scale
        probs[pixel].three, probs[pixel].four = (three - zero) * scale, (four - zero) * scale


@kernel
def softmax(
    logits: np.ndarray,
    subtract: np.float32,
    probs: np.ndarray,
    first: np.ndarray,
    exponents: np.ndarray,
    exponentials: np.ndarray,
) -> None:
    """Compute the softmax of label 0, which has logit 0, and the labels in the lanes.

    Args:
        logits: (groups, W * H) elements, logits relative to label 0.
        subtract: 1 to subtract the probability of label 0 from those of the other labels, or 0.
        probs: (groups, W * H) elements; receives the probabilities of the labels in the lanes.
        first: (W * H,) float32; receives the probability of label 0.
        exponents: (groups, BLOCK) elements, scratch.
        exponentials: (groups, BLOCK) elements, scratch.
    """
    groups, pixels = logits.shape
    top, zero = np.zeros(BLOCK, np.float32), np.zeros(BLOCK, np.float32)
    for start in range(0, pixels, BLOCK):
        count = min(BLOCK, pixels - start)
        for i in range(count):
            highest = np.float32(0)
            for group in range(groups):
                highest = max(highest, _largest(load(logits, group * pixels + start + i)))
            top[i] = -highest
            for group in range(groups):
                store(exponents, group * BLOCK + i, top[i] + load(logits, group * pixels + start + i))
        _exp_all(top, zero)
        _exp_all(exponents.reshape(-1).view(np.float32), exponentials.reshape(-1).view(np.float32))
        for i in range(count):
            whole = zero[i]
            for group in range(groups):
                whole += _total(load(exponentials, group * BLOCK + i))
            scale = np.float32(1) / whole
            first[start + i] = zero[i] * scale
            shift = -subtract * zero[i]  # of the exponential, so that the difference of equal labels is exactly 0
            for group in range(groups):
                store(probs, group * pixels + start + i, scale * (shift + load(exponentials, group * BLOCK + i)))
