"""Values that are sent when they have changed (network/changes.py) in Triton: one scan over the frames."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from snn_asr.network.kernels.triton.scanning import scan
from snn_asr.network.kernels.triton.tiles import frames_ahead, keep, row_of


@triton.jit
def _hold(
    values, start, numbers, lengths, sent, frames, SIZE: tl.constexpr, UNITS: tl.constexpr, GROUP: tl.constexpr,
    STATE: tl.constexpr,
):
    row, units, here, length = row_of(lengths, SIZE, UNITS)
    place, threshold = row * frames * SIZE + units, tl.load(numbers)
    held = tl.load(start + row * SIZE + units, mask=here, other=0.0)
    n = frames * 0
    while n < frames:
        given = frames_ahead(values + place, n, 1, length, here, SIZE, GROUP)
        for i in tl.static_range(GROUP):
            held = tl.where(tl.abs(given[i] - held) > threshold, given[i], held)
            keep(sent + place, held, n + i, length, frames, here, SIZE)
        n += GROUP


def hold(values: Tensor, threshold: float, start: Tensor) -> Tensor:
    """The values sent (B, T, D) of ``values`` (B, T, D); ``start`` (B, D) was sent before the first.

    Each stays as it was until it has moved by more than the threshold. There is no gradient.
    """
    batch, frames, size = values.shape
    sent, lengths = torch.empty_like(values), torch.full((batch,), frames, device=values.device)
    scan(_hold, size, frames, lengths, {"values": values, "start": start, "sent": sent}, (threshold,))
    return sent
