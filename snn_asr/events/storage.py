"""The layout of a source's weights in memory: whole rows, or only the parts that pruning has left.

A source (the features or a layer) has one row of weights for each unit: first those to everything that the unit feeds,
then its recurrent ones. Both parts begin at a multiple of the longest block. A row is read from end to end, about one
vector at each step. If most of its weights are zero, it is faster to keep only the blocks of 16 or 8 neighbouring
weights that are not all zero, each with its place, or even single weights, if whole rows do not fit the second-level
cache. Features are hardly ever zero, and are faster summed by output (kernels/by_output.py) if pruning has left few of
their weights. For each source the layout is taken that is expected to be fastest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snn_asr.events.kernels.by_output import DEPTH, LOOKS_UP, REACH
from snn_asr.events.kernels.delivery import BY_OUTPUT, LANES, ROWS
from snn_asr.events.kernels.vectors import FLOAT_LANES, SINGLES
from snn_asr.events.sources import Rounded

ALIGNMENT_BYTES = 64  # a row begins on a cache line
# The expected time of an event is counted in steps. A step is the time for one vector of a row, which has STEP_WEIGHTS
# weights (about 1.2 ns with AVX-512 at 2.1 GHz). A block takes BLOCK_STEPS by its size, and a step of by_output.py
# takes LOOKED_UP_STEPS. Weights of more than CACHED_BYTES do not fit the second-level cache and take FAR times as long.
STEP_WEIGHTS = {"float32": 16, "int8": 32}
BLOCK_STEPS = {16: 1.7, 8: 1.3, 1: 0.7}
LOOKED_UP_STEPS = {"float32": 1.5, "int8": 2.5}
CACHED_BYTES, FAR = 3 << 19, 2.0
PLACE_BYTES = np.dtype(np.int32).itemsize


@dataclass(frozen=True, eq=False)
class Stored:
    """The weights of one source. ``kind`` is ROWS, BY_OUTPUT, or the size of its blocks.

    The source feeds ``outputs`` sums and, from column ``back_at`` of a row, ``back`` sums of its own layer. A row has
    ``length`` columns, with the ``scales`` (length,). ``values`` are all weights, flat. For blocks, ``places`` (int32)
    has the first block of every unit, the end of the last unit's blocks, and then the column of every block; for
    BY_OUTPUT see kernels/by_output.py.
    """

    units: int
    outputs: int
    back: int
    back_at: int
    length: int
    kind: int
    values: np.ndarray
    places: np.ndarray
    scales: np.ndarray


def stored(blocks: Sequence[Rounded], whole: bool = False, dense: bool = False) -> Stored:
    """The stored weights of a source, from the matrix to what it feeds and, if there is one, its recurrent matrix.

    They are stored in ``whole`` rows, or in the layout that is expected to be fastest; ``dense`` says that hardly any
    value of the source is zero. Either both matrices are rounded or none. Weights of four bits also take a byte each.
    """
    first = blocks[0]
    kind = np.dtype(np.float32 if first.grid is None else np.int8)
    starts = np.cumsum([0, *(_up(len(each.weight), LANES[0]) for each in blocks)])
    length = _up(int(starts[-1]), ALIGNMENT_BYTES // kind.itemsize)
    rows, scales = np.zeros((first.weight.shape[1], length), kind), np.ones(length, np.float32)
    for each, start in zip(blocks, starts, strict=False):
        columns = slice(start, start + len(each.weight))
        if each.grid is not None:
            scales[columns] = each.grid.scales.numpy()
        rows[:, columns] = each.numbers.detach().numpy().T
    lanes = ROWS if whole else quickest(rows, dense)
    if lanes == ROWS:
        values, places = rows.ravel(), np.empty(0, np.int32)
    else:
        values, places = by_output(rows) if lanes == BY_OUTPUT else _blocks(rows, lanes)
    back = sum(len(each.weight) for each in blocks[1:])
    return Stored(len(rows), len(first.weight), back, int(starts[1]), length, lanes, values, places, scales)


def quickest(rows: np.ndarray, dense: bool = False) -> int:
    """The layout in which an event of a source with these ``rows`` is expected to take the least time.

    It is ROWS, the size of blocks, or BY_OUTPUT, which is only for ``dense`` sources.
    """
    expected = {ROWS: _far(rows.nbytes) * rows.size / STEP_WEIGHTS[rows.dtype.name]}
    for lanes in LANES:
        kept = np.count_nonzero(_kept(rows, lanes))
        expected[lanes] = _far(kept * (lanes * rows.itemsize + PLACE_BYTES)) * kept * BLOCK_STEPS[lanes]
    if dense and LOOKS_UP:
        steps = _slots(rows).sum() / DEPTH[rows.dtype.name]
        expected[BY_OUTPUT] = _far(2 * ALIGNMENT_BYTES * steps) * steps * LOOKED_UP_STEPS[rows.dtype.name]
    return min(expected, key=lambda each: expected[each])


def _far(stored_bytes: int) -> float:
    """The factor of the time if so many bytes of weights are read."""
    return FAR if stored_bytes > CACHED_BYTES else 1.0


def _kept(rows: np.ndarray, lanes: int) -> np.ndarray:
    """A mask (units, length / lanes) of the blocks that have a weight that is not zero."""
    return np.asarray(rows.reshape(len(rows), -1, lanes).any(axis=2))


def _slots(rows: np.ndarray) -> np.ndarray:
    """The numbers (groups of outputs, tables) of weights in a lane of by_output.py, as many as the fullest lane has."""
    reach, depth = REACH[rows.dtype.name], DEPTH[rows.dtype.name]
    left = np.pad(rows != 0, ((0, -len(rows) % reach), (0, 0))).reshape(-1, reach, rows.shape[1]).sum(axis=1)
    fullest = left.reshape(len(left), -1, FLOAT_LANES).max(axis=2).T
    return np.asarray(-(-fullest // depth) * depth)


def by_output(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weights and places in the layout of by_output.py."""
    reach, depth, slots = REACH[rows.dtype.name], DEPTH[rows.dtype.name], _slots(rows)
    starts = np.cumsum([0, *slots.ravel()])
    column, unit = np.nonzero(rows.T)
    table = unit // reach
    sums = column * slots.shape[1] + table
    rank = np.arange(len(sums)) - np.searchsorted(sums, sums)  # among the weights of one output in one table
    slot = starts[column // FLOAT_LANES * slots.shape[1] + table] + rank
    values = np.zeros((starts[-1] // depth, FLOAT_LANES, depth), rows.dtype)
    units = np.zeros(values.shape, np.uint8)
    place = slot // depth, column % FLOAT_LANES, slot % depth
    values[place], units[place] = rows[unit, column], unit % reach
    return values.ravel(), np.concatenate([starts // depth, units.ravel().view(np.int32)]).astype(np.int32)


def _blocks(rows: np.ndarray, lanes: int) -> tuple[np.ndarray, np.ndarray]:
    """The weights and places in blocks of ``lanes`` weights; single weights come in groups of SINGLES."""
    kept = _kept(rows, lanes)
    if lanes == 1:  # fills up each unit with its first weights that are zero; in rows as long as these there are enough
        missing = -kept.sum(axis=1, keepdims=True) % SINGLES
        kept |= ~kept & (np.cumsum(~kept, axis=1) <= missing)
    starts = np.cumsum([0, *kept.sum(axis=1)])
    values = rows.reshape(len(rows), -1, lanes)[kept].ravel()
    values = np.pad(values, (0, -values.nbytes % ALIGNMENT_BYTES // values.itemsize))  # aligns the next source
    return values, np.concatenate([starts, np.nonzero(kept)[1] * lanes]).astype(np.int32)


def flat(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The arrays one after the other, as one array that begins on a cache line."""
    size = sum(each.nbytes for each in arrays)
    room = np.empty(size + ALIGNMENT_BYTES, np.uint8)
    start = -room.ctypes.data % ALIGNMENT_BYTES
    return np.concatenate(arrays, out=room[start : start + size].view(arrays[0].dtype))


def packed(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of any types in one array, whose type is that of the last.

    The first cache line says where each array begins and the last one ends, in bytes (int64). Then the arrays follow,
    each of which begins on a cache line.
    """
    ends = np.cumsum([ALIGNMENT_BYTES, *(_up(each.nbytes, ALIGNMENT_BYTES) for each in parts)])
    starts = np.zeros(ALIGNMENT_BYTES // 8, np.int64)
    starts[: len(parts) + 1] = [*ends[:-1], ends[-2] + parts[-1].nbytes]
    lines = [np.pad(each.ravel().view(np.uint8), (0, -each.nbytes % ALIGNMENT_BYTES)) for each in (starts, *parts)]
    return flat(lines).view(parts[-1].dtype)


def _up(number: int, multiple: int) -> int:
    """The number, rounded up to a multiple."""
    return -(-number // multiple) * multiple
