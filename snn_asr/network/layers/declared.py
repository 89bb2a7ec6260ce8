"""The layer of a cell that is described completely by its own file in cells/.

Besides ``GATES``, ``TRAINED``, ``State``, ``Parameters``, ``initial_state`` and ``step``, which every cell has, such a
file declares what a layer has to know:

    Options                 frozen dataclass: what a recipe may set, with defaults; wrong values raise UsageError
    BINARY                  whether outputs are 0 or of a single magnitude
    UNIT_PRODUCTS           the number of multiplications inside each unit at each frame
    starting_values(units, options) -> dict[str, Tensor]        what learns, by name; ``recurrent`` is U (G H, H)
    parameters(learned, options) -> Parameters                  what ``step`` takes, from what has been learned

A cell whose outputs are not events also has ``SENDS_EVENTS = False``. If Parameters have a field ``mask``, the cell is
given the dropout mask (B, H), or None, there; otherwise the layer drops outputs.

For engines with a compiled form of the cell, ``NEURONS`` names the fields of Parameters, (H,) each, that every unit has
for itself. A field ``gain`` is a number that the cell multiplies its drive by.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from snn_asr.network.cells import CellParameters, CellState
from snn_asr.network.layers.base import Layer, LayerParts
from snn_asr.network.layers.driven import DrivenLayer, drop_units, mean_outputs

RECURRENT, MASK = "recurrent", "mask"  # names of U among the starting values, and of the dropout mask in Parameters
GAIN = "gain"  # the name of a factor of the drive in Parameters


class DeclaredLayer(DrivenLayer):
    """Normalised W x drives the units of the cell; ``options`` are those that the cell declares.

    Dropout is one mask for a sequence, on the outputs to the next layer and not on the recurrent ones, unless the cell
    takes the mask itself.
    """

    def __init__(
        self, cell: ModuleType, input_size: int, hidden_size: int, *, dropout: float = 0.2, backend: str = "auto",
        **options: Any,
    ) -> None:
        super().__init__(cell, input_size, hidden_size, dropout=dropout, backend=backend)
        self.options = cell.Options(**options)
        values = cell.starting_values(hidden_size, self.options)
        if RECURRENT in values:
            self.recurrent_weight = nn.Parameter(values.pop(RECURRENT))
        self.learned = nn.ParameterDict(values)

    @property
    def binary(self) -> bool:
        return bool(self.cell.BINARY)

    @property
    def unit_products(self) -> int:
        return int(self.cell.UNIT_PRODUCTS)

    @property
    def sends_events(self) -> bool:
        return bool(getattr(self.cell, "SENDS_EVENTS", True))

    def cell_parameters(self) -> CellParameters:
        own = {} if self.recurrent_weight is None else {RECURRENT: self.recurrent_weight}
        return self.cell.parameters({**self.learned, **own}, self.options)

    def parts(self) -> LayerParts:
        shared, given = super().parts(), self.cell_parameters()
        gain = float(getattr(given, GAIN, 1.0))
        return replace(
            shared, recurrent=None if self.recurrent_weight is None else given.recurrent,
            scale=gain * shared.scale, offset=gain * shared.offset, unit=1.0 if self.binary else 0.0,
            neurons={each: getattr(given, each) for each in getattr(self.cell, "NEURONS", ())},
        )

    def activity(self, outputs: Tensor, lengths: Any) -> Tensor | None:
        """The mean magnitude of events over valid frames, a scalar with gradient; None if the outputs are not
        events."""
        return mean_outputs(outputs.abs(), lengths).mean() if self.sends_events else None

    def forward(self, x: Tensor, lengths: Any, state: CellState | None = None) -> tuple[Tensor, CellState]:
        drive, given = self.drive(x, lengths), self.cell_parameters()
        if MASK in given._fields:
            return self.run(drive, lengths, state, given._replace(mask=self.mask(drive)))[:2]
        outputs, state, _ = self.run(drive, lengths, state, given)
        return drop_units(outputs, self.dropout, self.training), state


def layer_of(cell: ModuleType) -> Callable[..., Layer]:
    """A factory of layers of this cell, for the registry of encoders. Its signature has the cell's options."""
    make = partial(DeclaredLayer, cell)
    plain = inspect.signature(make)
    kept = [each for each in plain.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    own = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type)
        for each in fields(cell.Options)
    ]
    make.__signature__ = plain.replace(parameters=[*kept, *own])  # type: ignore[attr-defined]
    return make
