"""One frame of the gated layers v1 and v2, and of the Li-GRU (cells/gated.py)."""

from __future__ import annotations

import numpy as np

from snn_asr.events.kernels.arithmetic import TINY, gate, send
from snn_asr.kernel_cache import njit
from snn_asr.network.cells.gated import NEAREST
from snn_asr.network.kernels.cpu.tiles import power_below

_ZERO, _ONE, _NEAREST = np.float32(0), np.float32(1), np.float32(NEAREST)


@njit(cache=True, nogil=True)
def step(drive, state, numbers, shifting, powers):
    """``drive`` (2H,) includes the recurrent product. The rows of ``state`` are output, current and membrane (H,).

    ``numbers`` begin with those of the coder (arithmetic.send) and the highest candidate. ``shifting`` says that 1 - F
    is rounded to a power of two, and ``powers`` that levels are powers of two. Written as I + (1 - F) ⊙ (C - I), the
    current takes one multiplication, or one shift.
    """
    output, current, membrane = state[0], state[1], state[2]
    size = output.shape[0]
    forget, candidate, highest = drive[:size], drive[size:], numbers[2]
    for k in range(size):
        share = _ONE - gate(forget[k])
        share = power_below(share * _NEAREST) if shifting else share
        blended = current[k] + share * (min(max(candidate[k], _ZERO), highest) - current[k])
        current[k] = blended if blended > TINY else _ZERO
    send(current, membrane, output, numbers, powers)
