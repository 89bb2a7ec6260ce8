"""One frame of the GRU that sends changes (cells/delta_gru.py)."""

from __future__ import annotations

from snn_asr.events.kernels.gru_lstm import gru_step
from snn_asr.kernel_cache import njit


@njit(cache=True, nogil=True)
def step(drive, recurrent, state, neurons, numbers):
    """drive and recurrent (3H,) as those of the GRU, the latter the memories; state: output, hidden (H,); ``numbers``
    begin with the threshold."""
    output, hidden = state[0], state[1]
    gru_step(drive, recurrent, hidden, neurons[0])
    for k in range(output.shape[0]):
        output[k] = hidden[k] if abs(hidden[k] - output[k]) > numbers[0] else output[k]
