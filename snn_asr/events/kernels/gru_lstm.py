"""One frame of torch's GRU and LSTM, and of those with batch normalisation (cells/bn_gru.py, cells/bn_lstm.py).

These layers are dense: all of their outputs are sent.
"""

from __future__ import annotations

from snn_asr.events.kernels.arithmetic import add, logistic, tangent
from snn_asr.kernel_cache import njit


@njit(cache=True, nogil=True)
def gru_step(drive, recurrent, output, bias):
    """Set ``output`` (H,) to h[n] of torch's GRU:

        h[n] = (1 - z) ⊙ c + z ⊙ h[n-1],   c = tanh(D_c + r ⊙ (U_c h[n-1] + b))

    ``drive`` (3H,) has the blocks of the reset gate r, the update gate z and the candidate c (torch calls it the new
    gate), with all biases but b, which is ``bias`` (H,). ``recurrent`` (3H,) is the recurrent product U h[n-1].
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
    """The first half of a frame of cells/bn_gru.py, whose reset gate comes before the recurrent product.

    ``drive`` (3H,) has the blocks update, reset and candidate, and ``recurrent`` (2H,) is the recurrent product of the
    two gates. In place, update becomes z, and reset becomes r ⊙ h[n-1], which is what Uc is multiplied by.
    """
    size = output.shape[0]
    reset = drive[size : 2 * size]
    add(drive[: 2 * size], recurrent)
    logistic(drive[: 2 * size])
    for k in range(size):
        reset[k] *= output[k]


@njit(cache=True, nogil=True)
def bn_gru_step(drive, output):
    """The second half of a frame of cells/bn_gru.py: h[n] = (1 - z) ⊙ c + z ⊙ h[n-1].

    The candidate's block of the ``drive`` (3H,) includes Uc (r ⊙ h[n-1]) now.
    """
    size = output.shape[0]
    update, candidate = drive[:size], drive[2 * size :]
    tangent(candidate)
    for k in range(size):
        output[k] = candidate[k] + update[k] * (output[k] - candidate[k])


@njit(cache=True, nogil=True)
def lstm_step(state, admit, forget, candidate, emit):
    """The gates, (H,) each, are the blocks of the drive plus the recurrent product.

    The rows of ``state`` are output and cell, (H,) each.
    """
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
