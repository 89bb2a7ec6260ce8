"""The frames of a chunk through all layers and the head, in one compiled call.

Sources are numbered from the features (0) to the last layer (L); source l feeds layer l, counted from 0, or the head.
What a model is, the same for all streams, and read only:

    table (L + 1, 5)      of each source: units, outputs that it feeds, those of its own layer that it feeds back to,
                          row length, place of its first weight
    weights               all rows of all sources, one behind the other: float32, or empty where ``integers`` has them
    integers, scales      the same as int8, and the scale of every column of a row, source after source
    affine (L + 1, 2, W)  scale and offset behind the product of each source: batch normalisation and biases
    neurons (L, 4, H)     what each neuron of a cell has for itself
    numbers (L, 7)        the cell's own (its coder's four, or its threshold), then FEEDBACK, SMOOTHING, UNIT

and what a stream is:

    units (L, 3, H)       state of the cells, the output first
    sums (L, 3, W)        rows RECURRENT, FED_BACK, INTEGRATED
"""

from __future__ import annotations

import numpy as np
from numba import njit

from snn_asr.events.kernels.arithmetic import add, integrate, normalize
from snn_asr.events.kernels.conventional import step as conventional_step
from snn_asr.events.kernels.delivery import BLOCK, collect, deliver, deliver_integers
from snn_asr.events.kernels.gated import step as gated_step
from snn_asr.events.kernels.gru_lstm import gru_step, lstm_step
from snn_asr.events.kernels.leaky_integrate_and_fire import step as leaky_integrate_and_fire_step
from snn_asr.events.kernels.spiking_lstm import step as spiking_lstm_step

GATED, CONVENTIONAL, LEAKY_INTEGRATE_AND_FIRE, SPIKING_LSTM, GRU, LSTM = range(6)
UNITS, OUTPUTS, BACK, ROW, FIRST = range(5)  # columns of ``table``
# Columns of ``numbers``: coefficients of the integrators on the recurrent product and behind the layer, and the unit of
# the values that the layer sends, 0 where they are no multiples of one.
FEEDBACK, SMOOTHING, UNIT = 4, 5, 6
# Rows of ``sums``: the product that waits for the next frame, that product smoothed, and the smoothed product of what
# stands behind the layer.
RECURRENT, FED_BACK, INTEGRATED = range(3)


@njit(cache=True, nogil=True)
def _step(cell, flag, drive, recurrent, state, neurons, numbers):
    """One frame of one layer; ``flag``: candidate clamped, adaptive, or kept, whichever the cell has."""
    if cell == GRU:
        gru_step(drive, recurrent, state, neurons)
        return
    add(drive, recurrent)
    if cell == GATED:
        gated_step(drive, state, numbers, flag)
    elif cell == CONVENTIONAL:
        conventional_step(drive, state, neurons, numbers)
    elif cell == LEAKY_INTEGRATE_AND_FIRE:
        leaky_integrate_and_fire_step(drive, state, neurons, flag)
    elif cell == SPIKING_LSTM:
        spiking_lstm_step(drive, state, numbers, flag)
    else:
        lstm_step(drive, state)


@njit(cache=True, nogil=True)
def _integrated(behind, product, row, coefficient):
    """The product, or where the coefficient is not 0 its running mean in that row of ``behind``."""
    if coefficient == 0:
        return product
    kept = behind[row, : product.shape[0]]
    integrate(kept, product, coefficient)
    return kept


@njit(cache=True, nogil=True)
def _keep(waiting, product, start):
    for k in range(waiting.shape[0]):
        waiting[k] = product[start + k]


@njit(cache=True, nogil=True)
def run(
    inputs, logits, kind, input_unit, table, weights, integers, scales, affine, neurons, numbers, units, sums, sent
):
    """inputs (T, D) to logits (T, N); ``units`` and ``sums`` move on, ``sent`` (L + 1,) counts the events of sources.

    ``kind`` is (cell, flag, every value is sent, weights are int8); ``input_unit`` that of coded features, or 0.
    """
    cell, flag, every, quantized = kind
    layers, longest, room = table.shape[0] - 1, 0, 0
    for source in range(layers + 1):
        longest, room = max(longest, table[source, ROW]), max(room, table[source, UNITS] + BLOCK)
    index, values, levels = np.empty(room, np.int32), np.empty(room, np.float32), np.empty(room, np.int16)
    product, drive = np.empty(longest, np.float32), np.empty(longest, np.float32)
    for n in range(inputs.shape[0]):
        column = 0
        for source in range(layers + 1):
            outputs, length, first = table[source, OUTPUTS], table[source, ROW], table[source, FIRST]
            sender = source - 1
            total, own = product[:length], scales[column : column + length]
            column += length
            count = collect(inputs[n] if source == 0 else units[sender, 0], every, index, values)
            sent[source] += count
            if quantized:
                unit = input_unit if source == 0 else numbers[sender, UNIT]
                deliver_integers(integers, first, index, values, count, unit, own, levels, total)
            else:
                deliver(weights, first, index, values, count, total)
            fed = total[:outputs]
            if source > 0:
                _keep(sums[sender, RECURRENT, : table[source, BACK]], total, outputs)
                fed = _integrated(sums[sender], fed, INTEGRATED, numbers[sender, SMOOTHING])
            if source == layers:
                normalize(fed, affine[source, 0], affine[source, 1], logits[n])
                continue
            driven = drive[:outputs]
            normalize(fed, affine[source, 0], affine[source, 1], driven)
            waiting = sums[source, RECURRENT, : table[source + 1, BACK]]
            recurrent = _integrated(sums[source], waiting, FED_BACK, numbers[source, FEEDBACK])
            _step(cell, flag, driven, recurrent, units[source], neurons[source], numbers[source])
