"""Kernels that handle all channels of a pixel or vertex at once: splat, blur, slice and softmax.

An array of channels has one element per pixel or vertex: a float32, or a record of several float32 values, the lanes.
`load` and `store` move an element between an array and a value. The value of a record is a vector of the machine, so
one addition or multiplication handles all lanes. The same kernel thus serves any number of lanes.
"""

import operator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from clipes_core.crf_backends.lattice.compilation import kernel

LOWEST_EXPONENT = np.float32(-50)  # e^-50 is about 2e-22, far below the resolution of a probability
BLOCK = 256  # pixels whose exponents are computed together


def channel_type(lanes: int) -> np.dtype:
    """Return the type of an element with this number of lanes."""
    return np.dtype(np.float32) if lanes == 1 else np.dtype([("lanes", np.float32, (lanes,))])


class Lanes(types.Type):
    """The numba type of a vector of float32 values."""

    def __init__(self, count):
        self.count = count
        super().__init__(f"Lanes({count})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, lanes):
        super().__init__(manager, lanes, ir.VectorType(ir.FloatType(), lanes.count))


def _element(array):
    return types.float32 if array.dtype == types.float32 else Lanes(array.dtype.size // 4)


def _pointer(context, builder, signature, args):
    array, element = signature.args[0], _element(signature.args[0])
    lanes = getattr(element, "count", 1)
    data = context.make_array(array)(context, builder, args[0]).data
    index = context.cast(builder, args[1], signature.args[1], types.uint64)
    floats = builder.bitcast(data, ir.FloatType().as_pointer())
    address = builder.gep(floats, [builder.mul(index, ir.Constant(index.type, lanes))])
    return builder.bitcast(address, context.get_value_type(element).as_pointer())


@intrinsic
def load(typing, array, index):
    """Return an element of a contiguous array of channels."""

    def make(context, builder, signature, args):
        return builder.load(_pointer(context, builder, signature, args), align=4)

    return _element(array)(array, index), make


@intrinsic
def store(typing, array, index, value):
    """Write an element of a contiguous array of channels."""

    def make(context, builder, signature, args):
        builder.store(args[2], _pointer(context, builder, signature, args), align=4)
        return context.get_dummy_value()

    return types.void(array, index, _element(array)), make


def _same_in_all_lanes(builder, value, vector):
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, first, zeros)


class _ScalarAndLanes(AbstractTemplate):
    def generic(self, args, kws):
        if len(args) == 2 and isinstance(args[1], Lanes) and args[0] in (types.float32, args[1]):
            return signature(args[1], *args)
        return None


infer_global(operator.add)(_ScalarAndLanes)
infer_global(operator.mul)(_ScalarAndLanes)


@lower_builtin(operator.add, Lanes, Lanes)
def _add_lanes(context, builder, signature, args):
    return builder.fadd(*args, flags=("fast",))


@lower_builtin(operator.add, types.Float, Lanes)
def _add_scalar(context, builder, signature, args):
    return builder.fadd(_same_in_all_lanes(builder, args[0], args[1].type), args[1], flags=("fast",))


@lower_builtin(operator.mul, types.Float, Lanes)
def _scale_lanes(context, builder, signature, args):
    return builder.fmul(_same_in_all_lanes(builder, args[0], args[1].type), args[1], flags=("fast",))


def _reduction(name, lanes, *start):
    """Return the signature and the code of an operation that merges all lanes of a vector."""

    def make(context, builder, signature, args):
        vector = args[0].type
        kinds = [ir.FloatType()] * len(start) + [vector]
        function = builder.module.declare_intrinsic(
            f"llvm.vector.reduce.{name}.v{vector.count}f32", fnty=ir.FunctionType(ir.FloatType(), kinds)
        )
        constants = [ir.Constant(ir.FloatType(), value) for value in start]
        return builder.call(function, [*constants, args[0]], fastmath=("fast",))

    return types.float32(lanes), make


@intrinsic
def largest(typing, lanes):
    """Return the largest lane."""
    return _reduction("fmax", lanes)


@intrinsic
def total(typing, lanes):
    """Return the sum of the lanes."""
    return _reduction("fadd", lanes, 0.0)


@kernel
def splat(numbers, weights, channels, values):
    """Set the values of the vertices to the weighted sums of the channels of the pixels around them.

    Args:
        numbers: (W, vertices, H) uint32, the vertices of each pixel.
        weights: (W, vertices, H) float32.
        channels: (W * H,) elements.
        values: (M + 1,) elements; receives the sums. The last element stands for missing vertices and becomes 0.
    """
    width, vertices, height = numbers.shape
    nothing = np.float32(0) * load(values, 0)
    for vertex in range(len(values)):
        store(values, vertex, nothing)
    for x in range(width):
        for k in range(vertices):
            for y in range(height):
                vertex = numbers[x, k, y]
                store(values, vertex, load(values, vertex) + weights[x, k, y] * load(channels, x * height + y))


@kernel
def blur(values, following, preceding, blurred):
    """Blur along one axis: add half of the next and of the previous vertex to each vertex.

    Args:
        values: (M + 1,) elements; the last is 0.
        following: (M + 1,) uint32, the next vertex of each vertex, or M.
        preceding: (M + 1,) uint32, the previous vertex of each vertex, or M.
        blurred: (M + 1,) elements; receives the blurred values.
    """
    half = np.float32(0.5)
    for vertex in range(len(following)):
        around = load(values, following[vertex]) + load(values, preceding[vertex])
        store(blurred, vertex, load(values, vertex) + half * around)


@kernel
def add_slice(numbers, weights, values, channels):
    """Add to each pixel the weighted sum of the values of its vertices. The arguments are those of `splat`."""
    width, vertices, height = numbers.shape
    for x in range(width):
        for k in range(vertices):
            for y in range(height):
                pixel = x * height + y
                part = weights[x, k, y] * load(values, numbers[x, k, y])
                store(channels, pixel, load(channels, pixel) + part)


@kernel
def _exp(x):
    """Return e^x for x from LOWEST_EXPONENT to 0, with a relative error of about 1e-7."""
    x = max(x, LOWEST_EXPONENT)
    # x = power * ln(2) + rest, with |rest| <= ln(2) / 2
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
def two_label_softmax(logits, subtract, differences, first):
    """Compute the softmax of two labels. The arguments are those of `softmax`, with one channel."""
    for pixel in range(len(first)):
        logit = logits[pixel]
        small = _exp(-abs(logit))
        less = small / (np.float32(1) + small)
        more = np.float32(1) - less
        first[pixel] = less if logit > 0 else more
        differences[pixel] = (more if logit > 0 else less) - subtract * first[pixel]


@kernel
def softmax(logits, subtract, differences, first, exponents, plain_exponents):
    """Compute the softmax of label 0, which has logit 0, and the labels in the lanes.

    Args:
        logits: (groups, W * H) elements, logits relative to label 0.
        subtract: float32, 1 to subtract the probability of label 0 from the other probabilities, or 0.
        differences: (groups, W * H) elements; receives the probabilities of the labels in the lanes.
        first: (W * H,) float32; receives the probability of label 0.
        exponents: (groups, BLOCK) elements, scratch.
        plain_exponents: the same memory as (groups * BLOCK * lanes,) float32.
    """
    groups, pixels = logits.shape
    lanes = len(plain_exponents) // (groups * BLOCK)
    top = np.empty(BLOCK, np.float32)
    rest = np.empty(BLOCK, np.float32)
    for start in range(0, pixels, BLOCK):
        count = min(BLOCK, pixels - start)
        for i in range(count):
            highest = np.float32(0)
            for group in range(groups):
                highest = max(highest, largest(load(logits, group * pixels + start + i)))
            top[i] = -highest
            for group in range(groups):
                store(exponents, group * BLOCK + i, top[i] + load(logits, group * pixels + start + i))
        for i in range(count):
            rest[i] = _exp(top[i])
        for group in range(groups):
            for i in range(group * BLOCK * lanes, (group * BLOCK + count) * lanes):
                plain_exponents[i] = _exp(plain_exponents[i])
        for i in range(count):
            whole = rest[i]
            for group in range(groups):
                whole += total(load(exponents, group * BLOCK + i))
            scale = np.float32(1) / whole
            first[start + i] = rest[i] * scale
            shift = -subtract * rest[i] * scale
            for group in range(groups):
                store(differences, group * pixels + start + i, shift + scale * load(exponents, group * BLOCK + i))
