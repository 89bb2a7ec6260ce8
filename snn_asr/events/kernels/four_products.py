"""Sums of int8 rows by the instruction that adds four products, each of an unsigned and a signed byte, to an int32.

Four rows are interleaved, so that the four weights of a column lie side by side. If no level is negative, as with most
coders, the levels are the unsigned bytes. Otherwise the weights are: 128 is added to each weight, and 128 times the
sum of the levels is subtracted at the end. The sums are whole numbers and exact. The sum of a column stays in a
register for all events, and is scaled before it is written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from snn_asr.events.kernels.vectors import FLOAT_LANES, TOGETHER, data_of, length_of
from snn_asr.network.kernels.cpu.tiles import VECTOR_BYTES, splat

CHUNKS = 4  # CHUNKS · VECTOR_BYTES columns are added up together, if a row is long enough
# Whether the processor has this instruction for vectors of VECTOR_BYTES.
FOUR_PRODUCTS = binding.get_host_cpu_features().get("avx512vnni" if VECTOR_BYTES == 64 else "avxvnni", False)
_BYTE, _WORD, _INTEGER = ir.IntType(8), ir.IntType(32), ir.IntType(64)


def levels_in_fours(negative: bool) -> Callable[..., Any]:
    """A compiled function that adds up int8 rows; ``negative`` says whether levels may be negative.

    ``add(total, index, levels, count, weights, first, unit, scales)`` computes total[k] (float32) = unit · scales[k] ·
    the sum over ``count`` events e of levels[e] · weights[first + index[e] · length + k], where levels and weights are
    int8. ``length`` is that of the total, a multiple of VECTOR_BYTES. Behind the last event the levels have to have
    enough zeros to complete its group of TOGETHER events.
    """
    def generate(context, builder, signature, arguments):
        data = [data_of(context, builder, signature, arguments, each) for each in (0, 1, 2, 4, 7)]
        length = length_of(context, builder, signature, arguments, 0)
        pointers = *data[:3], builder.gep(data[3], [arguments[5]]), data[4]
        end = builder.sub(length, builder.urem(length, ir.Constant(_INTEGER, CHUNKS * VECTOR_BYTES)))
        for chunks, start, stop in ((CHUNKS, ir.Constant(_INTEGER, 0), end), (1, end, length)):
            step = ir.Constant(_INTEGER, chunks * VECTOR_BYTES)
            with cgutils.for_range_slice(builder, start, stop, step, inc=True) as (column, _):
                _columns(builder, chunks, column, length, arguments[3], arguments[6], pointers, negative)
        return context.get_dummy_value()

    @intrinsic
    def add(typingctx, total, index, levels, count, weights, first, unit, scales):
        given = (total, index, levels, types.intp, weights, types.intp, types.float32, scales)
        return types.void(*given), generate

    return add


def _columns(builder, chunks, column, length, count, unit, pointers, negative):
    """Generate the sums of ``chunks`` · VECTOR_BYTES columns of ``levels_in_fours``, from ``column`` on."""
    total, index, levels, origin, scales = pointers
    words, bytes_each = ir.VectorType(_WORD, FLOAT_LANES), ir.VectorType(_BYTE, VECTOR_BYTES)
    shape = ir.FunctionType(words, [words] * 3)
    product = cgutils.get_or_insert_function(builder.module, shape, f"llvm.x86.avx512.vpdpbusd.{8 * VECTOR_BYTES}")
    turned = ir.Constant(bytes_each, [-128] * VECTOR_BYTES)  # an exclusive or with the highest bit adds 128
    sums = [cgutils.alloca_once(builder, words) for _ in range(chunks * TOGETHER + 1)]
    for each in sums:
        builder.store(ir.Constant(words, [0] * FLOAT_LANES), each)

    def multiply(place, unsigned, signed):
        given = (builder.bitcast(each, words) for each in (unsigned, signed))
        builder.store(builder.call(product, [builder.load(place), *given]), place)

    turn = ir.Constant(_INTEGER, TOGETHER)
    with cgutils.for_range_slice(builder, ir.Constant(_INTEGER, 0), count, turn, inc=True) as (event, _):
        rows = []
        for number in range(TOGETHER):
            place = builder.add(event, ir.Constant(_INTEGER, number))
            chosen = builder.sext(builder.load(builder.gep(index, [place])), _INTEGER)
            rows.append(builder.gep(origin, [builder.add(builder.mul(chosen, length), column)]))
        four = builder.bitcast(builder.gep(levels, [event]), _WORD.as_pointer())
        factor = splat(builder, builder.load(four, align=1), words)
        for chunk in range(chunks):
            places = [builder.gep(row, [ir.Constant(_INTEGER, chunk * VECTOR_BYTES)]) for row in rows]
            found = [builder.load(builder.bitcast(each, bytes_each.as_pointer()), align=1) for each in places]
            if negative:
                found = [builder.xor(each, turned) for each in found]
            for each, mixed in zip(sums[chunk * TOGETHER :], _interleave(builder, *found), strict=False):
                multiply(each, *((mixed, factor) if negative else (factor, mixed)))
        if negative:
            multiply(sums[-1], turned, factor)
    added, floats = builder.load(sums[-1]), ir.VectorType(ir.FloatType(), FLOAT_LANES)
    for chunk in range(chunks):
        mixed = [builder.sub(builder.load(each), added) for each in sums[chunk * TOGETHER : (chunk + 1) * TOGETHER]]
        for number, whole in enumerate(_in_order(builder, mixed)):
            first = builder.add(column, ir.Constant(_INTEGER, chunk * VECTOR_BYTES + number * FLOAT_LANES))
            scale = builder.load(builder.bitcast(builder.gep(scales, [first]), floats.as_pointer()), align=4)
            scale = builder.fmul(splat(builder, unit, floats), scale)
            target = builder.bitcast(builder.gep(total, [first]), floats.as_pointer())
            builder.store(builder.fmul(builder.sitofp(whole, floats), scale), target, align=4)


def _interleave(builder, first, second, third, fourth):
    """Generate four vectors in which the bytes of one column, one from each of four rows, lie side by side.

    In every 16 bytes of vector v (0 to 3) there are the columns 4 v to 4 v + 3 of the same 16 bytes of the rows.
    """
    pairs = [_halves(builder, first, second, 1), _halves(builder, third, fourth, 1)]
    return [each for half in (0, 1) for each in _halves(builder, pairs[0][half], pairs[1][half], 2)]


def _halves(builder, left, right, unit):
    """Generate two vectors with groups of ``unit`` bytes from ``left`` and ``right`` in turn.

    The first has the groups of the lower half of every 16 bytes, and the second those of the upper half.
    """
    def half(offset):
        starts = range(0, VECTOR_BYTES, 16)
        places = [
            side + start + offset + first + byte
            for start in starts for first in range(0, 8, unit) for side in (0, VECTOR_BYTES) for byte in range(unit)
        ]
        return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(_WORD, VECTOR_BYTES), places))

    return half(0), half(8)


def _in_order(builder, mixed):
    """Generate the sums of the vectors of ``_interleave`` in the order of their columns."""
    double = ir.VectorType(_WORD, 2 * FLOAT_LANES)
    both = [
        builder.shuffle_vector(left, right, ir.Constant(double, list(range(2 * FLOAT_LANES))))
        for left, right in (mixed[:2], mixed[2:])
    ]
    for start in range(0, VECTOR_BYTES, FLOAT_LANES):
        columns = range(start, start + FLOAT_LANES)
        places = [column % 16 // 4 * FLOAT_LANES + column // 16 * 4 + column % 4 for column in columns]
        yield builder.shuffle_vector(*both, ir.Constant(ir.VectorType(_WORD, FLOAT_LANES), places))
