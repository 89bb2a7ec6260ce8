"""The neuron families, one file for each: its equations, its parameters, and ``step``, which computes one frame.

``step`` is a pure function: it takes the state of the frame before and returns the new one. Every cell defines its own
NamedTuples ``State`` and ``Parameters``, whose fields differ from cell to cell. The last field of a state is always the
output. Code that works with any cell takes these tuples as ``CellState`` and ``CellParameters``.

In the equations [n] is the frame, ⊙ the element-wise product, σ the logistic function, and 1[...] is 1 where the
condition holds and 0 elsewhere. In the shapes B is the batch, T the number of frames and H the number of units.
"""

from typing import Any

CellState = Any
CellParameters = Any
