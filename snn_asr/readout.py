"""A leaky integrator behind a spiking layer: what the next layer and the head see is a running mean of the events.

    z[n] = a z[n-1] + (1 - a) y[n]

A linear product commutes with it, W z[n] = a W z[n-1] + (1 - a) W y[n], so an event-driven implementation multiplies
by the sparse y alone and integrates the drive; operations are counted that way. It smooths the coder's rounding noise.
The layer's own recurrent product keeps the events as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snn_asr.kernels import valid_frames


def low_pass(y: Tensor, lengths: Tensor, coefficient: float, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """y (B, T, H) to z (B, T, H), zero beyond the lengths; ``state`` (B, H) is z before the first frame (None: 0).

    Returns z and each row's state after its last valid frame.
    """
    start = torch.zeros_like(y[:, 0]) if state is None else state
    frames, last = [], start
    for frame in y.unbind(1):
        last = torch.lerp(last, frame, 1 - coefficient)
        frames.append(last)
    z = torch.stack(frames, dim=1) * valid_frames(lengths, y.shape[1]).unsqueeze(-1)
    rows = torch.arange(len(y), device=y.device)
    after = z[rows, (lengths - 1).clamp(min=0)].detach()
    return z, torch.where((lengths > 0).unsqueeze(1), after, start)
