"""The innermost loops of the event engine in LLVM's own terms, where numba's vectoriser finds no vectors by itself.

What is written here is the same on every processor: LLVM cuts vectors that are too wide for it in pieces. Arrays are
contiguous and numbered as if they were flat.
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

MASKED = 16  # values that ``keep_nonzero`` looks at
SINGLES = 4  # single weights that are added in a turn: a unit has a multiple of them, filled up with zeros
LEVEL_LANES = VECTOR_BYTES // np.dtype(np.int16).itemsize  # levels of one vector, and the int8 weights for them
FLOAT_LANES = VECTOR_BYTES // np.dtype(np.float32).itemsize
TOGETHER = 4  # rows of float32 that are added in a turn
_INTEGER, _SHORT, _WORD = ir.IntType(64), ir.IntType(16), ir.IntType(32)
_ONE = ir.Constant(_INTEGER, 1)


@intrinsic
def keep_nonzero(typingctx, values, start, index, sent, count):
    """Write those of the MASKED values from ``start`` on (float32) that are not zero behind the first ``count`` of
    ``sent``, and their places to ``index`` (int32); return how many are there then."""
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
    """The same array without a count of who uses it: parts of it cost nothing to take. The caller keeps it alive."""
    def generate(context, builder, signature, arguments):
        taken = context.make_array(array)(context, builder, arguments[0])
        taken.meminfo = cgutils.get_null_value(taken.meminfo.type)
        return taken._getvalue()

    return array(array), generate


@intrinsic
def add_rows(typingctx, total, index, sent, count, weights, first):
    """total[k] += sum over ``count`` events e of sent[e] · weights[first + index[e] length + k], all float32.

    Each sum is one chain of multiply-adds in the order of the events. ``length`` is that of the total, a multiple of
    FLOAT_LANES. TOGETHER events are added in a turn, for which the total is read and written once: behind the last
    event the lists have as many of value 0 as fill its turn.
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
    """``add(total, column, index, levels, begin, end, weights, first, length)`` for a tile of ``vectors`` times
    LEVEL_LANES columns: total[column + k] (int32) += sum over the events e from ``begin`` to ``end`` of levels[e]
    (int8) · weights[first + index[e] length + column + k] (int8).

    The sums stay in registers, and those of the events given are added in 16 bits before they are widened. Where levels
    are powers of two, ``shifting``, weights are shifted and added: a level 2^k is given as k, -2^k as -1 - k.
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


def blocks_adder(lanes: int, shifting: bool = False) -> Callable[..., Any]:
    """``add(total, value, places, begin, end, weights, first)``: total[places[b] + k] += value · weights[first + b
    lanes + k] for the blocks b from ``begin`` to ``end`` and k below ``lanes``.

    Single weights are taken SINGLES at a turn, of which there is a multiple. Sums are of the kind of ``value``: float32
    with float32 weights, int32 with int8 weights, which are shifted where the value is one of ``levels_adder``'s.
    """
    def generate(context, builder, signature, arguments):
        total, places, weights = (data_of(context, builder, signature, arguments, each) for each in (0, 2, 5))
        kind = ir.VectorType(context.get_data_type(signature.args[1]), lanes)
        factor, whole = splat(builder, arguments[1], kind), isinstance(signature.args[1], types.Integer)
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
    """Of an array of one dimension."""
    array = context.make_array(signature.args[place])(context, builder, arguments[place])
    return builder.extract_value(array.shape, 0)


def data_of(context, builder, signature, arguments, place):
    return context.make_array(signature.args[place])(context, builder, arguments[place]).data


def _address(context, builder, signature, arguments, array, start, vector):
    pointer = builder.gep(data_of(context, builder, signature, arguments, array), [arguments[start]])
    return builder.bitcast(pointer, vector.as_pointer())


def _shifted(builder, given, factor):
    """given · 2^k for a factor k, -given · 2^k for -1 - k, without a product: all bits of a negative number are those
    of a positive one turned, and one more."""
    sign = builder.ashr(factor, ir.Constant(factor.type, [factor.type.element.width - 1] * factor.type.count))
    shifted = builder.shl(given, builder.xor(factor, sign))
    return builder.sub(builder.xor(shifted, sign), sign)


def _extended(builder, row, offset: int, kind: ir.VectorType):
    """So many int8 from ``offset`` on, widened to the vector's kind."""
    small = ir.VectorType(ir.IntType(8), kind.count)
    place = builder.gep(row, [ir.Constant(_INTEGER, offset)])
    return builder.sext(builder.load(builder.bitcast(place, small.as_pointer()), align=1), kind)
