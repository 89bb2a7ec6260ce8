"""Events and the rows of weights that they select: float32, or int8 with sums in whole numbers.

int8: value = level · unit and weight = integer · scale, one scale for each output (a row of W, of shape (M, D)), so
that sums of level · integer are exact in any order, and ``unit · scale`` is applied once to each sum. Levels are the
coder's own where it has at most 127 of them; dense values are rounded to 127 levels of their frame's largest magnitude.

Several rows are added at a time, which keeps the sums in registers; in whole numbers they are added in 16 bits, where
127 · 32 · 8 and 127 · 127 · 2 do not overflow. The last block is filled up by events of value 0 that point to a row
just read: ``collect`` has room for them behind the last.
"""

from __future__ import annotations

import numpy as np
from numba import njit

BLOCK = 8  # events that are added at a time; also the room that lists of events need behind the last
FEW_LEVELS, MOST_LEVELS = 32, 127

_short = np.int16


@njit(cache=True, nogil=True)
def collect(values, every, index, sent):
    """Write the non-zero values (or ``every``) and their places; return their number."""
    count = 0
    for k in range(values.shape[0]):
        index[count] = k
        sent[count] = values[k]
        count += every or values[k] != 0
    for k in range(count, count + BLOCK):
        index[k] = index[count - 1] if count > 0 else 0
        sent[k] = 0
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _levels_of(sent, count, unit, levels):
    """Whole numbers for the values sent; returns their unit and the largest magnitude.

    A ``unit`` of 0, or one that is too small for 127 levels, is chosen here.
    """
    largest = np.float32(0)
    for j in range(count):
        largest = max(largest, abs(sent[j]))
    if unit == 0 or largest > unit * (MOST_LEVELS + np.float32(0.5)):
        unit = max(largest / np.float32(MOST_LEVELS), np.float32(1e-30))
    for j in range(count + BLOCK):
        levels[j] = _short(np.rint(sent[j] / unit))
    return unit, largest / unit


@njit(cache=True, nogil=True)
def _row(weights, first, length, number):
    start = first + length * number
    return weights[start : start + length]


@njit(cache=True, nogil=True, fastmath={"contract"})
def deliver(weights, first, index, sent, count, total):
    """total (M,) = the sum of sent · row. Row i stands at ``first`` + i M of the weights."""
    length = total.shape[0]
    for k in range(length):
        total[k] = 0
    for j in range(0, count, 4):
        one, two = _row(weights, first, length, index[j]), _row(weights, first, length, index[j + 1])
        three, four = _row(weights, first, length, index[j + 2]), _row(weights, first, length, index[j + 3])
        a, b, c, d = sent[j], sent[j + 1], sent[j + 2], sent[j + 3]
        for k in range(length):
            total[k] = total[k] + a * one[k] + b * two[k] + c * three[k] + d * four[k]


@njit(cache=True, nogil=True)
def deliver_integers(weights, first, index, sent, count, unit, scales, levels, total):
    """The same from int8 rows, whose columns have the ``scales`` (M,); room for ``levels`` is given."""
    length = total.shape[0]
    whole, part = np.zeros(length, np.int32), np.empty(length, np.int16)
    unit, largest = _levels_of(sent, count, unit, levels)
    few = largest <= FEW_LEVELS
    for j in range(0, count, BLOCK if few else 2):
        if few:
            _add_eight(weights, first, index[j : j + BLOCK], levels[j : j + BLOCK], part)
        else:
            one, two = _row(weights, first, length, index[j]), _row(weights, first, length, index[j + 1])
            a, b = levels[j], levels[j + 1]
            for k in range(length):
                part[k] = _short(a * one[k] + b * two[k])
        for k in range(length):
            whole[k] += part[k]
    for k in range(length):
        total[k] = np.float32(whole[k]) * (unit * scales[k])


@njit(cache=True, nogil=True)
def _add_eight(weights, first, index, levels, part):
    """part (M,) = the sum of eight rows, in 16 bits."""
    length = part.shape[0]
    one, two = _row(weights, first, length, index[0]), _row(weights, first, length, index[1])
    three, four = _row(weights, first, length, index[2]), _row(weights, first, length, index[3])
    five, six = _row(weights, first, length, index[4]), _row(weights, first, length, index[5])
    seven, eight = _row(weights, first, length, index[6]), _row(weights, first, length, index[7])
    a, b, c, d, e, f, g, h = (
        levels[0], levels[1], levels[2], levels[3], levels[4], levels[5], levels[6], levels[7]
    )
    for k in range(length):
        part[k] = _short(
            a * one[k] + b * two[k] + c * three[k] + d * four[k]
            + e * five[k] + f * six[k] + g * seven[k] + h * eight[k]
        )
