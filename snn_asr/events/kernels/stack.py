"""The frames of a chunk through all layers and the head, in one compiled call of four arrays: each takes a tenth of a
microsecond.

Sources are numbered from the features (0) to the last layer (L); source l feeds layer l, counted from 0, or the head.
What a model is, the same for all streams, and read only, is its ``image``, one array in which lie (storage.packed)

    table (L + 1, ...)    of each source, integers: UNITS, OUTPUTS that it feeds, those of its own layer that it feeds
                          BACK to and their first column in a row, BACK_AT, columns of a ROW, place of its FIRST weight,
                          KIND and STARTS of weights in blocks (delivery.py), and whether the values that it sends are
                          powers of two of its unit, SHIFTS; CELL, FLAG (candidate clamped, adaptive, or kept), POWERS
                          (its levels are of two) and SHIFTING (what its gates let in is) of the layer that it feeds,
                          and whether it sends EVERY value; the place of its SCALES among all; and, where that layer
                          hears its own units WITHIN its step, the line behind those of the sources that tells how
    constants             float32, one behind the other, with W the most outputs and H the units of a layer:
                          affine (L + 1, 2, W)   scale and offset behind the product of each source: batch normalisation
                                                 and biases
                          neurons (L, 4, H)      what each neuron of a cell has for itself
                          numbers (L + 1, 8)     of each source its UNIT and, where it sends changes (changes.py), the
                                                 CHANGE that is told, else below 0; of a layer also the cell's own (its
                                                 coder's four, or its threshold), FEEDBACK and SMOOTHING
                          scales                 of every column of int8 weights, line after line of the table
    places, weights       of all sources, one behind the other, float32 or int8 (storage.py)

and what a stream is:

    memory                the events that each source has sent so far (int64, numbers_of_counts); units (L, 3, H), the
                          state of the cells, the output first; sums (L, 2, W), its rows FED_BACK and INTEGRATED; of
                          each source that sends changes, what is known of its units, and a row of sums of their
                          products
"""

from __future__ import annotations

import numpy as np

from snn_asr.events.kernels.arithmetic import add, integrate, normalize, normalize_and_add
from snn_asr.events.kernels.by_output import REACH
from snn_asr.events.kernels.changes import accumulate, collect_changes, learn
from snn_asr.events.kernels.conventional import step as conventional_step
from snn_asr.events.kernels.delivery import (
    BACK,
    BACK_AT,
    OUTPUTS,
    ROOM,
    ROW,
    UNITS,
    collect,
    deliver,
)
from snn_asr.events.kernels.delta_gru import step as delta_gru_step
from snn_asr.events.kernels.gated import step as gated_step
from snn_asr.events.kernels.gru_lstm import bn_gru_step, gru_step, lstm_step, reset_outputs
from snn_asr.events.kernels.leaky_integrate_and_fire import step as leaky_integrate_and_fire_step
from snn_asr.events.kernels.spiking_lstm import step as spiking_lstm_step
from snn_asr.events.kernels.vectors import borrowed
from snn_asr.kernel_cache import njit

GATED, CONVENTIONAL, LEAKY_INTEGRATE_AND_FIRE, HARD_RESET, SPIKING_LSTM, GRU, LSTM, DELTA_GRU, BN_GRU, BN_LSTM = range(
    10
)
# Columns of ``table`` behind those of delivery.py, and how many it has.
CELL, FLAG, EVERY, POWERS, SHIFTING, SCALES, WITHIN, COLUMNS = 9, 10, 11, 12, 13, 14, 15, 16
# Columns of ``numbers``: coefficients of the integrators on the recurrent product and behind the layer, and the unit of
# the values that the source sends, 0 where they are no multiples of one; the smallest change that is told.
FEEDBACK, SMOOTHING, UNIT, CHANGE, NUMBERS = 4, 5, 6, 7, 8
NEURON_ROWS, STATE_ROWS, SUMS_ROWS = 4, 3, 2
# Rows of ``sums``: the recurrent product for the next frame, and the smoothed product of what stands behind the layer.
FED_BACK, INTEGRATED = range(2)
LINE = 16  # numbers of four bytes on a cache line
LONGEST_REACH = REACH["float32"]  # in numbers of four bytes: of the tables of by_output.py
_ZERO = np.float32(0)


@njit(cache=True, nogil=True)
def _step(line, drive, recurrent, state, neurons, numbers):
    """One frame of the layer that a source feeds, ``line`` of the table; the recurrent product is in the drive already,
    but for a GRU's."""
    size = state.shape[1]
    cell, flag, powers = line[CELL], line[FLAG] != 0, line[POWERS] != 0
    if cell == GATED:
        gated_step(drive, state, numbers, flag, line[SHIFTING] != 0, powers)
    elif cell == CONVENTIONAL:
        conventional_step(drive, state, neurons, numbers, powers)
    elif cell == LEAKY_INTEGRATE_AND_FIRE or cell == HARD_RESET:
        leaky_integrate_and_fire_step(drive, state, neurons, flag, cell == HARD_RESET)
    elif cell == SPIKING_LSTM:
        spiking_lstm_step(drive, state, numbers, flag)
    elif cell == GRU:
        gru_step(drive, recurrent, state[0], neurons[0])
    elif cell == DELTA_GRU:
        delta_gru_step(drive, recurrent, state, neurons, numbers)
    elif cell == BN_GRU:
        bn_gru_step(drive, state[0])
    elif cell == BN_LSTM:
        lstm_step(state, drive[size : 2 * size], drive[:size], drive[3 * size :], drive[2 * size : 3 * size])
    else:
        lstm_step(state, drive[:size], drive[size : 2 * size], drive[2 * size : 3 * size], drive[3 * size :])


