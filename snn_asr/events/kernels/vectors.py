"""The innermost loops of the event engine, written in the intermediate language of LLVM (numba's ``intrinsic``).

numba by itself does not compile these loops into vector instructions. The code runs on every processor, because LLVM
cuts vectors that are too wide for it in pieces. All arrays have to be contiguous, and positions count their elements as
if they were flat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from snn_asr.network.kernels.cpu.tiles import VECTOR_BYTES, multiply_add, splat

MASKED = 16  # the values that ``keep_nonzero`` looks at together
SINGLES = 4  # the single weights that are added together; each unit has a multiple of them, filled up with zeros
LEVEL_LANES = VECTOR_BYTES // np.dtype(np.int16).itemsize  # the int16 numbers of a vector
FLOAT_LANES = VECTOR_BYTES // np.dtype(np.float32).itemsize  # the float32 numbers of a vector
TOGETHER = 4  # the rows of float32 that are added together
_INTEGER, _SHORT, _WORD = ir.IntType(64), ir.IntType(16), ir.IntType(32)
_ONE = ir.Constant(_INTEGER, 1)


@intrinsic
def keep_nonzero(typingctx, values, start, index, sent, count):
    """Find the non-zero numbers among the MASKED ``values`` (float32) from ``start`` on.

    They are appended to the first ``count`` elements of ``sent``, and their places in ``values`` to those of ``index``
    (int32). Returns the new count.
    """
    def generate(context, builder, signature, arguments):
        floats, words = ir.VectorType(ir.FloatType(), MASKED), ir.VectorType(_WORD, MASKED)
        found = builder.load(_address(context, builder, signature, arguments, 0, 1, floats), align=4)
        kept = builder.fcmp_unordered("!=", found, ir.Constant(floats, [0.0] * MASKED))
        first = splat(builder, builder.trunc(arguments[1], _WORD), words)
        places = builder.add(first, ir.Constant(words, list(range(MASKED))))
        for array, vector, name in ((2, places, f"v{MASKED}i32"), (3, found, f"v{MASKED}f32")):
            target = builder.gep(data_of(context, builder, signature, arguments, array), [arguments[4]])
            shape = ir.FunctionType(ir.VoidType(), [vector.type, target.type, kept.type])
            store = cgutils.get_or_insert_function(builder.module, shape, f"llvm.masked.compressstore.{name}")
            builder.call(store, [vector, target, kept])
        number = builder.ctpop(builder.bitcast(kept, ir.IntType(MASKED)))
        return builder.add(arguments[4], builder.zext(number, _INTEGER))

    return types.int64(values, types.intp, index, sent, types.int64), generate


@intrinsic
def borrowed(typingctx, array):
    """The same array without numba's count of its users, so that it costs nothing to take parts of it.

    The caller has to keep the array alive.
    """
    def generate(context, builder, signature, arguments):
        taken = context.make_array(array)(context, builder, arguments[0])
        taken.meminfo = cgutils.get_null_value(taken.meminfo.type)
        return taken._getvalue()

    return array(array), generate


@intrinsic
def add_rows(typingctx, total, index, sent, count, weights, first):
    """total[k] += the sum over ``count`` events e of sent[e] · weights[first + index[e] · length + k], in float32.

    Each sum is one chain of multiply-adds in the order of the events. ``length`` is that of the total, a multiple of
    FLOAT_LANES. The total is read and written once for every TOGETHER events. Behind the last event the lists have to
    have enough events of value 0 to complete its group.
    """
    def generate(context, builder, signature, arguments):
        total, index, sent, weights = (data_of(context, builder, signature, arguments, each) for each in (0, 1, 2, 4))
        kind = ir.VectorType(ir.FloatType(), FLOAT_LANES)
        length = length_of(context, builder, signature, arguments, 0)
        origin = builder.gep(weights, [arguments[5]])
        step, none = ir.Constant(_INTEGER, FLOAT_LANES), ir.Constant(_INTEGER, 0)
        turn = ir.Constant(_INTEGER, TOGETHER)
        with cgutils.for_range_slice(builder, none, arguments[3], turn, inc=True) as (event, _):
            rows, factors = [], []
            for number in range(TOGETHER):
                place = builder.add(event, ir.Constant(_INTEGER, number))
                chosen = builder.sext(builder.load(builder.gep(index, [place])), _INTEGER)
                rows.append(builder.gep(origin, [builder.mul(chosen, length)]))
                factors.append(splat(builder, builder.load(builder.gep(sent, [place])), kind))
            with cgutils.for_range_slice(builder, none, length, step, inc=True) as (column, _):
                target = builder.bitcast(builder.gep(total, [column]), kind.as_pointer())
                added = builder.load(target, align=4)
                for row, factor in zip(rows, factors, strict=True):
                    given = builder.load(builder.bitcast(builder.gep(row, [column]), kind.as_pointer()), align=4)
                    added = multiply_add(builder, factor, given, added)
                builder.store(added, target, align=4)
        return context.get_dummy_value()

    return types.void(total, index, sent, types.intp, weights, types.intp), generate


def levels_adder(vectors: int, shifting: bool = False) -> Callable[..., Any]:
    """A compiled function that adds int8 rows, for a tile of ``vectors`` · LEVEL_LANES neighbouring columns.

    ``add(total, column, index, levels, begin, end, weights, first, length)`` computes, for all columns k of the tile
    that starts at ``column``,

        total[column + k] += the sum over the events e from ``begin`` to ``end`` of
                             levels[e] · weights[first + index[e] · length + column + k]

    where the total is int32, and levels and weights are int8. The sums stay in registers, and are 16 bits wide until
    all of these events are added. If levels are powers of two (``shifting``), weights are shifted instead of
    multiplied: the level 2^k is given as k, and -2^k as -1 - k.
    """
    def generate(context, builder, signature, arguments):
        short, wide = (ir.VectorType(each, LEVEL_LANES) for each in (_SHORT, _WORD))
        total, index, levels, weights = (data_of(context, builder, signature, arguments, each) for each in (0, 2, 3, 6))
        sums = [cgutils.alloca_once(builder, short) for _ in range(vectors)]
        for each in sums:
            builder.store(ir.Constant(short, [0] * LEVEL_LANES), each)
        origin = builder.gep(weights, [builder.add(arguments[7], arguments[1])])
        with cgutils.for_range_slice(builder, arguments[4], arguments[5], _ONE, inc=True) as (event, _):
            chosen = builder.sext(builder.load(builder.gep(index, [event])), _INTEGER)
            row = builder.gep(origin, [builder.mul(chosen, arguments[8])])
            factor = splat(builder, builder.sext(builder.load(builder.gep(levels, [event])), _SHORT), short)
            for number, each in enumerate(sums):
                given = _extended(builder, row, number * LEVEL_LANES, short)
                given = _shifted(builder, given, factor) if shifting else builder.mul(given, factor)
                builder.store(builder.add(builder.load(each), given), each)
        target = builder.gep(total, [arguments[1]])
        for number, each in enumerate(sums):
            place = builder.gep(target, [ir.Constant(_INTEGER, number * LEVEL_LANES)])
            place = builder.bitcast(place, wide.as_pointer())
            added = builder.add(builder.load(place, align=4), builder.sext(builder.load(each), wide))
            builder.store(added, place, align=4)
        return context.get_dummy_value()

    @intrinsic
    def add(typingctx, total, column, index, levels, begin, end, weights, first, length):
        given = (total, types.intp, index, levels, types.intp, types.intp, weights, types.intp, types.intp)
        return types.void(*given), generate

    return add


def blocks_adder(lanes: int) -> Callable[..., Any]:
    """A compiled function that adds blocks of ``lanes`` weights.

    ``add(total, value, places, begin, end, weights, first)`` computes total[places[b] + k] += value · weights[first +
    b · lanes + k] for the blocks b from ``begin`` to ``end`` and all k below ``lanes``.

    Single weights (``lanes`` 1) are taken in groups of SINGLES, so that their number has to be a multiple of it. Sums
    are float32 with float32 weights, and int32 with int8 weights, and ``value`` has their type. A value of type int8 is
    a shift as in ``levels_adder``.
    """
    def generate(context, builder, signature, arguments):
        total, places, weights = (data_of(context, builder, signature, arguments, each) for each in (0, 2, 5))
        kind, shifting = ir.VectorType(total.type.pointee, lanes), signature.args[1] == types.int8
        value = builder.sext(arguments[1], kind.element) if shifting else arguments[1]
        factor, whole = splat(builder, value, kind), isinstance(signature.args[0].dtype, types.Integer)
        origin, width = builder.gep(weights, [arguments[6]]), ir.Constant(_INTEGER, lanes)
        together = SINGLES if lanes == 1 else 1
        turn = ir.Constant(_INTEGER, together)
        with cgutils.for_range_slice(builder, arguments[3], arguments[4], turn, inc=True) as (begin, _):
            for number in range(together):
                block = builder.add(begin, ir.Constant(_INTEGER, number))
                row = builder.gep(origin, [builder.mul(block, width)])
                place = builder.zext(builder.load(builder.gep(places, [block])), _INTEGER)
                target = builder.bitcast(builder.gep(total, [place]), kind.as_pointer())
                before = builder.load(target, align=4)
                if whole:
                    given = _extended(builder, row, 0, kind)
                    given = _shifted(builder, given, factor) if shifting else builder.mul(given, factor)
                    after = builder.add(before, given)
                else:
                    given = builder.load(builder.bitcast(row, kind.as_pointer()), align=4)
                    after = multiply_add(builder, factor, given, before)
                builder.store(after, target, align=4)
        return context.get_dummy_value()

    @intrinsic
    def add(typingctx, total, value, places, begin, end, weights, first):
        given = (total, value, places, types.intp, types.intp, weights, types.intp)
        return types.void(*given), generate

    return add


def length_of(context, builder, signature, arguments, place):
    """The length of the argument at ``place``, an array of one dimension."""
    array = context.make_array(signature.args[place])(context, builder, arguments[place])
    return builder.extract_value(array.shape, 0)


def data_of(context, builder, signature, arguments, place):
    """The address of the first element of the argument at ``place``, an array."""
    return context.make_array(signature.args[place])(context, builder, arguments[place]).data


def _address(context, builder, signature, arguments, array, start, vector):
    """The address of a vector in an array; ``array`` and ``start`` are places among the arguments."""
    pointer = builder.gep(data_of(context, builder, signature, arguments, array), [arguments[start]])
    return builder.bitcast(pointer, vector.as_pointer())


def _shifted(builder, weights, factor):
    """Generate weights · 2^k for a factor k >= 0, and -weights · 2^k for the factor -1 - k, without a product.

    ``sign`` is 0 or -1, all bits set. An exclusive or with -1 turns -1 - k into k, and x into -x - 1.
    """
    sign = builder.ashr(factor, ir.Constant(factor.type, [factor.type.element.width - 1] * factor.type.count))
    shifted = builder.shl(weights, builder.xor(factor, sign))
    return builder.sub(builder.xor(shifted, sign), sign)


def _extended(builder, row, offset: int, kind: ir.VectorType):
    """Generate a vector of ``kind`` from as many int8 of the row, from ``offset`` on."""
    small = ir.VectorType(ir.IntType(8), kind.count)
    place = builder.gep(row, [ir.Constant(_INTEGER, offset)])
    return builder.sext(builder.load(builder.bitcast(place, small.as_pointer()), align=1), kind)
