"""Element-wise pieces that several cells share, in place, in float32 and in the order of kernels/cpu."""

from __future__ import annotations

import numpy as np

from snn_asr.kernel_cache import njit
from snn_asr.network.kernels.cpu.elementwise import DIVIDING, exponential
from snn_asr.network.kernels.cpu.tiles import power_below

# What decays to below this becomes zero: among the smallest floats a processor is a hundred times as slow, and rounding
# keeps a decaying number there for ever.
TINY = np.float32(1e-30)
_ONE, _TWO, _ZERO = np.float32(1), np.float32(2), np.float32(0)


@njit(cache=True, nogil=True, **DIVIDING)
def gate(x):
    """σ of one number."""
    return _ONE / (_ONE + exponential(-x))


@njit(cache=True, nogil=True, **DIVIDING)
def logistic(values):
    """σ(x), as the layers' kernels compute it: exactly 0, 1/2 and 1 far below 0, at 0 and far above."""
    for k in range(values.shape[0]):
        values[k] = gate(values[k])


@njit(cache=True, nogil=True, **DIVIDING)
def tangent(values):
    """tanh(x) = 1 - 2 / (1 + e^2x)."""
    for k in range(values.shape[0]):
        values[k] = _ONE - _TWO / (_ONE + exponential(_TWO * values[k]))


@njit(cache=True, nogil=True)
def integrate(kept, given, coefficient):
    """kept = a · kept + (1 - a) · given, for each output."""
    for k in range(kept.shape[0]):
        mean = given[k] + coefficient * (kept[k] - given[k])
        kept[k] = mean if abs(mean) > TINY else _ZERO


@njit(cache=True, nogil=True)
def normalize(given, scale, offset, drive):
    """Batch normalisation with frozen statistics, and a bias: drive = scale · given + offset."""
    for k in range(drive.shape[0]):
        drive[k] = given[k] * scale[k] + offset[k]


@njit(cache=True, nogil=True)
def normalize_and_add(given, scale, offset, recurrent, drive):
    """The same with the recurrent product: drive = scale · given + offset + recurrent."""
    for k in range(drive.shape[0]):
        drive[k] = given[k] * scale[k] + offset[k] + recurrent[k]


@njit(cache=True, nogil=True)
def add(drive, recurrent):
    """drive += recurrent, which is as long."""
    for k in range(recurrent.shape[0]):
        drive[k] += recurrent[k]


@njit(cache=True, nogil=True)
def send(current, membrane, output, numbers, powers):
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
        level = power_below(level) if powers else level
        output[k] = level * unit if abs(level) > threshold else _ZERO
