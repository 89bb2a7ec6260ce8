"""Takes the frames of a chunk through all layers and the head, in one compiled call, ``run``.

The L + 1 sources are numbered: source 0 is the features, and source l > 0 is the output of the l-th layer. Source l
feeds the layer with index l, counted from 0, and the last source feeds the head.

``run`` has only four arrays as arguments, because handing over an array takes a tenth of a microsecond. The model is
one array, its ``image``, which is read only and which all streams share (storage.packed). It consists of:

    table (L + 1, 16)     integers, a line for each source. About the source itself:
                            UNITS            its number of units
                            OUTPUTS          the number of sums that it feeds in the next layer or the head
                            BACK, BACK_AT    the number of sums that it feeds in its own layer, and where they begin in
                                             a row
                            ROW              the number of columns of a row of weights
                            FIRST            the place of its first weight
                            KIND, STARTS     the layout of its weights, and where its places begin (delivery.py)
                            SHIFTS           whether its values are powers of two, in units of the source
                            EVERY            whether it sends every value, also zeros
                            SCALES           where its scales begin among the scales of all sources
                          About the layer that it feeds:
                            CELL             which cell
                            FLAG             an option of the cell: adaptation, or kept cell
                            POWERS           whether the levels are powers of two
                            SHIFTING         whether 1 - F of its gates is a power of two
                            WITHIN           the line, behind those of the sources, of the weights that the layer's own
                                             units are multiplied by within a step, or 0 (cells/bn_gru.py)
    constants             float32, one block after the other. W is the largest number of outputs, H a layer's units:
                            offsets (L + 1, W)     what is added to the product of each source: batch normalisation
                                                   and biases
                            neurons (L, 4, H)      the values that each neuron has for itself, such as its decay
                            numbers (L + 1, 7)     of each source its UNIT and, if it sends changes, the smallest CHANGE
                                                   that is sent, otherwise a negative number; of a layer also the range
                                                   and threshold of its coder (or its own threshold) and the highest
                                                   candidate, FEEDBACK and SMOOTHING
                            scales                 of each column of int8 weights, in the order of the table's lines
    places, weights       those of all sources, one after the other (storage.py); weights are float32 or int8

A stream is one array as well, its ``memory``, which consists of:

    counts                the number of events that each source has sent so far (int64)
    units (L, 3, H)       the states of the cells, the output first
    sums (L, 2, W)        the rows FED_BACK and INTEGRATED of each layer
    changes               for each source that sends changes: what is known of its units, and the sums of the products
"""

from __future__ import annotations

import numpy as np

from snn_asr.events.kernels.arithmetic import add, integrate, sum_of_three, sum_of_two
from snn_asr.events.kernels.by_output import REACH
from snn_asr.events.kernels.changes import collect_changes, learn
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
TAKES_RECURRENT = GRU, DELTA_GRU, BN_GRU  # cells that take the recurrent product apart; others add it to the drive
# Columns of ``table`` that follow those of delivery.py, and the number of columns.
CELL, FLAG, EVERY, POWERS, SHIFTING, SCALES, WITHIN, COLUMNS = 9, 10, 11, 12, 13, 14, 15, 16
# Columns of ``numbers`` after the cell's own three, and their number: the coefficients of the integrators of the
# recurrent product and behind the layer; the unit of which the values sent are multiples, or 0; the smallest change
# that is sent.
FEEDBACK, SMOOTHING, UNIT, CHANGE, NUMBERS = 3, 4, 5, 6, 7
NEURON_ROWS, STATE_ROWS, SUMS_ROWS = 4, 3, 2
# Rows of ``sums``: the recurrent product for the next frame, and the integrated product for what the layer feeds.
FED_BACK, INTEGRATED = range(2)
LINE = 16  # numbers of four bytes in a cache line
LONGEST_REACH = REACH["float32"]  # numbers of four bytes in the longest table of by_output.py
_ZERO = np.float32(0)


