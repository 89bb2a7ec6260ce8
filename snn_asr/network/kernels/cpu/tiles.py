"""The innermost loop of every product, and other vector operations that numba cannot express.

They are written in the intermediate language of LLVM (numba's ``intrinsic``), because numba by itself does not compile
the loops into the wanted vector instructions. The loop of the products computes, over the events e,

    total[offset : offset + L] += sum over e of value[e] · panel[start + index[e] L : start + index[e] L + L]

A panel is a block of L = ``panel_width`` neighbouring columns of a matrix, stored row by row. The L sums stay in
registers for all events, and each is one chain of multiply-adds in the order of the events. A sum is therefore the same
bit for bit, however events, rows and columns are shared out.
"""

from __future__ import annotations

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

VECTORS = 8  # vectors of sums: enough to hide the latency of a multiply-add, few enough for 16 registers
_INTEGER = ir.IntType(64)


def _vector_bytes() -> int:
    """The size of a vector on this processor: 64 bytes with AVX-512, otherwise 32.

    LLVM cuts vectors of 32 bytes in pieces if the processor has only shorter ones (NEON). numba's cache on disk keeps
    the code of processors apart that differ in this.
    """
    return 64 if binding.get_host_cpu_features().get("avx512f", False) else 32


VECTOR_BYTES = _vector_bytes()
# Whether the processor has an instruction that moves chosen elements of a vector to its beginning.
COMPRESSES = VECTOR_BYTES == 64 and binding.get_host_cpu_features().get("avx512vl", False)


def panel_width(dtype: np.dtype) -> int:
    """The number L of columns of a panel."""
    return VECTORS * VECTOR_BYTES // np.dtype(dtype).itemsize


@intrinsic
def accumulate(typingctx, total, offset, index, value, begin, end, panel, start):
    """Add the events from ``begin`` to ``end`` (exclusive) of ``index`` (int32) and ``value``, times their rows of the
    panel, to L numbers of ``total`` from ``offset`` on; see the module.

    The panel begins at element ``start`` of ``panel``. All arrays have to be contiguous, and positions count their
    elements as if they were flat.
    """
    signature = types.void(total, types.intp, index, value, types.intp, types.intp, panel, types.intp)
    return signature, _generate


def _generate(context, builder, signature, arguments):
    element = signature.args[0].dtype
    bytes_each = element.bitwidth // 8
    lanes = VECTOR_BYTES // bytes_each
    vector = ir.VectorType(context.get_data_type(element), lanes)
    total, index, value, panel = (
        context.make_array(signature.args[each])(context, builder, arguments[each]).data for each in (0, 2, 3, 6)
    )
    width = ir.Constant(_INTEGER, lanes * VECTORS)

    def address(base, number: int):
        pointer = builder.gep(base, [ir.Constant(_INTEGER, number * lanes)])
        return builder.bitcast(pointer, vector.as_pointer())

    target, origin = builder.gep(total, [arguments[1]]), builder.gep(panel, [arguments[7]])
    sums = [cgutils.alloca_once(builder, vector) for _ in range(VECTORS)]
    for number, each in enumerate(sums):
        builder.store(builder.load(address(target, number), align=bytes_each), each)
    with cgutils.for_range_slice(builder, arguments[4], arguments[5], ir.Constant(_INTEGER, 1), inc=True) as (event, _):
        chosen = builder.sext(builder.load(builder.gep(index, [event])), _INTEGER)
        row = builder.gep(origin, [builder.mul(chosen, width)])
        factor = splat(builder, builder.load(builder.gep(value, [event])), vector)
        for number, each in enumerate(sums):
            weights = builder.load(address(row, number), align=bytes_each)
            builder.store(multiply_add(builder, factor, weights, builder.load(each)), each)
    for number, each in enumerate(sums):
        builder.store(builder.load(each), address(target, number), align=bytes_each)
    return context.get_dummy_value()


