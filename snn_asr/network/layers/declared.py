"""A layer made of a cell alone: for a neuron that stands in one file of cells/ and needs no layer of its own.

Besides ``GATES``, ``TRAINED``, ``State``, ``Parameters``, ``initial_state`` and ``step``, which every cell has, its
file declares what a layer has to know:

    Options                 frozen dataclass: what a recipe may set, with defaults; wrong values raise UsageError
    BINARY                  outputs are 0 or one magnitude
    UNIT_PRODUCTS           multiplications that a unit does by itself at each frame
    starting_values(units, options) -> dict[str, Tensor]        what learns, by name; ``recurrent`` is U (G H, H)
    parameters(learned, options) -> Parameters                  what ``step`` takes, from what has been learned

and, where outputs are no events, ``SENDS_EVENTS = False``. Parameters with a field ``mask`` are given the dropout mask
(B, H), or None, and the outputs are then left as they are.

For engines that have a form of their own of the cell, ``NEURONS`` names the fields of Parameters, (H,) each, that every
unit has for itself; a field ``gain`` is a number that the cell multiplies its drive by.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from snn_asr.network.cells import CellState
from snn_asr.network.layers.base import Layer, LayerParts
from snn_asr.network.layers.driven import DrivenLayer, drop_units, mean_outputs

RECURRENT, MASK = "recurrent", "mask"  # the name of U among what learns, and of a dropout mask among Parameters
GAIN = "gain"  # the name of a factor of the drive among Parameters


class DeclaredLayer(DrivenLayer):
    """W x, normalised, into the cell's units. Dropout is one mask a sequence on what the layer sends up, outside of the
    recurrence, unless the cell takes it; ``options`` are those that the cell declares."""

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

    def given(self) -> Any:
        """The cell's Parameters as they are now."""
        own = {} if self.recurrent_weight is None else {RECURRENT: self.recurrent_weight}
        return self.cell.parameters({**self.learned, **own}, self.options)

    def parts(self) -> LayerParts:
        shared, given = super().parts(), self.given()
        gain = float(getattr(given, GAIN, 1.0))
        return replace(
            shared, back=None if self.recurrent_weight is None else given.recurrent,
            scale=gain * shared.scale, offset=gain * shared.offset, unit=1.0 if self.binary else 0.0,
            neurons=tuple(getattr(given, each) for each in getattr(self.cell, "NEURONS", ())),
        )

    def activity(self, outputs: Tensor, lengths: Any) -> Tensor | None:
        """Mean magnitude of the outputs over valid frames (a scalar with gradient), where they are events."""
        return mean_outputs(outputs.abs(), lengths).mean() if self.sends_events else None

    def forward(self, x: Tensor, lengths: Any, state: CellState | None = None) -> tuple[Tensor, CellState]:
        drive, given = self.drive(x, lengths), self.given()
        if MASK in given._fields:
            return self.run(drive, lengths, state, given._replace(mask=self.mask(drive)))[:2]
        outputs, state, _ = self.run(drive, lengths, state, given)
        return drop_units(outputs, self.dropout, self.training), state


def layer_of(cell: ModuleType) -> Callable[..., Layer]:
    """The factory of a cell's layers for the registry of encoders; its signature names the cell's options."""
    make = partial(DeclaredLayer, cell)
    plain = inspect.signature(make)
    kept = [each for each in plain.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    own = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type)
        for each in fields(cell.Options)
    ]
    make.__signature__ = plain.replace(parameters=[*kept, *own])  # type: ignore[attr-defined]
    return make