@njit(cache=True, nogil=True)
def _step(line, drive, recurrent, state, neurons, numbers):
    """One frame of the layer that a source feeds; ``line`` is the source's line of the table.

    The drive includes the recurrent product, except for cells of TAKES_RECURRENT.
    """
    size = state.shape[1]
    cell, flag, powers = line[CELL], line[FLAG] != 0, line[POWERS] != 0
    if cell == GATED:
        gated_step(drive, state, numbers, line[SHIFTING] != 0, powers)
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
    """The block (first, second, third) of ``floats`` that begins at ``start``, and where it ends."""
    end = start + first * second * third
    return floats[start:end].reshape((first, second, third)), end


@njit(cache=True, nogil=True)
def _longest(table, column):
    """The largest number in a column of the table."""
    longest = 0
    for source in range(table.shape[0]):
        longest = max(longest, table[source, column])
    return longest


@njit(cache=True, nogil=True)
def _scratch(length, width, events):
    """Memory that a call needs only while it runs, in one piece.

    It has room for the product of a source, for the drive of a layer, and for sums in whole numbers (or a table), each
    of which begins on a cache line, and for the values, places and levels of events.
    """
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
    """How many float32 numbers of memory the counts of so many sources take: whole cache lines."""
    return -(-2 * sources // LINE) * LINE


@njit(cache=True, nogil=True)
def unpack(image):
    """The table, constants, places and weights in a model's image, whose type is that of the weights."""
    each = image.itemsize
    starts = image[: 4 * LINE // each].view(np.int64)
    table = image[starts[0] // each : starts[1] // each].view(np.int64).reshape((-1, COLUMNS))
    constants = image[starts[1] // each : starts[2] // each].view(np.float32)
    places = image[starts[2] // each : starts[3] // each].view(np.int32)
    return table, constants, places, image[starts[3] // each : starts[4] // each]


@njit(cache=True, nogil=True)
def run(inputs, logits, image, memory, layers):
    """Set the logits (T, N) of inputs (T, D); the ``memory`` of the stream moves on by T frames.

    ``layers`` is L. Each frame goes through the sources in turn: their events are found and delivered, the sums are
    normalised and become the drive, and the layer takes one step.
    """
    inputs, logits, memory = borrowed(inputs), borrowed(logits), borrowed(memory)
    table, constants, places, weights = unpack(borrowed(image))
    size, width = table[1, UNITS], _longest(table, OUTPUTS)
    length, room = _longest(table, ROW), _longest(table, UNITS) + ROOM
    offsets, end = _cut(constants, 0, 1, layers + 1, width)
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
                kept = memory[place - line[ROW] : place]
                add(kept, total)
                total = kept
            fed = total[: line[OUTPUTS]]
            if source > 0:
                integrate(sums[source - 1, FED_BACK, : line[BACK]], total[line[BACK_AT] :], own[FEEDBACK])
                if own[SMOOTHING] != 0:
                    fed = sums[source - 1, INTEGRATED, : line[OUTPUTS]]
                    integrate(fed, total, own[SMOOTHING])
            offset = offsets[0, source]
            if source == layers:
                sum_of_two(fed, offset, logits[n])
                continue
            driven = drive[: line[OUTPUTS]]
            recurrent = sums[source, FED_BACK, : table[source + 1, BACK]]
            if line[CELL] in TAKES_RECURRENT or recurrent.shape[0] == 0:
                sum_of_two(fed, offset, driven)
            else:
                sum_of_three(fed, offset, recurrent, driven)
            if line[WITHIN] > 0:  # the candidate receives what the reset gate leaves of the last outputs
                inner, candidate = table[line[WITHIN]], driven[2 * size :]
                reset_outputs(driven, recurrent, units[source, 0])
                count = collect(driven[size : 2 * size], line[EVERY], index, values)
                total, scales = product[: inner[ROW]], constants[end + inner[SCALES] : end + inner[SCALES] + inner[ROW]]
                deliver(inner, weights, places, index, values, count, _ZERO, scales, levels, whole, total)
                add(candidate, total[:size])
            _step(line, driven, recurrent, units[source], neurons[source], numbers[0, source + 1])
