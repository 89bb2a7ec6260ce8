"""Neuron families, one file each: equations, parameters, and a pure step over explicit state.

A cell's ``State`` and ``Parameters`` are NamedTuples of its own, whose fields differ from cell to cell (the last of a
state is the output); code for any cell takes them as ``CellState`` and ``CellParameters``.
"""

from typing import Any

CellState = Any
CellParameters = Any
