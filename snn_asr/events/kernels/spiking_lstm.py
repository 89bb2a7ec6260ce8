"""One frame of the spiking LSTM (cells/spiking_lstm.py). Its gates are 0 or 1, so that they only select values."""

from __future__ import annotations

import numpy as np

from snn_asr.kernel_cache import njit

_ZERO, _ONE = np.float32(0), np.float32(1)


@njit(cache=True, nogil=True)
def step(drive, state, numbers, kept):
    """``drive`` (4H,) includes the recurrent product. The rows of ``state`` are output and cell, (H,) each.

    The first of ``numbers`` is the threshold θ. ``kept`` says that the cell is not thresholded.
    """
    output, cell = state[0], state[1]
    size, threshold = output.shape[0], numbers[0]
    forget, admit, emit, candidate = drive[:size], drive[size : 2 * size], drive[2 * size : 3 * size], drive[3 * size :]
    for k in range(size):
        written = _ONE if (admit[k] > threshold) & (candidate[k] > threshold) else _ZERO
        cell[k] = (cell[k] if forget[k] > threshold else _ZERO) + written
    if not kept:
        for k in range(size):
            cell[k] = _ONE if cell[k] > threshold else _ZERO
    for k in range(size):
        output[k] = cell[k] if emit[k] > threshold else _ZERO
