"""Which frames of a padded batch are real: masks, and what is done with them. Lengths (B,) count frames."""

from __future__ import annotations

import torch
from torch import Tensor


def valid_frames(lengths: Tensor, frames: int) -> Tensor:
    """Mask (B, T), True where a frame lies within its row's length."""
    return torch.arange(frames, device=lengths.device) < lengths.unsqueeze(1)


def without_padding(sequence: Tensor, lengths: Tensor) -> Tensor:
    """The sequence (B, T, H), zero beyond the lengths; itself where every row is full (a GPU is not asked: it would
    have to be waited for)."""
    if not lengths.is_cuda and bool((lengths == sequence.shape[1]).all()):
        return sequence
    return sequence * valid_frames(lengths, sequence.shape[1]).unsqueeze(-1)


def reverse_frames(x: Tensor, lengths: Tensor) -> Tensor:
    """Each row's valid frames in reverse; padding stays at the end."""
    index = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
    index = torch.where(valid_frames(lengths, x.shape[1]), lengths.unsqueeze(1) - 1 - index, index)
    return x.gather(1, index.unsqueeze(-1).expand_as(x))
