"""The weights of a network's sources (events/sources.py) as the exported C adds them: a row for each unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from snn_asr.events.kernels.delivery import HIGHEST_SHIFT, MOST_LEVELS
from snn_asr.events.sources import Rounded, Source
from snn_asr.network.integers import INT4


@dataclass(frozen=True, eq=False)
class Matrix:
    """Weights ``rows`` (units, sums), in float32 or as whole numbers in int8, which have four bits if ``narrow``."""

    rows: np.ndarray
    narrow: bool

    @classmethod
    def of(cls, given: Rounded) -> Matrix:
        narrow = given.grid is not None and given.grid.kind == INT4
        return cls(np.ascontiguousarray(given.numbers.numpy().T), narrow)


@dataclass(frozen=True, eq=False)
class SourceRows:
    """The rows of a source: ``onward`` to the layer above or the head, ``around`` to its own layer.

    Sums of whole numbers have the ``scales`` (fed + back,). ``offset`` (fed,) is added to the product onward. Values
    are multiples of ``unit``, unless that is 0, and with whole numbers are taken as such up to ``highest`` units. A
    source that sends changes sends those above ``change``; with None it sends its values.
    """

    onward: Matrix
    around: Matrix | None
    scales: np.ndarray | None
    offset: np.ndarray | None = None
    unit: float = 0.0
    highest: float = MOST_LEVELS + 0.5
    change: float | None = None

    @property
    def units(self) -> int:
        return len(self.onward.rows)

    @property
    def fed(self) -> int:
        return self.onward.rows.shape[1]

    @property
    def back(self) -> int:
        return 0 if self.around is None else self.around.rows.shape[1]

    @property
    def matrices(self) -> list[Matrix]:
        return [each for each in (self.onward, self.around) if each is not None]

    @classmethod
    def of(cls, source: Source) -> SourceRows:
        around, values = source.around, source.values
        rows = Matrix.of(source.onward), None if around is None else Matrix.of(around)
        highest = float(1 << HIGHEST_SHIFT) if values.shifts else MOST_LEVELS + 0.5
        scales, offset = _scales(source.onward, around), source.offset.numpy()
        return cls(*rows, scales, offset, values.unit, highest, values.smallest_change)


@torch.no_grad()
def rows_of(sources: list[Source]) -> list[SourceRows]:
    """The rows of every source, followed by those of recurrent products within a step, if there are any."""
    within = [each.within for each in sources if each.within is not None]
    own = [SourceRows.of(each) for each in sources]
    return own + [SourceRows(Matrix.of(each), None, _scales(each)) for each in within]


def _scales(*given: Rounded | None) -> np.ndarray | None:
    """The scales of all sums, or None if their weights are not rounded."""
    scales = [each.grid.scales.numpy() for each in given if each is not None and each.grid is not None]
    return np.concatenate(scales) if scales else None
