"""One frame of the leaky integrate-and-fire layers (cells/leaky_integrate_and_fire.py and cells/hard_reset.py)."""

from __future__ import annotations

import numpy as np

from snn_asr.kernel_cache import njit

_ZERO, _ONE = np.float32(0), np.float32(1)


@njit(cache=True, nogil=True)
def step(drive, state, neurons, adaptive, hard):
    """``drive`` (H,) includes the recurrent product. The rows of ``state`` are output, potential and adaptation, and
    those of ``neurons`` α, β, a and b, (H,) each.

    With a ``hard`` reset the potential starts from 0 after a spike; otherwise the spike is subtracted from it.
    """
    output, potential, adaptation = state[0], state[1], state[2]
    decay = neurons[0]
    if adaptive:
        adaptation_decay, coupling, jump = neurons[1], neurons[2], neurons[3]
        for k in range(output.shape[0]):
            held = adaptation_decay[k] * adaptation[k] + coupling[k] * potential[k]
            adaptation[k] = held + jump[k] * output[k]
        for k in range(output.shape[0]):
            drive[k] -= adaptation[k]
    for k in range(output.shape[0]):
        kept = potential[k] * (_ONE - output[k]) if hard else potential[k] - output[k]
        potential[k] = decay[k] * kept + (_ONE - decay[k]) * drive[k]
    for k in range(output.shape[0]):
        output[k] = _ONE if potential[k] > _ONE else _ZERO
