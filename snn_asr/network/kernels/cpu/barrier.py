"""A place where threads wait for one another within a compiled loop, thousands of times a second.

    barrier = new_barrier()                     one for all threads
    wait(barrier, threads)                      goes on when all of them have come
    release(barrier)                            for ever, where one of them cannot come any more

Threads spin while they wait, for a frame takes some ten microseconds, and sleep and waking take as long. Where others
want the processor they let them have it after a while.
"""

from __future__ import annotations

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from snn_asr.kernel_cache import njit

ARRIVED, TURN, RELEASED = 0, 16, 32  # places in a barrier, of 8 bytes: two lines of a cache apart
SPINS = 1 << 12  # before the processor is offered to others
# Whether the system has the call for that; without it threads do not wait for one another.
WAITS = binding.address_of_symbol("sched_yield") is not None
_yield = types.ExternalFunction("sched_yield", types.int32())
_PAUSE = "llvm.x86.sse2.pause" if binding.get_default_triple().startswith("x86") else None
_INTEGER = ir.IntType(64)


def new_barrier() -> np.ndarray:
    return np.zeros(RELEASED + 1, np.int64)


def release(barrier: np.ndarray) -> None:
    """Let all threads go on that wait there or will come."""
    barrier[RELEASED] = 1


@njit(cache=True, nogil=True)
def wait(barrier, threads):
    """Wait until so many threads have come. What one wrote before is there for all others to read afterwards."""
    if threads == 1:
        return
    turn = _read(barrier, TURN)
    if _add_one(barrier, ARRIVED) == threads - 1:
        barrier[ARRIVED] = 0
        _add_one(barrier, TURN)
        return
    spins = 0
    while _read(barrier, TURN) == turn and _read(barrier, RELEASED) == 0:
        spins += 1
        if spins < SPINS:
            _rest()
        else:
            _yield()


@intrinsic
def _read(typingctx, barrier, place):
    def generate(context, builder, signature, arguments):
        return builder.load_atomic(_address(context, builder, signature, arguments), "acquire", align=8)

    return types.int64(barrier, types.intp), generate


@intrinsic
def _add_one(typingctx, barrier, place):
    """Returns the number before."""
    def generate(context, builder, signature, arguments):
        place = _address(context, builder, signature, arguments)
        return builder.atomic_rmw("add", place, ir.Constant(_INTEGER, 1), "seq_cst")

    return types.int64(barrier, types.intp), generate


@intrinsic
def _rest(typingctx):
    """Tell the processor that this is a loop that waits."""
    def generate(context, builder, signature, arguments):
        if _PAUSE is not None:
            builder.call(builder.module.declare_intrinsic(_PAUSE, (), ir.FunctionType(ir.VoidType(), [])), [])
        return context.get_dummy_value()

    return types.void(), generate


def _address(context, builder, signature, arguments):
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.gep(data, [arguments[1]])
