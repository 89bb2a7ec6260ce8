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
from snn_asr.network.coder import Coder
from snn_asr.network.input_coding import FeatureCoder
from snn_asr.network.layers.base import LayerParts
from snn_asr.network.model import AcousticModel
from snn_asr.network.model_folder import rounded, row_scales


@dataclass(frozen=True, eq=False)
class SourceWeights:
    """``rows`` (units, fed + back) are float32, or int8 with the ``scales`` (fed + back,) of their columns; ``scale``
    and ``offset`` (fed,) stand behind the product that goes on; values are multiples of ``unit``, if that is not 0, and
    in int8 are taken as such up to ``highest`` units."""

    fed: int
    rows: np.ndarray
    scales: np.ndarray | None
    scale: np.ndarray
    offset: np.ndarray
    unit: float
    highest: float

    @property
    def units(self) -> int:
        return len(self.rows)

    @property
    def back(self) -> int:
        return self.rows.shape[1] - self.fed


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
    """Of the input and of every layer. In int8 matrices that lie so on disk are what they are there; others are rounded
    here, in the same way as by the event engine."""
    head = head_parts(model)
    onward = [*((each.weight, each.scale, each.offset) for each in parts), head]
    around: list[Tensor | None] = [None, *(each.back for each in parts)]
    names = weight_names(model)
    units = [input_unit(model.encoder), *(each.unit for each in parts)]
    shifts = [input_shifts(model.encoder), *(each.powers for each in parts)]
    found = []
    for place, ((weight, scale, offset), back, unit) in enumerate(zip(onward, around, units, strict=True)):
        blocks = [_block(model, weight, names[place][0], precision)]
        if back is not None:
            blocks.append(_block(model, back, names[place - 1][1], precision))
        rows = np.ascontiguousarray(np.concatenate([values for values, _ in blocks]).T)
        scales = np.concatenate([own for _, own in blocks]) if precision == "int8" else None
        highest = float(1 << HIGHEST_SHIFT) if shifts[place] else MOST_LEVELS + 0.5
        found.append(SourceWeights(len(weight), rows, scales, scale.numpy(), offset.numpy(), unit, highest))
    return found


def _block(model: AcousticModel, weight: Tensor, name: str, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """(M, units) as float32, or as int8 with its scales (M,)."""
    if precision == "float32":
        return weight.numpy(), np.ones(len(weight), np.float32)
    scales = model.scales.get(name)
    scales = row_scales(weight) if scales is None else scales
    return rounded(weight, scales).numpy(), scales.numpy()
