"""One frame of the GRU that sends changes (cells/delta_gru.py)."""

from __future__ import annotations

from snn_asr.events.kernels.gru_lstm import gru_step
from snn_asr.kernel_cache import njit


@njit(cache=True, nogil=True)
def step(drive, recurrent, state, neurons, numbers):
    """``drive`` and ``recurrent`` (3H,) are those of ``gru_step``, where the recurrent product is the memory M.

    The rows of ``state`` are output and hidden, (H,) each. The first of ``numbers`` is the threshold Θ.
    """
    output, hidden = state[0], state[1]
    gru_step(drive, recurrent, hidden, neurons[0])
    for k in range(output.shape[0]):
        output[k] = hidden[k] if abs(hidden[k] - output[k]) > numbers[0] else output[k]
