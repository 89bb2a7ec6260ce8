"""One frame of the gated layers v1 and v2, and of the Li-GRU (cells/gated.py)."""

from __future__ import annotations

import numpy as np

from snn_asr.events.kernels.arithmetic import TINY, gate, send
from snn_asr.kernel_cache import njit
from snn_asr.network.cells.gated import NEAREST
from snn_asr.network.kernels.cpu.tiles import power_below

_ZERO, _ONE, _NEAREST = np.float32(0), np.float32(1), np.float32(NEAREST)


@njit(cache=True, nogil=True)
def step(drive, state, numbers, clamped, shifting, powers):
    """``drive`` (2H,) includes the recurrent product. The rows of ``state`` are output, current and membrane (H,).

    ``clamped`` says that the candidate is clamped to [0, 1], ``shifting`` that 1 - F is rounded to a power of two, and
    ``powers`` that levels are powers of two. ``numbers`` begin with those of the coder (arithmetic.send).
    """
    output, current, membrane = state[0], state[1], state[2]
    size = output.shape[0]
    forget, candidate = drive[:size], drive[size:]
    highest = _ONE if clamped else np.float32(np.inf)
    for k in range(size):
        kept = gate(forget[k])
        kept = _ONE - power_below((_ONE - kept) * _NEAREST) if shifting else kept
        blended = kept * current[k] + (_ONE - kept) * min(max(candidate[k], _ZERO), highest)
        current[k] = blended if blended > TINY else _ZERO
    send(current, membrane, output, numbers, powers)
