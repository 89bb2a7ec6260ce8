"""What every format needs of a trained network: that it can run frame by frame, and its matrices source by source.

A source is the input of the encoder or one of its layers. It feeds the layer above it (or the head) and, where there
is recurrence, its own layer at the next frame; one row of weights for each of its units holds both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from snn_asr.errors import UsageError
from snn_asr.events.kernels.delivery import HIGHEST_SHIFT, MOST_LEVELS
from snn_asr.events.parts import causal_layers, head_parts, input_shifts, input_unit, weight_names
from snn_asr.events.quantization import grids_of
from snn_asr.network.coder import Coder
from snn_asr.network.input_coding import FeatureCoder
from snn_asr.network.integers import INT4, Grid
from snn_asr.network.layers.base import LayerParts
from snn_asr.network.model import AcousticModel


@dataclass(frozen=True, eq=False)
class Matrix:
    """``rows`` (units, sums), float32 or whole numbers in int8, which have four bits where they are ``narrow``."""

    rows: np.ndarray
    narrow: bool


@dataclass(frozen=True, eq=False)
class SourceWeights:
    """``onward`` feeds the layer above or the head, ``around`` the source's own layer. Sums of whole numbers have the
    ``scales`` (fed + back,); ``scale`` and ``offset`` (fed,) stand behind the product that goes on; values are
    multiples of ``unit``, if that is not 0, and with whole numbers are taken as such up to ``highest`` units."""

    onward: Matrix
    around: Matrix | None
    scales: np.ndarray | None
    scale: np.ndarray
    offset: np.ndarray
    unit: float
    highest: float

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


def exportable_layers(
    model: AcousticModel, cells: frozenset[str], target: str, powers: bool = False
) -> list[LayerParts]:
    """The parts of a model's layers.

    Raises UsageError, naming the reason, for a model that ``target`` cannot run: one that needs whole utterances, with
    a front end, an input coding that is random or sends changes, a cell that is not among ``cells``, or levels that are
    powers of two, unless it has ``powers``.
    """
    if model.front_end is not None:
        raise UsageError(f"{target} export has no convolutional front end", "front_end", "train a model without it")
    model.settings.features.require_streaming()
    coder = model.encoder.input_coder
    if coder is not None and not isinstance(coder, FeatureCoder):
        what = f"{target} export has no input coding {model.encoder.options['input_coding']}"
        raise UsageError(what, "input_coding", "train with input_coding=coder or none")
    parts = [each.parts() for each in causal_layers(model.encoder)]
    shifts = input_shifts(model.encoder) or any(each.powers or each.shifting for each in parts)
    if shifts and not powers:
        what = f"{target} export has no levels and gates that are powers of two"
        raise UsageError(what, "levels", "train with levels=linear and gate_levels=smooth")
    for each in parts:
        if each.cell not in cells:
            what = f"{target} export has no {each.cell} cell"
            todo = f"cells that it has: {', '.join(sorted(cells))}"
            raise UsageError(what, f"encoder {model.settings.encoder}", todo)
    return parts


def input_coder_of(model: AcousticModel) -> Coder | None:
    """The coder on the features, if there is one."""
    coder = model.encoder.input_coder
    return Coder.at(coder.tracker.settings, coder.tracker.value()) if isinstance(coder, FeatureCoder) else None


@torch.no_grad()
def sources_of(model: AcousticModel, parts: list[LayerParts], precision: str) -> list[SourceWeights]:
    """Of the input and of every layer. In int8 and int4 matrices that lie so on disk are what they are there; others
    are rounded here, in the same way as by the event engine. Raises UsageError as ``quantization.grids_of``."""
    head = head_parts(model)
    onward = [*((each.weight, each.scale, each.offset) for each in parts), head]
    around: list[Tensor | None] = [None, *(each.back for each in parts)]
    names, grids = weight_names(model), grids_of(model, precision)
    units = [input_unit(model.encoder), *(each.unit for each in parts)]
    shifts = [input_shifts(model.encoder), *(each.powers for each in parts)]
    found = []
    for place, ((weight, scale, offset), back, unit) in enumerate(zip(onward, around, units, strict=True)):
        own = [grids.get(names[place][0]), *([] if back is None else [grids.get(names[place - 1][1])])]
        onward_rows, around_rows = _matrix(weight, own[0]), None if back is None else _matrix(back, own[-1])
        scales = np.concatenate([each.scales.numpy() for each in own if each is not None]) if grids else None
        highest = float(1 << HIGHEST_SHIFT) if shifts[place] else MOST_LEVELS + 0.5
        behind = (scale.numpy(), offset.numpy(), unit, highest)
        found.append(SourceWeights(onward_rows, around_rows, scales, *behind))
    return found


def _matrix(weight: Tensor, grid: Grid | None) -> Matrix:
    """Of weights (M, units), whose rows are then those of the units."""
    numbers = weight if grid is None else grid.rounded(weight)
    return Matrix(np.ascontiguousarray(numbers.numpy().T), grid is not None and grid.kind == INT4)
