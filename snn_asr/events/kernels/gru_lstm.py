"""One frame of torch.nn.GRU and LSTM, and of their twins with batch normalisation (cells/bn_gru.py, bn_lstm.py)."""

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
def reset_outputs(drive, recurrent, output):
    """The gates of the GRU that resets what its candidate hears: drive (3H,) is update, reset, candidate, recurrent
    (2H,) is that of the gates. Update becomes z, reset what is left of the output (H,), r h."""
    size = output.shape[0]
    reset = drive[size : 2 * size]
    add(drive[: 2 * size], recurrent)
    logistic(drive[: 2 * size])
    for k in range(size):
        reset[k] *= output[k]


@njit(cache=True, nogil=True)
def bn_gru_step(drive, output):
    """What is left when the candidate has heard: h = (1 - z) c + z h, c = tanh(D_c + U_c (r h))."""
    size = output.shape[0]
    update, candidate = drive[:size], drive[2 * size :]
    tangent(candidate)
    for k in range(size):
        output[k] = candidate[k] + update[k] * (output[k] - candidate[k])


@njit(cache=True, nogil=True)
def lstm_step(state, admit, forget, candidate, emit):
    """The gates (H,) are blocks of the drive with the recurrent product; state: output, cell (H,)."""
    output, cell = state[0], state[1]
    logistic(admit)
    logistic(forget)
    logistic(emit)
    tangent(candidate)
    for k in range(output.shape[0]):
        cell[k] = forget[k] * cell[k] + admit[k] * candidate[k]
    for k in range(output.shape[0]):
        output[k] = cell[k]
    tangent(output)
    for k in range(output.shape[0]):
        output[k] = emit[k] * output[k]
