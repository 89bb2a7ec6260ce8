"""Products of pruned weights, summed output by output.

This way is for features. They are hardly ever zero, so that skipping the rows of zeros would gain nothing.

Sixteen outputs, one for each lane of a vector, are summed side by side, each over the units whose weight is not zero.
The values of the units lie in two registers of the processor, as a table of REACH units at a time. One instruction
looks up the values that the lanes ask for, and the next one multiplies and adds. The work therefore grows with the
number of weights that pruning has left; besides, lanes with few weights are filled up with zeros while they wait for
lanes with many.

The weights are stored in steps. A step is a vector of weights, with a byte for each that says which unit of the table
it belongs to: one weight of every lane in float32, and four in int8, because an instruction adds up four products. The
steps of a group of lanes and a table follow the order of the units, so that in float32 a sum is the same chain of
multiply-adds as with rows, bit for bit.
"""

from __future__ import annotations

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from snn_asr.events.kernels.four_products import FOUR_PRODUCTS
from snn_asr.events.kernels.vectors import FLOAT_LANES, data_of, length_of
from snn_asr.network.kernels.cpu.tiles import VECTOR_BYTES, multiply_add, splat

REACH = {"float32": 2 * FLOAT_LANES, "int8": 2 * VECTOR_BYTES}  # the units of a table, which fills two registers
DEPTH = {"float32": 1, "int8": 4}  # the weights of an output in a step
# Whether the processor has instructions that look up bytes and numbers in two registers.
LOOKS_UP = VECTOR_BYTES == 64 and FOUR_PRODUCTS and binding.get_host_cpu_features().get("avx512vbmi", False)
UNSIGNED = np.int8(-128)  # the bits of 128, which is added to int8 levels, as the instruction takes unsigned bytes
_BYTE, _WORD, _INTEGER = ir.IntType(8), ir.IntType(32), ir.IntType(64)


@intrinsic
def sum_floats(typingctx, total, table, tables, starts, places, weights, first):
    """total[k] = the sum over the units u of table[u] · the weight from u to k, in float32.

    ``places`` hold, from ``starts`` on, the first step of each group of outputs and of each of its ``tables``, then the
    end of the last one, and then the units of all steps. The weights begin at ``first``. On a processor that cannot
    look up (LOOKS_UP) it does nothing.
    """
    def generate(context, builder, signature, arguments):
        if not LOOKS_UP:
            return context.get_dummy_value()
        total, table, places, weights = (data_of(context, builder, signature, arguments, each) for each in (0, 1, 4, 5))
        floats, words = ir.VectorType(ir.FloatType(), FLOAT_LANES), ir.VectorType(_WORD, FLOAT_LANES)
        shape = ir.FunctionType(floats, [floats, words, floats])
        look_up = cgutils.get_or_insert_function(builder.module, shape, "llvm.x86.avx512.vpermi2var.ps.512")
        origin = builder.gep(weights, [arguments[6]])

        def step(low, high, units, number, sums):
            chosen = builder.zext(units, words)
            found = builder.call(look_up, [low, chosen, high])
            place = builder.gep(origin, [builder.mul(number, ir.Constant(_INTEGER, FLOAT_LANES))])
            given = builder.load(builder.bitcast(place, floats.as_pointer()), align=4)
            builder.store(multiply_add(builder, found, given, builder.load(sums[0])), sums[0])

        def finish(column, sums):
            target = builder.bitcast(builder.gep(total, [column]), floats.as_pointer())
            builder.store(builder.load(sums[0]), target, align=4)

        columns = length_of(context, builder, signature, arguments, 0)
        _steps(builder, (columns, arguments[2], arguments[3]), table, places, floats, [floats], step, finish)
        return context.get_dummy_value()

    return types.void(total, table, types.intp, types.intp, places, weights, types.intp), generate


