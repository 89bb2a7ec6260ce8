"""Values that are sent when they have changed (network/changes.py): a loop over the frames of each row."""

from __future__ import annotations

import torch
from torch import Tensor

from snn_asr.kernel_cache import njit
from snn_asr.network.kernels.cpu.threads import share


@njit(cache=True, nogil=True)
def _hold_frame(values, before, threshold, sent):
    """One frame of a row. What is not a number has not moved, and what was sent stays."""
    for k in range(sent.shape[0]):
        sent[k] = values[k] if abs(values[k] - before[k]) > threshold else before[k]


@njit(cache=True, nogil=True)
def _hold_rows(values, start, threshold, sent):
    """Fill ``sent`` (B, T, D) from ``values`` (B, T, D) and ``start`` (B, D)."""
    for row in range(values.shape[0]):
        for n in range(values.shape[1]):
            _hold_frame(values[row, n], sent[row, n - 1] if n else start[row], threshold, sent[row, n])


def hold(values: Tensor, threshold: float, start: Tensor) -> Tensor:
    """The values sent (B, T, D) of ``values`` (B, T, D); ``start`` (B, D) was sent before the first.

    Each stays as it was until it has moved by more than the threshold. There is no gradient.
    """
    sent = torch.empty_like(values)
    limit = values.numpy().dtype.type(threshold)

    def run(rows: slice) -> None:
        _hold_rows(values[rows].numpy(), start[rows].numpy(), limit, sent[rows].numpy())

    share(run, len(values))
    return sent