@njit(cache=True, nogil=True)
def _cut(floats, start, first, second, third):
    """A block (first, second, third) of ``floats`` from ``start`` on, and its end."""
    end = start + first * second * third
    return floats[start:end].reshape((first, second, third)), end


@njit(cache=True, nogil=True)
def _longest(table, column):
    """The largest number in that column."""
    longest = 0
    for source in range(table.shape[0]):
        longest = max(longest, table[source, column])
    return longest


@njit(cache=True, nogil=True)
def _scratch(length, width, events):
    """What a call writes to and forgets, in one piece of memory. Room for the product of a source, for the drive of a
    layer and for sums in whole numbers (or a table), which begin on cache lines; for values, places and levels."""
    lengths, widths = -(-length // LINE) * LINE, -(-width // LINE) * LINE
    wholes = max(lengths, -(-events // LONGEST_REACH) * LONGEST_REACH)
    words = np.empty(LINE + lengths + widths + wholes + 3 * events, np.int32)
    words = words[(-words.ctypes.data % (LINE * words.itemsize)) // words.itemsize :]
    floats, behind = words.view(np.float32), words[lengths + widths + wholes :]
    product, drive = floats[:length], floats[lengths : lengths + width]
    whole = words[lengths + widths : lengths + widths + wholes]
    values, index = behind[:events].view(np.float32), behind[events : 2 * events]
    return product, drive, whole, values, index, behind[2 * events :].view(np.int8)


@njit(cache=True, nogil=True)
def numbers_of_counts(sources):
    """float32 numbers of memory that the counts of so many sources take: whole lines of the cache."""
    return -(-2 * sources // LINE) * LINE


@njit(cache=True, nogil=True)
def unpack(image):
    """Table, constants, places and weights of a model's image, which is of the kind of the weights."""
    each = image.itemsize
    starts = image[: 4 * LINE // each].view(np.int64)
    table = image[starts[0] // each : starts[1] // each].view(np.int64).reshape((-1, COLUMNS))
    constants = image[starts[1] // each : starts[2] // each].view(np.float32)
    places = image[starts[2] // each : starts[3] // each].view(np.int32)
    return table, constants, places, image[starts[3] // each : starts[4] // each]


@njit(cache=True, nogil=True)
def run(inputs, logits, image, memory, layers):
    """inputs (T, D) to logits (T, N); ``memory`` moves on."""
    inputs, logits, memory = borrowed(inputs), borrowed(logits), borrowed(memory)
    table, constants, places, weights = unpack(borrowed(image))
    size, width = table[1, UNITS], _longest(table, OUTPUTS)
    length, room = _longest(table, ROW), _longest(table, UNITS) + ROOM
    affine, end = _cut(constants, 0, layers + 1, 2, width)
    neurons, end = _cut(constants, end, layers, NEURON_ROWS, size)
    numbers, end = _cut(constants, end, 1, layers + 1, NUMBERS)
    counts = numbers_of_counts(layers + 1)
    sent = memory[:counts].view(np.int64)
    units, middle = _cut(memory, counts, layers, STATE_ROWS, size)
    sums, changes = _cut(memory, middle, layers, SUMS_ROWS, width)
    product, drive, whole, values, index, levels = _scratch(length, width, room)
    for n in range(inputs.shape[0]):
        place = changes
        for source in range(layers + 1):
            line, own = table[source], numbers[0, source]
            total, scales = product[: line[ROW]], constants[end + line[SCALES] : end + line[SCALES] + line[ROW]]
            given = inputs[n] if source == 0 else units[source - 1, 0]
            known = memory[place : place + (line[UNITS] if own[CHANGE] >= 0 else 0)]
            if own[CHANGE] >= 0:
                count = collect_changes(given, known, own[CHANGE], line[EVERY], index, values)
            else:
                count = collect(given, line[EVERY], index, values)
            sent[source] += count
            unit = deliver(line, weights, places, index, values, count, own[UNIT], scales, levels, whole, total)
            if own[CHANGE] >= 0:
                learn(known, given, index, levels, count, unit)
                place += line[UNITS] + line[ROW]
                accumulate(memory[place - line[ROW] : place], total)
                total = memory[place - line[ROW] : place]
            fed = total[: line[OUTPUTS]]
            if source > 0:
                integrate(sums[source - 1, FED_BACK, : line[BACK]], total[line[BACK_AT] :], own[FEEDBACK])
                if own[SMOOTHING] != 0:
                    fed = sums[source - 1, INTEGRATED, : line[OUTPUTS]]
                    integrate(fed, total, own[SMOOTHING])
            if source == layers:
                normalize(fed, affine[source, 0], affine[source, 1], logits[n])
                continue
            driven = drive[: line[OUTPUTS]]
            recurrent = sums[source, FED_BACK, : table[source + 1, BACK]]
            gated = line[CELL] == GRU or line[CELL] == DELTA_GRU or line[CELL] == BN_GRU
            if gated or recurrent.shape[0] == 0:
                normalize(fed, affine[source, 0], affine[source, 1], driven)
            else:
                normalize_and_add(fed, affine[source, 0], affine[source, 1], recurrent, driven)
            if line[WITHIN] > 0:  # the candidate hears what the gates have just left of the last outputs
                inner, candidate = table[line[WITHIN]], driven[2 * size :]
                reset_outputs(driven, recurrent, units[source, 0])
                count = collect(driven[size : 2 * size], line[EVERY], index, values)
                total, scales = product[: inner[ROW]], constants[end + inner[SCALES] : end + inner[SCALES] + inner[ROW]]
                deliver(inner, weights, places, index, values, count, _ZERO, scales, levels, whole, total)
                add(candidate, total[:size])
            _step(line, driven, recurrent, units[source], neurons[source], numbers[0, source + 1])
