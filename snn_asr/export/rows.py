"""The matrices of an exported network as tables in C, zeros left out where that saves memory."""

from __future__ import annotations

import numpy as np

from snn_asr.export.network import SourceWeights
from snn_asr.export.tables import Table, number, table

LARGEST_GAP = 255  # places between two weights that a byte can tell


def is_sparse(source: SourceWeights) -> bool:
    """Whether leaving zeros out saves memory: a weight that is left needs a byte for its place."""
    left, size = np.count_nonzero(source.rows), source.rows.itemsize
    return bool(left * (size + 1) + 4 * source.units < source.rows.size * size)


def tables_of(sources: list[SourceWeights], sparse: list[bool]) -> list[Table]:
    """Weights, scales and offsets of every source, and the list of sources that points to them."""
    tables, lines = [], ""
    for place, (source, pruned) in enumerate(zip(sources, sparse, strict=True)):
        tables += _rows(place, source, pruned)
        fields = [str(source.units), str(source.fed), str(source.back), f"weights_{place}"]
        if any(sparse):
            fields += [f"gaps_{place}", f"starts_{place}"] if pruned else ["NULL", "NULL"]
        if source.scales is not None:
            fields += [f"scales_{place}", number("float", float(np.float32(source.unit)))]
            fields.append(number("float", source.highest))
        lines += f"    {{{', '.join([*fields, f'scale_{place}', f'offset_{place}'])}}},\n"
    size = 4 * len(lines.split(","))  # a number or an address for each field
    return [*tables, Table(f"static const source sources[LAYERS + 1] = {{\n{lines}}};\n", size)]


def _rows(place: int, source: SourceWeights, pruned: bool) -> list[Table]:
    tables, values = [], source.rows.ravel()
    if pruned:
        values, gaps, starts = without_zeros(source.rows)
        tables = [table("uint8_t", f"gaps_{place}", gaps), table("uint32_t", f"starts_{place}", starts)]
    kind = "float" if source.scales is None else "int8_t"
    tables.append(table(kind, f"weights_{place}", values, f"of source {place}, {source.units} rows"))
    if source.scales is not None:
        tables.append(table("float", f"scales_{place}", source.scales))
    return [*tables, table("float", f"scale_{place}", source.scale), table("float", f"offset_{place}", source.offset)]


def without_zeros(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights that are left, row after row; places from each to the one before in its row (the first: from the
    row's beginning); and the first weight of every row. Where a gap is too long for a byte, a zero is kept in it."""
    values, gaps, starts = [], [], [0]
    for row in rows:
        before = 0
        for column in np.flatnonzero(row).tolist():
            while column - before > LARGEST_GAP:
                before += LARGEST_GAP
                values.append(rows.dtype.type(0))
                gaps.append(LARGEST_GAP)
            values.append(row[column])
            gaps.append(column - before)
            before = column
        starts.append(len(values))
    return np.array(values, rows.dtype), np.array(gaps, np.uint8), np.array(starts, np.uint32)
