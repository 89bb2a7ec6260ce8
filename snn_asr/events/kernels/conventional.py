"""One frame of the conventional layer (cells/conventional.py)."""

from __future__ import annotations

from snn_asr.events.kernels.arithmetic import send
from snn_asr.kernel_cache import njit


@njit(cache=True, nogil=True)
def step(drive, state, neurons, numbers, powers):
    """``drive`` is (H,). The rows of ``state`` are output, current and membrane, and that of ``neurons`` is τ, (H,)
    each. ``numbers`` begin with those of the coder (arithmetic.send)."""
    output, current, membrane = state[0], state[1], state[2]
    decay = neurons[0]
    for k in range(current.shape[0]):
        current[k] = decay[k] * current[k] + drive[k]
    send(current, membrane, output, numbers, powers)
