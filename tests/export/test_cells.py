"""What the formats say of cells: of none that the event engine does not know, and in the words of its equations."""

from __future__ import annotations

import pytest

from snn_asr.events.cells import CELLS
from snn_asr.export import nir, onnx_cells
from snn_asr.export.c.pieces import CELL_PIECES
from snn_asr.network import encoders


@pytest.mark.parametrize("named", [CELL_PIECES, onnx_cells.STEPS, nir.CELLS | nir.REASONS.keys()])
def test_every_format_speaks_of_the_cells_that_are_compiled(named):
    assert set(named) == CELLS.keys()


def test_every_cell_has_a_number_of_its_own():
    assert len({each.number for each in CELLS.values()}) == len(CELLS)


@pytest.mark.parametrize("name", encoders.ENCODERS)
def test_the_order_of_gates_names_every_block(name):
    parts = encoders.build(name, 3, 4, 1).layers[0].parts()
    gates = CELLS[parts.cell].gates
    assert not gates or len(gates) == len(parts.weight) // 4
