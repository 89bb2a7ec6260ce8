"""The layouts of matrices in exported C, read again as the C reads them."""

from __future__ import annotations

import numpy as np
import pytest

from snn_asr.export.c.rows import Layout, laid_out
from snn_asr.export.c.source_rows import Matrix


def read(layout: Layout, units: int, width: int) -> np.ndarray:
    """The matrix (units, width) of a layout, in the way of templates/events.c."""
    weights, gaps = layout.packed, layout.gaps
    if layout.narrow:
        halves = np.stack([weights & 15, weights >> 4], axis=1).astype(int)
        gaps = halves[:, 1] if layout.paired else gaps
        signed = (halves ^ 8) - 8
        weights = signed[:, 0] if layout.paired else signed.ravel()
    weights = np.asarray(weights).reshape(-1, layout.length)
    if layout.starts is None or gaps is None:
        return weights[:, :width]
    found = np.zeros((units, width + layout.length))
    for unit, (first, end) in enumerate(zip(layout.starts[:-1].tolist(), layout.starts[1:].tolist(), strict=True)):
        place = 0
        for block in range(first, end):
            place += int(gaps[block]) * layout.length
            found[unit, place : place + layout.length] += weights[block]
    return found[:, :width]


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize(("units", "width", "share"), [
    (5, 24, 0.5), (7, 700, 0.01), (3, 1000, 0.002), (4, 9, 0.0), (6, 33, 1.0), (700, 1000, 0.15),
])
def test_a_layout_holds_its_matrix(units, width, share, narrow):
    """Gaps may be longer than their four or eight bits, and blocks more than 16 bits count."""
    generator = np.random.default_rng(units)
    rows = generator.integers(1, 8, (units, width)) * generator.choice([-1, 1], (units, width))
    rows = (rows * (generator.random((units, width)) < share)).astype(np.int8)
    layout = laid_out(Matrix(rows, narrow))
    assert np.array_equal(read(layout, units, width), rows)
    assert layout.left_out == (0 if layout.starts is None else rows.size - np.count_nonzero(rows))
    if share in (0.01, 0.15):
        assert layout.starts is not None, "zeros are left out"
