"""Weights on disk: float32, or matrices in int8 with one float32 scale for each row (output).

    encoder.layers.0.input_weight           int8 (M, D)
    encoder.layers.0.input_weight.scales    float32 (M,)      weight = integer · scale

Integers go from -127 to 127. What is restored from them rounds to the same integers again, for whoever has the scales.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

SCALES = ".scales"  # behind the name of a matrix
_LARGEST = np.iinfo(np.int8).max


def row_scales(weight: Tensor) -> Tensor:
    """Of (M, D), the scales (M,) with which each row's largest magnitude becomes 127."""
    largest = np.abs(weight.detach().float().numpy()).max(axis=1)
    return torch.from_numpy(np.where(largest > 0, largest, np.float32(1)) / np.float32(_LARGEST))


def rounded(weight: Tensor, scales: Tensor) -> Tensor:
    """(M, D) as int8 in units of the scales (M,)."""
    return torch.from_numpy(np.rint(weight.detach().float().numpy() / scales.numpy()[:, None]).astype(np.int8))


def restored(integers: Tensor, scales: Tensor) -> Tensor:
    """int8 (M, D) and scales (M,) as float32."""
    return integers.float() * scales.unsqueeze(1)


def pack(state: Mapping[str, Tensor], scales: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a weights file: those matrices that have scales as int8, all else as it is."""
    packed = {name: each.detach().cpu().contiguous() for name, each in state.items()}
    for name, own in scales.items():
        packed |= {name: rounded(packed[name], own), name + SCALES: own}
    return packed


def unpack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The inverse: all weights in float32, and the scales by name. Raises KeyError where scales are missing."""
    scales = {name: tensors[name + SCALES] for name, each in tensors.items() if each.dtype == torch.int8}
    state = {name: each for name, each in tensors.items() if name.removesuffix(SCALES) not in scales}
    return state | {name: restored(tensors[name], own) for name, own in scales.items()}, scales
