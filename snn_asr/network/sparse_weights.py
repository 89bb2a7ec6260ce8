"""Matrices in a weights file: pruned ones without their zeros, those of four bits two numbers to a byte.

    encoder.layers.0.input_weight.kept      uint8: a bit for each block of the matrix, blocks row by row, the first in
                                            the highest bit; 1 where a number of the block is not zero
    encoder.layers.0.input_weight.values    the numbers of these blocks in their order: (K,) where a block is a single
                                            number, (K, B) where it is B neighbouring rows of a column

stand in the place of a matrix at least half of which is zero; behind the last row blocks are filled up with zeros. B is
what takes the fewest bytes of BLOCKS. Numbers are float32 or int8; those of four bits are uint8, two to a byte along
the last dimension (integers.py), in a whole matrix, too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from snn_asr.network.integers import from_nibbles, nibbles

KEPT, VALUES = ".kept", ".values"  # behind the name of a matrix
LARGEST_SHARE = 0.5  # of numbers that are not zero: above, a matrix lies as it is
BLOCKS = (1, 8, 16)
FOUR_BITS = "U4"  # beside safetensors' names of types
Shape = tuple[int, ...]


def thinned(tensors: Mapping[str, Tensor], narrow: Collection[str] = ()) -> dict[str, Tensor]:
    """The tensors of a weights file, pruned matrices among them as bits and values; the int8 numbers of matrices that
    are named ``narrow`` have four bits."""
    thin: dict[str, Tensor] = {}
    for name, each in tensors.items():
        pack = nibbles if name in narrow else _as_it_is
        if each.dim() == 2 and torch.count_nonzero(each) <= LARGEST_SHARE * each.numel():
            forms = [_thin(each, rows) for rows in BLOCKS]
            bits, values = min(((bits, pack(values)) for bits, values in forms), key=_nbytes)
            thin |= {name + KEPT: bits, name + VALUES: values}
        else:
            thin[name] = pack(each)
    return thin


def _as_it_is(numbers: Tensor) -> Tensor:
    return numbers


def _nbytes(tensors: tuple[Tensor, Tensor]) -> int:
    return sum(each.nbytes for each in tensors)


def _thin(matrix: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Bits and values of a matrix (M, D) in blocks of so many rows."""
    blocks = _in_blocks(matrix, rows)
    kept = (blocks != 0).any(2)
    values = blocks[kept]
    return torch.from_numpy(np.packbits(kept.numpy())), values.flatten() if rows == 1 else values


def _in_blocks(matrix: Tensor, rows: int) -> Tensor:
    """(M, D) as (⌈M / rows⌉, D, rows)."""
    padded = torch.nn.functional.pad(matrix, (0, 0, 0, -len(matrix) % rows))
    return padded.unflatten(0, (-1, rows)).transpose(1, 2)


def is_thinned(tensors: Mapping[str, Tensor]) -> bool:
    """Whether some matrix is there as bits and values."""
    return any(name.endswith(KEPT) for name in tensors)


def is_compact(tensors: Mapping[str, Tensor]) -> bool:
    """Whether some matrix has numbers of four bits, or is there in blocks."""
    numbers = [(name, each) for name, each in tensors.items() if not name.endswith(KEPT)]
    return any(each.dtype == torch.uint8 or (name.endswith(VALUES) and each.dim() == 2) for name, each in numbers)


def fitting(
    shapes: Mapping[str, Shape], types: Mapping[str, str], expected: Mapping[str, Shape]
) -> tuple[dict[str, Shape], dict[str, str]]:
    """Shapes and types of a header, with each matrix that lies as bits and values as a whole one of the size
    ``expected`` of it, where they fit that size, and each of four bits as one of FOUR_BITS; others stay as they are
    named."""
    shapes, types = dict(shapes), dict(types)
    for name, shape in expected.items():
        bits, values = name + KEPT, name + VALUES
        if len(shape) != 2:
            continue
        if name in shapes:
            if types[name] == "U8" and shapes[name] == (shape[0], -(-shape[1] // 2)):
                shapes[name], types[name] = shape, FOUR_BITS
        elif {bits, values} <= shapes.keys() and types[bits] == "U8":
            rows = _rows_of(shapes[values], types[values] == "U8")
            if rows in BLOCKS and shapes[bits] == (-(-(-(-shape[0] // rows) * shape[1]) // 8),):
                shapes[name], types[name] = shape, FOUR_BITS if types[values] == "U8" else types[values]
                for each in (bits, values):
                    del shapes[each], types[each]
    return shapes, types


def _rows_of(values: Shape, narrow: bool) -> int:
    """The rows of a block, from the shape of its values; 0 where there is no such shape."""
    if len(values) == 1:
        return 1
    return values[1] * (2 if narrow else 1) if len(values) == 2 else 0


def whole(tensors: Mapping[str, Tensor], shapes: Mapping[str, Shape]) -> tuple[dict[str, Tensor], set[str]]:
    """The inverse of ``thinned``, with the ``shapes`` of all matrices, which ``fitting`` has been asked about: the
    tensors, and the names of those that were of four bits.

    Raises ValueError where there are more or fewer values than bits that are set.
    """
    thin = {name.removesuffix(KEPT) for name in tensors if name.endswith(KEPT)}
    narrow = {name.removesuffix(VALUES) for name, each in tensors.items() if each.dtype == torch.uint8} - {
        name + KEPT for name in thin
    }
    state = {name: each for name, each in tensors.items() if name.removesuffix(KEPT).removesuffix(VALUES) not in thin}
    for name in sorted(narrow - thin):
        state[name] = _named(name, state[name], shapes[name][1])
    for name in sorted(thin):
        (height, width), values = shapes[name], tensors[name + VALUES]
        rows = _rows_of(tuple(values.shape), name in narrow)
        blocks = -(-height // rows)
        kept = np.unpackbits(tensors[name + KEPT].numpy())[: blocks * width].astype(bool).reshape(blocks, width)
        count = int(kept.sum())
        if name in narrow:
            values = _named(name + VALUES, values, count if rows == 1 else rows)
        if count != len(values):
            raise ValueError(f"'{name}{VALUES}' has {len(values)} numbers for {count} bits")
        matrix = torch.zeros(blocks, width, rows, dtype=values.dtype)
        matrix[torch.from_numpy(kept)] = values.reshape(count, rows)
        state[name] = matrix.transpose(1, 2).flatten(0, 1)[:height].contiguous()
    return state, narrow


def _named(name: str, packed: Tensor, count: int) -> Tensor:
    """``from_nibbles`` of a tensor, which is named where it does not fit."""
    try:
        return from_nibbles(packed, count)
    except ValueError as error:
        raise ValueError(f"'{name}' holds {error}") from error
