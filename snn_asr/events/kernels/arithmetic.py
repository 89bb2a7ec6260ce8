"""Element-wise pieces that several cells share, in place, in float32 and in the order of kernels/cpu."""

from __future__ import annotations

import numpy as np
from numba import njit

_LOG2_E = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)  # their sum is ln 2 in twice the digits
_HALF, _ONE, _TWO, _ZERO = np.float32(0.5), np.float32(1), np.float32(2), np.float32(0)
_LOWEST, _HIGHEST = np.float32(-87), np.float32(88)
# Minimax polynomial of (e^r - 1 - r) / r² for |r| <= ln 2 / 2 (Moshier's Cephes library), highest power first.
_C5, _C4, _C3 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_C2, _C1, _C0 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)


@njit(cache=True, nogil=True, error_model="numpy")
def exponential(x):
    """e^x to 1e-7 of its value, without a branch or a call, so that loops over it become vector instructions.

    Beyond ±88 it stays at about 1e±38.
    """
    x = min(max(x, _LOWEST), _HIGHEST)
    power = np.floor(x * _LOG2_E + _HALF)
    rest = (x - power * _LN2_HIGH) - power * _LN2_LOW
    series = ((((_C5 * rest + _C4) * rest + _C3) * rest + _C2) * rest + _C1) * rest + _C0
    bits = np.int32((np.int32(power) + np.int32(127)) << np.int32(23))
    return (series * rest * rest + rest + _ONE) * bits.view(np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def logistic(values):
    """σ(x): exactly 0, 1/2 and 1 far below 0, at 0 and far above."""
    for k in range(values.shape[0]):
        value = _ONE / (_ONE + exponential(-values[k]))
        values[k] = value if values[k] > _LOWEST else _ZERO


@njit(cache=True, nogil=True, error_model="numpy")
def tangent(values):
    """tanh(x) = 1 - 2 / (1 + e^2x)."""
    for k in range(values.shape[0]):
        values[k] = _ONE - _TWO / (_ONE + exponential(_TWO * values[k]))


@njit(cache=True, nogil=True)
def integrate(kept, given, coefficient):
    """kept = a · kept + (1 - a) · given, for each output."""
    for k in range(kept.shape[0]):
        kept[k] = given[k] + coefficient * (kept[k] - given[k])


@njit(cache=True, nogil=True)
def normalize(given, scale, offset, drive):
    """Batch normalisation with frozen statistics, and a bias: drive = scale · given + offset."""
    for k in range(drive.shape[0]):
        drive[k] = given[k] * scale[k] + offset[k]


@njit(cache=True, nogil=True)
def add(drive, recurrent):
    """``recurrent`` is as long as the drive, or empty."""
    for k in range(recurrent.shape[0]):
        drive[k] += recurrent[k]


@njit(cache=True, nogil=True)
def send(current, membrane, output, numbers):
    """coder.send. ``numbers`` are the range, scale, unit and threshold of the coder; a scale of 0: there is none."""
    limit, scale, unit, threshold = numbers[0], numbers[1], numbers[2], numbers[3]
    if scale == 0:
        for k in range(output.shape[0]):
            membrane[k] = current[k]
        for k in range(output.shape[0]):
            output[k] = current[k]
        return
    for k in range(output.shape[0]):
        membrane[k] = (membrane[k] - output[k]) + current[k]
    for k in range(output.shape[0]):
        level = np.trunc(min(max(membrane[k], -limit), limit) * scale)
        output[k] = level * unit if abs(level) > threshold else _ZERO
