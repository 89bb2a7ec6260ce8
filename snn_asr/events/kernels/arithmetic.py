"""Element-wise operations that several cells share.

They work in place and in float32, in the same order as those of network/kernels/cpu. All arrays are (H,) or as long as
the drive of a layer.
"""

from __future__ import annotations

import numpy as np

from snn_asr.kernel_cache import njit
from snn_asr.network.kernels.cpu.elementwise import DIVIDING, exponential
from snn_asr.network.kernels.cpu.tiles import power_below

# A decaying value becomes zero below this. Otherwise rounding would keep it for ever among the denormal numbers, with
# which a processor is a hundred times as slow.
TINY = np.float32(1e-30)
_ONE, _TWO, _ZERO = np.float32(1), np.float32(2), np.float32(0)


@njit(cache=True, nogil=True, **DIVIDING)
def gate(x):
    """σ(x) of one number."""
    return _ONE / (_ONE + exponential(-x))


@njit(cache=True, nogil=True, **DIVIDING)
def logistic(values):
    """σ(x) of all values, as network/kernels/cpu computes it: exactly 0 far below 0, 1/2 at 0, and 1 far above 0."""
    for k in range(values.shape[0]):
        values[k] = gate(values[k])


@njit(cache=True, nogil=True, **DIVIDING)
def tangent(values):
    """tanh(x) = 1 - 2 / (1 + e^2x) of all values."""
    for k in range(values.shape[0]):
        values[k] = _ONE - _TWO / (_ONE + exponential(_TWO * values[k]))


@njit(cache=True, nogil=True)
def integrate(kept, values, coefficient):
    """One frame of a leaky integrator: kept = a · kept + (1 - a) · values, where a is the coefficient."""
    for k in range(kept.shape[0]):
        mean = values[k] + coefficient * (kept[k] - values[k])
        kept[k] = mean if abs(mean) > TINY else _ZERO


@njit(cache=True, nogil=True)
def sum_of_two(product, offset, drive):
    """drive = product + offset, for as many as ``drive`` has."""
    for k in range(drive.shape[0]):
        drive[k] = product[k] + offset[k]


@njit(cache=True, nogil=True)
def sum_of_three(product, offset, recurrent, drive):
    """drive = product + offset + recurrent, for as many as ``drive`` has."""
    for k in range(drive.shape[0]):
        drive[k] = product[k] + offset[k] + recurrent[k]


@njit(cache=True, nogil=True)
def add(sums, product):
    """sums += product, for two arrays of the same length."""
    for k in range(product.shape[0]):
        sums[k] += product[k]


@njit(cache=True, nogil=True)
def send(current, membrane, output, numbers, powers):
    """``send`` of network/coder.py: one frame of the membranes, and the outputs that their levels are.

    Currents and membranes are in units of a level (events/levels.py), so that nothing is multiplied. ``numbers`` begin
    with the range and the threshold of the coder. A range of 0 stands for no coder: then the current itself is sent.
    ``powers`` says whether levels are powers of two.
    """
    limit, threshold = numbers[0], numbers[1]
    if limit == 0:
        for k in range(output.shape[0]):
            membrane[k] = current[k]
        for k in range(output.shape[0]):
            output[k] = current[k]
        return
    for k in range(output.shape[0]):
        membrane[k] = (membrane[k] - output[k]) + current[k]
    for k in range(output.shape[0]):
        level = np.trunc(min(max(membrane[k], -limit), limit))
        level = power_below(level) if powers else level
        output[k] = level if abs(level) > threshold else _ZERO
