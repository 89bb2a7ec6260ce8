"""One frame of the conventional layer (cells/conventional.py)."""

from __future__ import annotations

from snn_asr.events.kernels.arithmetic import send
from snn_asr.kernel_cache import njit


@njit(cache=True, nogil=True)
def step(drive, state, neurons, numbers, powers):
    """drive (H,); state: output, current, membrane (H,); neurons: τ (H,)."""
    output, current, membrane = state[0], state[1], state[2]
    decay = neurons[0]
    for k in range(current.shape[0]):
        current[k] = decay[k] * current[k] + drive[k]
    send(current, membrane, output, numbers, powers)
