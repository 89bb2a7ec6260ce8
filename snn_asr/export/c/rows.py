"""The matrices of an exported network as tables in C, without zeros if that saves memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from snn_asr.export.c.source_rows import Matrix, SourceRows
from snn_asr.export.c.tables import Table, number, table
from snn_asr.network.integers import nibbles

LARGEST_GAP, LARGEST_IN_PAIR = 255, 15  # the largest gaps, in blocks, that fit a byte and half a byte
LONG = 1 << 16  # from so many blocks on, starts have 32 bits
BLOCKS = (1, 2, 4, 8, 16)  # numbers of weights in a block


@dataclass(frozen=True, eq=False)
class Layout:
    """A matrix in memory: ``values`` row after row, each of ``length`` weights, of which the last may be padding.

    If zeros are left out, ``values`` are blocks of ``length`` weights. ``gaps`` has for each block the distance, in
    blocks, from the one before it in its row (or from the beginning of the row), and ``starts`` has the first block of
    every row. A single weight of four bits shares a byte with its gap. ``left_out`` counts the weights that are left
    out.
    """

    values: np.ndarray
    length: int
    narrow: bool
    gaps: np.ndarray | None = None
    starts: np.ndarray | None = None
    left_out: int = 0

    @property
    def paired(self) -> bool:
        """Whether each weight shares a byte with its gap."""
        return self.narrow and self.starts is not None and self.length == 1

    @property
    def packed(self) -> np.ndarray:
        """The ``values`` as bytes or numbers in memory."""
        if self.paired and self.gaps is not None:
            return (self.values.view(np.uint8) & 15) | (self.gaps << 4)
        return nibbles(torch.from_numpy(self.values)).numpy() if self.narrow else self.values

    @property
    def nbytes(self) -> int:
        places = (self.starts, None if self.paired else self.gaps)
        return self.packed.nbytes + sum(each.nbytes for each in places if each is not None)


def laid_out(matrix: Matrix) -> Layout:
    """The layout that takes the least memory: whole rows, or blocks of some size without zeros."""
    rows = _filled_up(matrix.rows, 2 if matrix.narrow else 1)
    least = Layout(rows.ravel(), rows.shape[1], matrix.narrow)
    for length in BLOCKS:
        blocks = _without_zeros(matrix, length)
        least = min(least, blocks, key=lambda each: each.nbytes)
    return least


def _filled_up(rows: np.ndarray, multiple: int) -> np.ndarray:
    """The rows padded with zeros, so that each has a multiple of ``multiple`` weights."""
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % multiple)))


def _without_zeros(matrix: Matrix, length: int) -> Layout:
    """The layout of blocks of ``length`` weights that are not all zero. In a gap that is too long, a block of zeros is
    kept."""
    blocks = _filled_up(matrix.rows, length).reshape(matrix.rows.shape[0], -1, length)
    largest = LARGEST_IN_PAIR if matrix.narrow and length == 1 else LARGEST_GAP
    places, gaps, starts = [], [], [0]
    for unit, row in enumerate(np.asarray(blocks.any(axis=2))):
        before = 0
        for place in np.flatnonzero(row).tolist():
            steps = [*range(before + largest, place, largest), place]
            places += [(unit, each) for each in steps]
            gaps += np.diff([before, *steps]).tolist()
            before = place
        starts.append(len(places))
    if not places:  # C knows no empty arrays: a block that no row has
        places, gaps = [(0, 0)], [0]
    kept = blocks[tuple(np.array(places, int).T)]
    left_out = matrix.rows.size - int(np.count_nonzero(kept))
    kind = np.uint16 if len(places) < LONG else np.uint32
    return Layout(kept.ravel(), length, matrix.narrow, np.array(gaps, np.uint8), np.array(starts, kind), left_out)


def needs_long_starts(layouts: list[list[Layout]]) -> bool:
    """Whether some matrix has too many blocks for starts of 16 bits; all starts then have 32 bits."""
    starts = [each.starts for own in layouts for each in own if each.starts is not None]
    return any(each.dtype == np.uint32 for each in starts)


def tables_of(sources: list[SourceRows], layouts: list[list[Layout]]) -> list[Table]:
    """Weights, scales and offsets of every source, and the list of sources that points to them; ``layouts`` are those
    of each source's matrices."""
    every, long = [each for own in layouts for each in own], needs_long_starts(layouts)
    narrow, sparse = any(each.narrow for each in every), any(each.starts is not None for each in every)
    recurrent = any(source.around is not None for source in sources)
    tables, lines, changing, known, told = [], "", any(each.change is not None for each in sources), 0, 0
    for place, (source, own) in enumerate(zip(sources, layouts, strict=True)):
        fields = [str(source.units), str(source.fed), str(source.back)]
        for name, layout in zip(("onward", "around"), own, strict=False):
            tables += _matrix(f"{name}_{place}", layout, source.units, long)
            fields.append(_fields(f"{name}_{place}", layout, narrow, sparse))
        if recurrent and source.around is None:
            fields.append("{0}")
        if source.scales is not None:
            tables.append(table("float", f"scales_{place}", source.scales))
            fields += [f"scales_{place}", number("float", float(np.float32(source.unit)))]
            fields.append(number("float", source.highest))
        if changing:
            fields += ["-1.0f" if source.change is None else number("float", source.change), str(known), str(told)]
        if source.change is not None:
            known, told = known + source.units, told + source.fed + source.back
        tables += [] if source.offset is None else [table("float", f"offset_{place}", source.offset)]
        fields.append("NULL" if source.offset is None else f"offset_{place}")
        lines += f"    {{{', '.join(fields)}}},\n"
    size = 4 * len(lines.split(","))  # a number or an address for each field
    return [*tables, Table(f"static const source sources[] = {{\n{lines}}};\n", size)]


def _matrix(name: str, layout: Layout, units: int, long: bool) -> list[Table]:
    kinds = {"float32": "float", "int8": "int8_t", "uint8": "uint8_t"}
    how = "a weight and its gap in each byte" if layout.paired else "two weights in each byte"
    comment = f"{units} rows" + (f", {how}" if layout.narrow else "")
    tables = [table(kinds[layout.packed.dtype.name], f"weights_{name}", layout.packed, comment)]
    if layout.starts is not None:
        tables.append(table("uint32_t" if long else "uint16_t", f"starts_{name}", layout.starts))
    if layout.gaps is not None and not layout.paired:
        tables.append(table("uint8_t", f"gaps_{name}", layout.gaps))
    return tables


def _fields(name: str, layout: Layout, narrow: bool, sparse: bool) -> str:
    """The initialiser of a ``matrix``, in the order of types.c."""
    fields = [f"weights_{name}", str(layout.length)]
    if narrow:
        fields.append(str(int(layout.narrow)))
    if sparse:
        fields.append("NULL" if layout.starts is None else f"starts_{name}")
        fields.append("NULL" if layout.gaps is None or layout.paired else f"gaps_{name}")
    return f"{{{', '.join(fields)}}}"
