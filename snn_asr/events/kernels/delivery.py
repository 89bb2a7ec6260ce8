"""From the values of a source to the sums that it feeds: finds the events, and adds up the weights that they select.

**Layouts** (events/storage.py). The weights of a source are rows, one for each unit, which are read from end to end; or
blocks, which are those groups of 16 or 8 neighbouring weights of a row (or single weights) that are not all zero, each
added in its place; or they lie output by output (by_output.py). Every sum takes its events in the order of their units,
so that all layouts give the same bits: what a layout leaves out would add zeros.

**float32.** Rows are added four at a time. The last four are completed by events of value 0 that point to a row just
read; ``collect`` writes them behind the last event.

**int8.** A value is level · unit, and a weight is integer · scale, with one scale for each output. The sums of level ·
integer are whole numbers, exact in any order, and each sum is multiplied once by unit · scale. Levels are the coder's
own if it has at most 127 of them. Dense values are rounded to 127 levels, the highest of which is the largest magnitude
of the frame. If the processor can sum up four products of bytes in one instruction, it does so (four_products.py).
Otherwise several rows are added at a time in 16 bits: 8 rows with levels up to 32, or 2 rows with levels up to 127, so
that no sum overflows. Levels that are powers of two need no products: weights are shifted, and added or subtracted.
"""

from __future__ import annotations

import numpy as np
from numba import float32
from numba.extending import overload

from snn_asr.events.kernels.by_output import REACH, UNSIGNED, sum_floats, sum_levels
from snn_asr.events.kernels.four_products import FOUR_PRODUCTS, levels_in_fours
from snn_asr.events.kernels.vectors import (
    LEVEL_LANES,
    MASKED,
    TOGETHER,
    add_rows,
    blocks_adder,
    keep_nonzero,
    levels_adder,
)
from snn_asr.kernel_cache import njit
from snn_asr.network.kernels.cpu.tiles import float_of_bits

ROOM = TOGETHER  # elements that lists of events need behind the last event
FEW_LEVELS, MOST_LEVELS = 32, 127  # the largest levels of which 8 rows fit in 16 bits, and the largest at all
HIGHEST_SHIFT = 8  # 127 · 2^8 is the largest product that fits in 16 bits
WIDE, NARROW = 8, 2  # the vectors of a tile of int8 rows
LANES = (16, 8, 1)  # the sizes of blocks, the last for single weights
UNITS, OUTPUTS, BACK, BACK_AT, ROW, FIRST, KIND, STARTS, SHIFTS = range(9)  # columns of ``table``; stack.py explains it
ROWS, BY_OUTPUT = 0, -1  # the KIND of a source with rows, or summed by output; for blocks it is their size
REACH_OF_FLOATS, REACH_OF_LEVELS = REACH["float32"], REACH["int8"]

_add_sixteen, _add_eight, _add_one = (blocks_adder(each) for each in LANES)
_add_wide, _add_narrow = levels_adder(WIDE), levels_adder(NARROW)
_shift_wide, _shift_narrow = levels_adder(WIDE, shifting=True), levels_adder(NARROW, shifting=True)
_add_fours, _add_positive_fours = levels_in_fours(negative=True), levels_in_fours(negative=False)
_small, _MAGNITUDE = np.int8, np.int32(0x7FFFFFFF)


@njit(cache=True, nogil=True)
def collect(values, every, index, sent):
    """Find the non-zero ``values`` (or take ``every`` value), and return their number.

    They are written to ``sent``, and their places to ``index``, in the order of the units.
    """
    count, size = 0, values.shape[0]
    whole = size - size % MASKED
    if every:
        whole = 0
    for start in range(0, whole, MASKED):
        count = keep_nonzero(values, start, index, sent, count)
    for k in range(whole, size):
        index[count] = k
        sent[count] = values[k]
        count += every or values[k] != 0
    for k in range(count, count + ROOM):
        index[k] = index[count - 1] if count > 0 else 0
        sent[k] = 0
    return count


@njit(cache=True, nogil=True)
def clear(total):
    """Set all numbers to 0."""
    for k in range(total.shape[0]):
        total[k] = 0


