"""One frame of torch.nn.GRU and torch.nn.LSTM, their gates in torch's order."""

from __future__ import annotations

from snn_asr.events.kernels.arithmetic import add, logistic, tangent
from snn_asr.kernel_cache import njit


@njit(cache=True, nogil=True)
def gru_step(drive, recurrent, output, bias):
    """drive (3H,): reset, update, new, with both biases but that of the new gate's recurrent product, which is
    ``bias`` (H,); recurrent (3H,); output (H,) becomes the next.

    h = (1 - z) n + z h,  n = tanh(D_n + r (U_n h + b))
    """
    size = output.shape[0]
    reset, update, new = drive[:size], drive[size : 2 * size], drive[2 * size :]
    feedback = recurrent[2 * size :]
    add(drive[: 2 * size], recurrent[: 2 * size])
    logistic(drive[: 2 * size])
    for k in range(size):
        new[k] += reset[k] * (feedback[k] + bias[k])
    tangent(new)
    for k in range(size):
        output[k] = new[k] + update[k] * (output[k] - new[k])


@njit(cache=True, nogil=True)
def lstm_step(drive, state):
    """drive (4H,) with the recurrent product: input, forget, cell, output; state: output, cell (H,)."""
    output, cell = state[0], state[1]
    size = output.shape[0]
    admit, forget, candidate, emit = drive[:size], drive[size : 2 * size], drive[2 * size : 3 * size], drive[3 * size :]
    logistic(drive[: 2 * size])
    logistic(emit)
    tangent(candidate)
    for k in range(size):
        cell[k] = forget[k] * cell[k] + admit[k] * candidate[k]
    for k in range(size):
        output[k] = cell[k]
    tangent(output)
    for k in range(size):
        output[k] = emit[k] * output[k]