def multiply_add(builder, factor, values, added):
    """Generate factor · values + added, for three vectors of floats, as one instruction where there is one."""
    width = {ir.FloatType(): 32, ir.DoubleType(): 64}[added.type.element]
    shape, name = ir.FunctionType(added.type, [added.type] * 3), f"llvm.fmuladd.v{added.type.count}f{width}"
    return builder.call(cgutils.get_or_insert_function(builder.module, shape, name), [factor, values, added])


def splat(builder, scalar, vector: ir.VectorType):
    """Generate a vector whose elements are all ``scalar``."""
    integer = ir.IntType(32)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(integer, 0))
    return builder.shuffle_vector(
        first, undefined, ir.Constant(ir.VectorType(integer, vector.count), [0] * vector.count)
    )


@intrinsic
def compress(typingctx, values, begin, index, value, found):
    """Find the non-zero numbers in the vector that starts at ``values[begin]``, and return how many there are.

    The numbers go to ``value[found:]``, and their positions in ``values`` to ``index[found:]`` (int32). Both receive a
    whole vector, the rest of which has no meaning. Only for processors that have the instruction (COMPRESSES), and for
    contiguous arrays.
    """
    return types.intp(values, types.intp, index, value, types.intp), _generate_compress


def _generate_compress(context, builder, signature, arguments):
    kind = context.get_data_type(signature.args[0].dtype)
    lanes = VECTOR_BYTES * 8 // signature.args[0].dtype.bitwidth
    numbers, places, chosen = (ir.VectorType(each, lanes) for each in (kind, ir.IntType(32), ir.IntType(1)))
    values, index, value = (
        context.make_array(signature.args[each])(context, builder, arguments[each]).data for each in (0, 2, 3)
    )

    def place(array, position, vector):
        return builder.bitcast(builder.gep(array, [position]), vector.as_pointer())

    loaded = builder.load(place(values, arguments[1], numbers), align=4)
    mask = builder.fcmp_unordered("!=", loaded, ir.Constant(numbers, [0.0] * lanes))
    steps = ir.Constant(places, list(range(lanes)))
    where = builder.add(splat(builder, builder.trunc(arguments[1], ir.IntType(32)), places), steps)
    for vector, all_of_them, array in ((numbers, loaded, value), (places, where, index)):
        shape = ir.FunctionType(vector, [vector, vector, chosen])
        name = f"llvm.x86.avx512.mask.compress.v{lanes}{vector.element.intrinsic_name}"
        push = cgutils.get_or_insert_function(builder.module, shape, name)
        kept = builder.call(push, [all_of_them, all_of_them, mask])
        builder.store(kept, place(array, arguments[4], vector), align=4)
    return builder.zext(builder.ctpop(builder.bitcast(mask, ir.IntType(lanes))), _INTEGER)


@intrinsic
def float_of_bits(typingctx, bits):
    """The float32 that has the same bits as an int32."""
    return types.float32(types.int32), lambda context, builder, _, taken: builder.bitcast(taken[0], ir.FloatType())


@intrinsic
def power_below(typingctx, value):
    """A float32 or float64 rounded towards zero to a power of two with its sign. 0 stays 0."""
    mantissa = 23 if value == types.float32 else 52

    def generate(context, builder, signature, arguments):
        bits = ir.IntType(signature.args[0].bitwidth)  # clearing the mantissa leaves the sign and the power of two
        kept = builder.and_(builder.bitcast(arguments[0], bits), ir.Constant(bits, -(1 << mantissa)))
        return builder.bitcast(kept, arguments[0].type)

    return value(value), generate


@intrinsic
def fetch_line(typingctx, sequence, position):
    """Tell the processor to fetch the cache line of an element of a contiguous array (N,), without waiting for it."""
    return types.void(sequence, types.intp), _generate_fetch


def _generate_fetch(context, builder, signature, arguments):
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    place = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
    shape = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    fetch = builder.module.declare_intrinsic("llvm.prefetch", (byte,), shape)
    read, all_caches, data_not_code = 0, 3, 1
    builder.call(fetch, [place, *(ir.Constant(number, each) for each in (read, all_caches, data_not_code))])
    return context.get_dummy_value()