@intrinsic
def sum_levels(typingctx, total, table, tables, starts, places, weights, first, unit, scales):
    """The same with levels and weights in int8: total[k] = unit · scales[k] · the sum.

    In the table every level is combined with UNSIGNED by an exclusive or, which adds 128 to it.
    """
    def generate(context, builder, signature, arguments):
        if not LOOKS_UP:
            return context.get_dummy_value()
        total, table, places, weights, scales = (
            data_of(context, builder, signature, arguments, each) for each in (0, 1, 4, 5, 8)
        )
        small, words = ir.VectorType(_BYTE, VECTOR_BYTES), ir.VectorType(_WORD, FLOAT_LANES)
        floats = ir.VectorType(ir.FloatType(), FLOAT_LANES)
        shape = ir.FunctionType(small, [small] * 3)
        look_up = cgutils.get_or_insert_function(builder.module, shape, "llvm.x86.avx512.vpermi2var.qi.512")
        shape = ir.FunctionType(words, [words] * 3)
        product = cgutils.get_or_insert_function(builder.module, shape, "llvm.x86.avx512.vpdpbusd.512")
        origin = builder.gep(weights, [arguments[6]])
        added = builder.bitcast(ir.Constant(small, [int(UNSIGNED)] * VECTOR_BYTES), words)

        def step(low, high, units, number, sums):
            found = builder.bitcast(builder.call(look_up, [low, units, high]), words)
            place = builder.gep(origin, [builder.mul(number, ir.Constant(_INTEGER, VECTOR_BYTES))])
            given = builder.load(builder.bitcast(place, words.as_pointer()), align=1)
            for each, factor in zip(sums, (found, added), strict=True):
                builder.store(builder.call(product, [builder.load(each), factor, given]), each)

        def finish(column, sums):
            whole = builder.sitofp(builder.sub(builder.load(sums[0]), builder.load(sums[1])), floats)
            place = builder.bitcast(builder.gep(scales, [column]), floats.as_pointer())
            scale = builder.fmul(splat(builder, arguments[7], floats), builder.load(place, align=4))
            target = builder.bitcast(builder.gep(total, [column]), floats.as_pointer())
            builder.store(builder.fmul(whole, scale), target, align=4)

        columns = length_of(context, builder, signature, arguments, 0)
        _steps(builder, (columns, arguments[2], arguments[3]), table, places, small, [words, words], step, finish)
        return context.get_dummy_value()

    given = (total, table, types.intp, types.intp, places, weights, types.intp, types.float32, scales)
    return types.void(*given), generate


def _steps(builder, sizes, table, places, kind, sums, step, finish):
    """Generate the loops over all groups of outputs, their tables, and the steps of a table.

    For each group the vectors ``sums`` (given by their kinds) are set to 0, ``step`` is generated for every step of
    every table, whose two registers are vectors of ``kind``, and at the end ``finish``.
    """
    columns, tables, starts = sizes
    groups = builder.udiv(columns, ir.Constant(_INTEGER, FLOAT_LANES))
    starts = builder.gep(places, [starts])
    number_of_starts = builder.add(builder.mul(groups, tables), ir.Constant(_INTEGER, 1))
    units = builder.bitcast(builder.gep(starts, [number_of_starts]), _BYTE.as_pointer())
    bytes_each = ir.Constant(_INTEGER, kind.count)
    sums = [cgutils.alloca_once(builder, each) for each in sums]
    with cgutils.for_range(builder, groups) as group:
        for each in sums:
            builder.store(cgutils.get_null_value(each.type.pointee), each)
        with cgutils.for_range(builder, tables) as part:
            first = builder.mul(part.index, ir.Constant(_INTEGER, 2 * kind.count))
            low, high = (
                builder.load(builder.bitcast(builder.gep(table, [place]), kind.as_pointer()), align=1)
                for place in (first, builder.add(first, bytes_each))
            )
            line = builder.gep(starts, [builder.add(builder.mul(group.index, tables), part.index)])
            begin, end = (
                builder.sext(builder.load(builder.gep(line, [ir.Constant(_INTEGER, each)])), _INTEGER)
                for each in (0, 1)
            )
            with cgutils.for_range_slice(builder, begin, end, ir.Constant(_INTEGER, 1), inc=True) as (number, _):
                place = builder.gep(units, [builder.mul(number, bytes_each)])
                chosen = builder.load(builder.bitcast(place, ir.VectorType(_BYTE, kind.count).as_pointer()), align=1)
                step(low, high, chosen, number, sums)
        finish(builder.mul(group.index, ir.Constant(_INTEGER, FLOAT_LANES)), sums)
