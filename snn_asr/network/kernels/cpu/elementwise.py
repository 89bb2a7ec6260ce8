"""What every unit computes by itself, as loops over the units of one row at one frame: arrays (H,).

Each loop uses few arrays and writes only one or two. LLVM can then prove that none of them overlaps another, and
computes several units with one instruction. The arrays lie in the first-level cache, so that going through them again
costs next to nothing. The setting ``contract`` lets a multiplication and an addition be one instruction; nothing else
is reordered.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import float32
from numba.extending import overload
from torch import Tensor

from snn_asr.kernel_cache import njit
from snn_asr.network.coder import AnyCoder, FrameCoder
from snn_asr.network.kernels.cpu.tiles import float_of_bits, power_below

FAST = {"contract"}
# How functions that divide are compiled. By default numba checks every divisor and raises Python's error if it is zero;
# LLVM then computes one unit at a time, which takes nine times as long.
DIVIDING: Any = {"error_model": "numpy", "fastmath": FAST}
# For e^x = 2^k e^r with |r| <= ln 2 / 2: ln 2 in two parts, and the coefficients of the polynomial for e^r of the
# Cephes library.
_LOWEST, _HIGHEST, _LOG2_E = np.float32(-88.0), np.float32(89.0), np.float32(1.44269504)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_C0, _C1, _C2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_C3, _C4, _C5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_ONE, _HALF = np.float32(1.0), np.float32(0.5)


def exponential(x: float) -> float:
    """e^x. Compiled for float32, it is within two units of the last place, 0 below -88 and infinite above 88.4.

    NaN stays NaN.
    """
    return math.exp(x)


@overload(exponential, inline="always")
def _exponential(x):
    return _exponential_single if x == float32 else lambda x: math.exp(x)


def _exponential_single(x):
    x = _LOWEST if x < _LOWEST else x
    x = _HIGHEST if x > _HIGHEST else x
    power = np.floor(x * _LOG2_E + _HALF)
    r = (x - power * _LN2_HIGH) - power * _LN2_LOW
    tail = ((((_C0 * r + _C1) * r + _C2) * r + _C3) * r + _C4) * r + _C5
    return (tail * (r * r) + r + _ONE) * float_of_bits((np.int32(power) + np.int32(127)) << np.int32(23))


@njit(cache=True, nogil=True)
def clear(result):
    """Set all numbers to 0."""
    for k in range(result.shape[0]):
        result[k] = 0


@njit(cache=True, nogil=True)
def copy(source, result):
    """Copy as many numbers as ``result`` has. (An assignment to a slice takes twenty times as long to compile.)"""
    for k in range(result.shape[0]):
        result[k] = source[k]


@njit(cache=True, nogil=True, **DIVIDING)
def sigmoid(x, result):
    """σ(x) = 1 / (1 + e^-x)."""
    one = x.dtype.type(1)
    for k in range(result.shape[0]):
        result[k] = one / (one + exponential(-x[k]))


@njit(cache=True, nogil=True, **DIVIDING)
def tangent(x, result):
    """tanh(x) = 1 - 2 / (1 + e^2x)."""
    one, two = x.dtype.type(1), x.dtype.type(2)
    for k in range(result.shape[0]):
        result[k] = one - two / (one + exponential(two * x[k]))


@njit(cache=True, nogil=True, fastmath=FAST)
def add(left, right, result):
    """result = left + right."""
    for k in range(result.shape[0]):
        result[k] = left[k] + right[k]


@njit(cache=True, nogil=True)
def to_shifts(forget, nearest):
    """``to_shifts`` of cells/gated.py, in place. ``nearest`` is the NEAREST of that module, in the type of ``forget``.
    """
    one = forget.dtype.type(1)
    for k in range(forget.shape[0]):
        forget[k] = one - power_below((one - forget[k]) * nearest)


@njit(cache=True, nogil=True, fastmath=FAST)
def blend(product, before, kept, result):
    """One frame of a leaky integrator: result = product + kept · (before - product)."""
    for k in range(result.shape[0]):
        result[k] = product[k] + kept * (before[k] - product[k])


@njit(cache=True, nogil=True)
def send(current, old_membrane, old_output, levels, membrane, output):
    """``send`` of network/coder.py for one row: sets the new ``membrane`` and ``output``.

    ``levels`` are the numbers that the function of that name returns. Multiplication and addition are not contracted
    here, because that could change a level.
    """
    limit, scale, unit, threshold, zero, powers = levels
    for k in range(membrane.shape[0]):
        membrane[k] = (old_membrane[k] - old_output[k]) + current[k]
    if powers:
        for k in range(membrane.shape[0]):
            level = power_below(np.trunc(min(max(membrane[k], -limit), limit) * scale))
            output[k] = level * unit if abs(level) > threshold else zero
        return
    for k in range(membrane.shape[0]):
        level = np.trunc(min(max(membrane[k], -limit), limit) * scale)
        output[k] = level * unit if abs(level) > threshold else zero


@njit(cache=True, nogil=True)
def emit(row, n, spiking, levels, currents, membranes, outputs, membrane, output):
    """``send`` for a row at frame ``n`` of currents, membranes and outputs, (B, T, H) each.

    ``membrane`` and ``output`` (B, H) are those before the first frame. Without a coder (``spiking`` is false) the
    currents themselves are sent.
    """
    if spiking:
        old_membrane = membranes[row, n - 1] if n else membrane[row]
        old_output = outputs[row, n - 1] if n else output[row]
        send(currents[row, n], old_membrane, old_output, levels, membranes[row, n], outputs[row, n])
    else:
        copy(currents[row, n], membranes[row, n])
        copy(currents[row, n], outputs[row, n])


@njit(cache=True, nogil=True, fastmath=FAST)
def receive(gradient, fed_back, scale, membrane, spiking, limit, grad_membrane, grad_current):
    """The backward pass of ``send`` at one frame.

    ``gradient`` is g_out of the outputs, and ``scale`` times ``fed_back`` what came back through U. ``grad_membrane``
    and ``grad_current`` go from g_V+ and F+ ⊙ g_I+ to g_V and g_I in place. ``limit`` is the range of the coder.
    """
    if not spiking:
        for k in range(grad_current.shape[0]):
            grad_current[k] += gradient[k] + scale * fed_back[k]
        return
    for k in range(grad_current.shape[0]):
        grad_membrane[k] = gradient[k] + scale * fed_back[k] if abs(membrane[k]) <= limit else grad_membrane[k]
    for k in range(grad_current.shape[0]):
        grad_current[k] += grad_membrane[k]


def levels(coder: AnyCoder | None, like: Tensor) -> tuple[Any, ...]:
    """The coder as ``send`` takes it: range, scale, unit, threshold and 0 in the type of ``like``, and whether the
    levels are powers of two. Without a coder all numbers are 0."""
    assert not isinstance(coder, FrameCoder), "a range that moves at every frame runs on the reference"
    numbers = (0, 0, 0, 0) if coder is None else (coder.range, coder.scale, coder.unit, coder.threshold)
    return *(like.numpy().dtype.type(each) for each in (*numbers, 0)), coder is not None and coder.powers


@njit(cache=True, nogil=True)
def _clear_beyond(lengths, sequence):
    """Set the frames of a sequence (B, T, width) beyond the lengths (B,) to 0."""
    for row in range(sequence.shape[0]):
        for n in range(lengths[row], sequence.shape[1]):
            clear(sequence[row, n])


def room(like: Tensor, lengths: Tensor, width: int) -> Tensor:
    """A new sequence (B, T, width) with the batch and frames of ``like`` (B, T, ...).

    Its frames within the lengths (B,) are still to be written; those beyond are zero.
    """
    sequence = like.new_empty(*like.shape[:2], width)
    _clear_beyond(lengths.numpy(), sequence.numpy())
    return sequence


def masks(mask: Tensor | None, like: Tensor) -> np.ndarray:
    """The dropout mask (B, H) as an array; (B, 0) without a mask."""
    return (like.new_zeros(len(like), 0) if mask is None else mask.detach().contiguous()).numpy()
