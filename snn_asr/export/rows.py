"""The matrices of an exported network as tables in C, zeros left out where that saves memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from snn_asr.export.network import Matrix, SourceWeights
from snn_asr.export.tables import Table, number, table
from snn_asr.network.integers import nibbles

LARGEST_GAP = 255  # blocks between two that a byte can tell
BLOCKS = (1, 2, 4, 8, 16)  # weights of a block; of four bits an even number


@dataclass(frozen=True, eq=False)
class Layout:
    """A matrix in memory: ``values``, row after row, ``length`` of them in a row, the last of which may fill it up.

    Where zeros are left out, ``values`` are blocks of ``length`` weights, ``gaps`` tells for each how many blocks it is
    behind the one before in its row (the first: behind the row's beginning), and ``starts`` the first block of every
    row. ``left_out`` counts the weights that are not there.
    """

    values: np.ndarray
    length: int
    narrow: bool
    gaps: np.ndarray | None = None
    starts: np.ndarray | None = None
    left_out: int = 0

    @property
    def nbytes(self) -> int:
        size = sum(each.nbytes for each in (self.gaps, self.starts) if each is not None)
        return size + (-(-self.values.size // 2) if self.narrow else self.values.nbytes)


def laid_out(matrix: Matrix) -> Layout:
    """In whole rows, or without zeros in the blocks that take the least memory, if that is less."""
    rows = _filled_up(matrix.rows, 2 if matrix.narrow else 1)
    least = Layout(rows.ravel(), rows.shape[1], matrix.narrow)
    for length in BLOCKS[1 if matrix.narrow else 0 :]:
        blocks = _without_zeros(matrix, length)
        least = min(least, blocks, key=lambda each: each.nbytes)
    return least


def _filled_up(rows: np.ndarray, multiple: int) -> np.ndarray:
    """With zeros, so that each row has a multiple of so many weights."""
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % multiple)))


def _without_zeros(matrix: Matrix, length: int) -> Layout:
    """Blocks of ``length`` weights that are not all zero. Where a gap is too long for a byte, a block of zeros is kept
    in it."""
    blocks = _filled_up(matrix.rows, length).reshape(matrix.rows.shape[0], -1, length)
    places, gaps, starts = [], [], [0]
    for unit, row in enumerate(np.asarray(blocks.any(axis=2))):
        before = 0
        for place in np.flatnonzero(row).tolist():
            steps = [*range(before + LARGEST_GAP, place, LARGEST_GAP), place]
            places += [(unit, each) for each in steps]
            gaps += np.diff([before, *steps]).tolist()
            before = place
        starts.append(len(places))
    kept = blocks[tuple(np.array(places, int).reshape(-1, 2).T)]
    left_out = matrix.rows.size - int(np.count_nonzero(kept))
    gaps_and_starts = np.array(gaps, np.uint8), np.array(starts, np.uint32)
    return Layout(kept.ravel(), length, matrix.narrow, *gaps_and_starts, left_out)


def tables_of(sources: list[SourceWeights], layouts: list[list[Layout]]) -> list[Table]:
    """Weights, scales and offsets of every source, and the list of sources that points to them; ``layouts`` are those
    of each source's matrices."""
    narrow, sparse = (any(any(each) for each in flags) for flags in (
        [[each.narrow for each in own] for own in layouts], [[each.gaps is not None for each in own] for own in layouts]
    ))
    recurrent = any(source.around is not None for source in sources)
    tables, lines = [], ""
    for place, (source, own) in enumerate(zip(sources, layouts, strict=True)):
        fields = [str(source.units), str(source.fed), str(source.back)]
        for name, layout in zip(("onward", "around"), own, strict=False):
            tables += _matrix(f"{name}_{place}", layout, source.units)
            fields.append(_fields(f"{name}_{place}", layout, narrow, sparse))
        if recurrent and source.around is None:
            fields.append("{0}")
        if source.scales is not None:
            tables.append(table("float", f"scales_{place}", source.scales))
            fields += [f"scales_{place}", number("float", float(np.float32(source.unit)))]
            fields.append(number("float", source.highest))
        tables.append(table("float", f"scale_{place}", source.scale))
        tables.append(table("float", f"offset_{place}", source.offset))
        lines += f"    {{{', '.join([*fields, f'scale_{place}', f'offset_{place}'])}}},\n"
    size = 4 * len(lines.split(","))  # a number or an address for each field
    return [*tables, Table(f"static const source sources[LAYERS + 1] = {{\n{lines}}};\n", size)]


def _matrix(name: str, layout: Layout, units: int) -> list[Table]:
    values, kind = layout.values, "float" if layout.values.dtype == np.float32 else "int8_t"
    comment = f"{units} rows"
    if layout.narrow:
        values, kind = nibbles(torch.from_numpy(values)).numpy(), "uint8_t"
        comment += ", two weights to a byte"
    tables = [table(kind, f"weights_{name}", values, comment)]
    if layout.gaps is not None and layout.starts is not None:
        tables.append(table("uint8_t", f"gaps_{name}", layout.gaps))
        tables.append(table("uint32_t", f"starts_{name}", layout.starts))
    return tables


def _fields(name: str, layout: Layout, narrow: bool, sparse: bool) -> str:
    """The initialiser of a ``matrix``, in the order of types.c."""
    fields = [f"weights_{name}", str(layout.length)]
    if narrow:
        fields.append(str(int(layout.narrow)))
    if sparse:
        fields += [f"gaps_{name}", f"starts_{name}"] if layout.gaps is not None else ["NULL", "NULL"]
    return f"{{{', '.join(fields)}}}"
