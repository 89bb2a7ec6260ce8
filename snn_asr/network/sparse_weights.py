"""Pruned matrices in a weights file: which numbers are not zero, and these numbers alone.

    encoder.layers.0.input_weight.kept      uint8: a bit for each number of the matrix, row by row, the first in the
                                            highest bit; 1 where it is not zero
    encoder.layers.0.input_weight.values    these numbers in their order, float32 or int8

stand in the place of a matrix at least half of which is zero. A tenth of a float32 matrix takes an eighth of its room.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

KEPT, VALUES = ".kept", ".values"  # behind the name of a matrix
LARGEST_SHARE = 0.5  # of numbers that are not zero: above, a matrix lies as it is
Shape = tuple[int, ...]


def thinned(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a weights file, pruned matrices among them as bits and values."""
    thin: dict[str, Tensor] = {}
    for name, each in tensors.items():
        kept = each.numpy() != 0
        if each.dim() == 2 and kept.sum() <= LARGEST_SHARE * kept.size:
            thin[name + KEPT] = torch.from_numpy(np.packbits(kept))
            thin[name + VALUES] = torch.from_numpy(each.numpy()[kept])
        else:
            thin[name] = each
    return thin


def is_thinned(tensors: Mapping[str, Tensor]) -> bool:
    """Whether some matrix is there as bits and values."""
    return any(name.endswith(KEPT) for name in tensors)


def fitting(
    shapes: Mapping[str, Shape], types: Mapping[str, str], expected: Mapping[str, Shape]
) -> tuple[dict[str, Shape], dict[str, str]]:
    """Shapes and types of a header, with each matrix that lies as bits and values as a whole one of the size
    ``expected`` of it, where they fit that size; others stay as they are named."""
    shapes, types = dict(shapes), dict(types)
    for name, shape in expected.items():
        bits, values, size = name + KEPT, name + VALUES, int(np.prod(shape, dtype=object))
        if name in shapes or not {bits, values} <= shapes.keys() or len(shape) != 2:
            continue
        if types[bits] == "U8" and shapes[bits] == (-(-size // 8),) and len(shapes[values]) == 1:
            shapes[name], types[name] = shape, types.pop(values)
            for each in (bits, values):
                shapes.pop(each)
            types.pop(bits)
    return shapes, types


def whole(tensors: Mapping[str, Tensor], shapes: Mapping[str, Shape]) -> dict[str, Tensor]:
    """The inverse of ``thinned``, with the ``shapes`` of all matrices, which ``fitting`` has been asked about.

    Raises ValueError where there are more or fewer values than bits that are set.
    """
    thin = {name.removesuffix(KEPT) for name in tensors if name.endswith(KEPT)}
    state = {name: each for name, each in tensors.items() if name.removesuffix(KEPT).removesuffix(VALUES) not in thin}
    for name in sorted(thin):
        shape, values = shapes[name], tensors[name + VALUES]
        kept = np.unpackbits(tensors[name + KEPT].numpy())[: shape[0] * shape[1]].astype(bool).reshape(shape)
        if int(kept.sum()) != len(values):
            raise ValueError(f"'{name}{VALUES}' has {len(values)} numbers for {int(kept.sum())} bits")
        state[name] = torch.zeros(shape, dtype=values.dtype).masked_scatter_(torch.from_numpy(kept), values)
    return state