def deliver(line, weights, places, index, sent, count, unit, scales, levels, whole, total):
    """Set ``total`` (M,) to the sum of the values sent times their weights, for the source of a ``line`` of the table.

    ``index`` and ``sent`` are ``count`` events as ``collect`` writes them. The other arguments are for int8 weights:
    ``scales`` (M,) are those of the columns, ``unit`` is what the values sent are multiples of (0 if they are not), and
    ``levels`` and ``whole`` are room for the levels and for sums in whole numbers. BY_OUTPUT uses ``whole`` as its
    table.

    Returns the unit that the values were rounded to, or 0 if they were not rounded. Only compiled functions may call
    this one.
    """
    raise TypeError("only compiled functions can call it")


@overload(deliver)
def _deliver(line, weights, places, index, sent, count, unit, scales, levels, whole, total):
    return _deliver_floats if weights.dtype == float32 else _deliver_integers


def _deliver_floats(line, weights, places, index, sent, count, unit, scales, levels, whole, total):
    if line[KIND] == BY_OUTPUT:
        tables = -(-line[UNITS] // REACH_OF_FLOATS)
        table = whole[: tables * REACH_OF_FLOATS].view(np.float32)
        clear(table)
        for j in range(count):
            table[index[j]] = sent[j]
        sum_floats(total, table, tables, line[STARTS], places, weights, line[FIRST])
        return np.float32(0)
    clear(total)
    if line[KIND] == ROWS:
        add_rows(total, index, sent, count, weights, line[FIRST])
    else:
        _add_blocks(line, weights, places, index, sent, count, np.float32, total)
    return np.float32(0)


@njit(cache=True, nogil=True)
def _add_blocks(line, weights, places, index, sent, count, kind, total):
    """Add blocks to the total. From STARTS on ``places`` has the first block of every unit, the end of the last unit's
    blocks, and then the place of every block in a row. ``kind`` is the type of the total, or int8 if what was sent are
    shifts."""
    lanes, first, starts = line[KIND], line[FIRST], line[STARTS]
    own = places[starts + line[UNITS] + 1 :]
    for j in range(count):
        begin, end, value = places[starts + index[j]], places[starts + index[j] + 1], kind(sent[j])
        if lanes == 16:
            _add_sixteen(total, value, own, begin, end, weights, first)
        elif lanes == 8:
            _add_eight(total, value, own, begin, end, weights, first)
        else:
            _add_one(total, value, own, begin, end, weights, first)


@njit(cache=True, nogil=True)
def _largest(sent, count):
    """The largest magnitude of the values sent."""
    # Positive floats have the order of their bits, and the maximum of whole numbers is computed in vectors.
    bits, largest = sent.view(np.int32), np.int32(0)
    for j in range(count):
        largest = max(largest, bits[j] & _MAGNITUDE)
    return float_of_bits(largest)


@njit(cache=True, nogil=True, error_model="numpy")
def _levels_of(sent, count, unit, levels):
    """Set ``levels`` to the values sent in whole units, and return the unit and the largest magnitude of a level.

    If the ``unit`` is 0, or too small for 127 levels, the largest value sent becomes level 127.
    """
    largest = _largest(sent, count)
    if unit == 0 or largest > unit * (MOST_LEVELS + np.float32(0.25)):
        unit = max(largest / np.float32(MOST_LEVELS), np.float32(1e-30))
    for j in range(count + ROOM):
        levels[j] = _small(np.rint(sent[j] / unit))
    return unit, largest / unit


@njit(cache=True, nogil=True, error_model="numpy")
def _shifts_of(sent, count, unit, levels):
    """Set ``levels`` to k for a value of 2^k units, and to -1 - k for one of -2^k units, and return the largest k.

    It stops at the first k that is above HIGHEST_SHIFT, and returns HIGHEST_SHIFT + 1.
    """
    largest = 0
    for j in range(count):
        level, shift = np.int64(np.rint(abs(sent[j]) / unit)), 0
        while level > 1:
            level, shift = level >> 1, shift + 1
        if shift > HIGHEST_SHIFT:
            return HIGHEST_SHIFT + 1
        largest = max(largest, shift)
        levels[j] = _small(shift if sent[j] > 0 else -1 - shift)
    return largest


def _deliver_integers(line, weights, places, index, sent, count, unit, scales, levels, whole, total):
    shifting, shift, largest = line[SHIFTS] != 0 and line[KIND] != BY_OUTPUT, 0, np.float32(0)
    if shifting:
        shift = _shifts_of(sent, count, unit, levels)
        shifting = shift <= HIGHEST_SHIFT
    if not shifting:
        unit, largest = _levels_of(sent, count, unit, levels)
        if line[KIND] == ROWS:
            _add_levels(line, weights, index, levels, count, largest, unit, scales, whole, total)
            return unit
        if line[KIND] == BY_OUTPUT:
            tables = -(-line[UNITS] // REACH_OF_LEVELS)
            table = whole.view(np.int8)[: tables * REACH_OF_LEVELS]
            for k in range(table.shape[0]):
                table[k] = UNSIGNED
            for j in range(count):
                table[index[j]] = levels[j] ^ UNSIGNED
            sum_levels(total, table, tables, line[STARTS], places, weights, line[FIRST], unit, scales)
            return unit
    whole = whole[: line[ROW]]
    clear(whole)
    if line[KIND] == ROWS:
        together = 1 << (HIGHEST_SHIFT - max(shift, 5))
        _add_integer_rows(line, weights, index, levels, count, together, shifting, whole)
    elif shifting:
        _add_blocks(line, weights, places, index, levels, count, np.int8, whole)
    else:
        _add_blocks(line, weights, places, index, levels, count, np.int32, whole)
    _scale(whole, unit, scales, total)
    return unit


@njit(cache=True, nogil=True)
def _scale(whole, unit, scales, total):
    """total = whole · unit · scales."""
    for k in range(total.shape[0]):
        total[k] = np.float32(whole[k]) * (unit * scales[k])


@njit(cache=True, nogil=True)
def _add_levels_in_fours(line, weights, index, levels, count, largest, unit, scales, whole, total):
    """Set the total to the sum of rows, on processors that sum up four products of bytes."""
    lowest = _small(0)
    for j in range(count):
        lowest = min(lowest, levels[j])
    if lowest < 0:
        _add_fours(total, index, levels, count, weights, line[FIRST], unit, scales)
    else:
        _add_positive_fours(total, index, levels, count, weights, line[FIRST], unit, scales)


@njit(cache=True, nogil=True)
def _add_levels_in_shorts(line, weights, index, levels, count, largest, unit, scales, whole, total):
    """Set the total to the sum of rows, on other processors. ``largest`` is the largest magnitude of a level."""
    clear(whole[: line[ROW]])
    _add_integer_rows(line, weights, index, levels, count, 8 if largest <= FEW_LEVELS else 2, False, whole)
    _scale(whole, unit, scales, total)


_add_levels = _add_levels_in_fours if FOUR_PRODUCTS else _add_levels_in_shorts


@njit(cache=True, nogil=True)
def _add_integer_rows(line, weights, index, levels, count, together, shifting, whole):
    """Add rows to ``whole`` (int32), ``together`` events at a time in 16 bits, tile by tile.

    The length of a row is a multiple of a narrow tile.
    """
    first, length, column = line[FIRST], line[ROW], 0
    while column < length:
        wide = column + WIDE * LEVEL_LANES <= length
        for begin in range(0, count, together):
            end = min(begin + together, count)
            if wide and shifting:
                _shift_wide(whole, column, index, levels, begin, end, weights, first, length)
            elif wide:
                _add_wide(whole, column, index, levels, begin, end, weights, first, length)
            elif shifting:
                _shift_narrow(whole, column, index, levels, begin, end, weights, first, length)
            else:
                _add_narrow(whole, column, index, levels, begin, end, weights, first, length)
        column += (WIDE if wide else NARROW) * LEVEL_LANES
