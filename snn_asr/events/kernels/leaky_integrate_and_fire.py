"""One frame of the leaky integrate-and-fire layers (cells/leaky_integrate_and_fire.py)."""

from __future__ import annotations

import numpy as np

from snn_asr.kernel_cache import njit

_ZERO, _ONE = np.float32(0), np.float32(1)


@njit(cache=True, nogil=True)
def step(drive, state, neurons, adaptive):
    """drive (H,) with the recurrent product; state: output, potential, adaptation; neurons: α, β, a and b (H,)."""
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
        potential[k] = decay[k] * (potential[k] - output[k]) + (_ONE - decay[k]) * drive[k]
    for k in range(output.shape[0]):
        output[k] = _ONE if potential[k] > _ONE else _ZERO
