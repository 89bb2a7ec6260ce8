"""What every export format needs of a trained network: that it runs frame by frame, and its matrices by source.

A source is the input of the encoder or one of its layers. It feeds the layer above it (or the head) and, where there
is recurrence, its own layer at the next frame; one row of weights for each of its units holds both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from snn_asr.errors import UsageError
from snn_asr.events.kernels.delivery import HIGHEST_SHIFT, MOST_LEVELS
from snn_asr.events.parts import (
    Rounded,
    causal_layers,
    head_parts,
    input_change,
    input_shifts,
    input_unit,
    recurrence,
    weight_names,
)
from snn_asr.events.quantization import grids_of
from snn_asr.network.coder import Coder
from snn_asr.network.input_coding import FeatureCoder, HeldFeatures
from snn_asr.network.integers import INT4
from snn_asr.network.layers.base import LayerParts
from snn_asr.network.model import AcousticModel


@dataclass(frozen=True, eq=False)
class Matrix:
    """Weights ``rows`` (units, sums), in float32 or as whole numbers in int8, which have four bits if ``narrow``."""

    rows: np.ndarray
    narrow: bool


@dataclass(frozen=True, eq=False)
class SourceWeights:
    """The weights of a source: ``onward`` to the layer above or the head, ``around`` to its own layer.

    Sums of whole numbers have the ``scales`` (fed + back,). ``scale`` and ``offset`` (fed,) are applied to the product
    onward. Values are multiples of ``unit``, unless that is 0, and with whole numbers are taken as such up to
    ``highest`` units. A source that sends changes sends those above ``change``; with None it sends its values.
    """

    onward: Matrix
    around: Matrix | None
    scales: np.ndarray | None
    scale: np.ndarray | None = None
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


def exportable_layers(
    model: AcousticModel, cells: frozenset[str], target: str, powers: bool = False
) -> list[LayerParts]:
    """The parts of a model's layers.

    Raises UsageError, naming the reason, for a model that ``target`` cannot run: one that needs whole utterances, with
    a front end, a random input coding, a cell that is not among ``cells``, or levels that are powers of two, unless
    ``target`` has shifts (``powers``).
    """
    if model.front_end is not None:
        raise UsageError(f"{target} export has no convolutional front end", "front_end", "train a model without it")
    model.settings.features.require_streaming()
    coder = model.encoder.input_coder
    if coder is not None and not isinstance(coder, FeatureCoder | HeldFeatures):
        what = f"{target} export has no input coding {model.encoder.options['input_coding']}"
        raise UsageError(what, "input_coding", "train with input_coding=coder, delta or none")
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
    """The weights of the input and of every layer, followed by those of recurrent products within a step, if there are
    any (events/parts.py, ``recurrence``).

    A quantised model keeps its whole numbers; another one is rounded here to int8 or int4 as by the event engine.
    Raises what ``quantization.grids_of`` raises.
    """
    head = head_parts(model)
    onward = [*((each.weight, each.scale, each.offset) for each in parts), head]
    names, grids = weight_names(model), grids_of(model, precision)
    around = [recurrence(each, grids.get(own[-1])) for each, own in zip(parts, names[:-1], strict=True)]
    units = [input_unit(model.encoder), *(each.unit for each in parts)]
    thresholds = [input_change(model.encoder), *(each.change for each in parts)]
    shifts = [input_shifts(model.encoder), *(each.powers for each in parts)]
    waiting = [None, *(each.waiting for each in around)]
    found = []
    for place, ((weight, scale, offset), back, unit) in enumerate(zip(onward, waiting, units, strict=True)):
        own = Rounded(weight, grids.get(names[place][0]))
        highest = float(1 << HIGHEST_SHIFT) if shifts[place] else MOST_LEVELS + 0.5
        change = None if (threshold := thresholds[place]) is None else threshold / 2
        rows = _matrix(own), None if back is None else _matrix(back)
        behind = scale.numpy(), offset.numpy()
        found.append(SourceWeights(*rows, _scales(own, back), *behind, unit, highest, change))
    within = [each.within for each in around if each.within is not None]
    return found + [SourceWeights(_matrix(each), None, _scales(each)) for each in within]


def _scales(*given: Rounded | None) -> np.ndarray | None:
    """The scales of all sums, or None if their weights are not rounded."""
    scales = [each.grid.scales.numpy() for each in given if each is not None and each.grid is not None]
    return np.concatenate(scales) if scales else None


def _matrix(given: Rounded) -> Matrix:
    """The matrix (units, M) of weights (M, units)."""
    numbers = given.weight if given.grid is None else given.grid.rounded(given.weight)
    return Matrix(np.ascontiguousarray(numbers.numpy().T), given.grid is not None and given.grid.kind == INT4)
