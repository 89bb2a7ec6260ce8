"""A model as the event engine and the exports see it: source by source, with what the values of each are multiplied by.

A source is what sends events: the features, or a layer. Each feeds the layer above it, or the head, and with recurrence
its own layer as well. Normalisation is folded into a scale and an offset for each output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from snn_asr.errors import UsageError
from snn_asr.events.cells import CELLS
from snn_asr.network.batch_norm import folded
from snn_asr.network.coder import Coder
from snn_asr.network.encoders import Bidirectional, Encoder
from snn_asr.network.input_coding import FeatureCoder, HeldFeatures
from snn_asr.network.integers import Grid
from snn_asr.network.layers.base import Layer, LayerParts
from snn_asr.network.model import AcousticModel


class Rounded(NamedTuple):
    """A matrix (M, D) and the grid that it is rounded to, or None for float32.

    ``numbers`` (M, D) are the weights as they are stored: whole numbers (int8) in units of the grid, or as they are.
    """

    weight: Tensor
    grid: Grid | None
    numbers: Tensor

    @classmethod
    def of(cls, weight: Tensor, grid: Grid | None) -> Rounded:
        return cls(weight, grid, weight if grid is None else grid.rounded(weight))

    def times(self, factors: Tensor) -> Rounded:
        """The matrix with each row times its factor (M,). Whole numbers stay, and the scales of their grid take it."""
        weight = self.weight * factors.unsqueeze(1)
        if self.grid is None:
            return Rounded(weight, None, weight)
        return Rounded(weight, Grid(self.grid.kind, self.grid.scales * factors), self.numbers)

    def rows(self, start: int, end: int | None = None) -> Rounded:
        """Some rows of the matrix."""
        grid = None if self.grid is None else self.grid.rows(start, end)
        return Rounded(self.weight[start:end], grid, self.numbers[start:end])


class SourceSize(NamedTuple):
    """The number of ``units`` of a source, and ``fan_out``, the number of weights that the value of one unit is
    multiplied by."""

    units: int
    fan_out: int


class Values(NamedTuple):
    """What the values of a source are: multiples of ``unit``, or any numbers for 0.

    ``shifts`` says whether they are powers of two in that unit, and ``dense`` whether hardly any is zero. A source that
    sends changes sends those above ``change``, which is None for others.
    """

    unit: float = 0.0
    shifts: bool = False
    dense: bool = False
    change: float | None = None

    @property
    def smallest_change(self) -> float | None:
        """A number below every change that is sent. What is not sent is 0."""
        return None if self.change is None else self.change / 2


@dataclass(frozen=True, eq=False)
class Source:
    """A source of events, and the weights of what it feeds.

    ``layer`` is the layer that sends, or None for the features. ``onward`` (M, units) are the weights of the layer
    above, or of the head; ``scale`` and ``offset`` (M,) are applied to their product. ``recurrent`` (R, units) is the U
    of the layer itself, or None; the products of its last ``inner`` rows are taken within the step. ``names`` are the
    names of these matrices in the state dict.
    """

    layer: LayerParts | None
    values: Values
    names: tuple[str, ...]
    onward: Rounded
    scale: Tensor
    offset: Tensor
    recurrent: Rounded | None
    inner: int

    @property
    def matrices(self) -> dict[str, Rounded]:
        """All weights of the source, by their names in the state dict."""
        own = [self.onward] if self.recurrent is None else [self.onward, self.recurrent]
        return dict(zip(self.names, own, strict=True))

    @property
    def size(self) -> SourceSize:
        return SourceSize(self.onward.weight.shape[1], sum(len(each.weight) for each in self.matrices.values()))

    @property
    def affine(self) -> tuple[Tensor, Tensor]:
        """The weights (M, units) onward with their scale, and the offset (M,)."""
        return self.onward.weight * self.scale.unsqueeze(1), self.offset

    @property
    def around(self) -> Rounded | None:
        """The recurrent weights whose products are added at the next frame."""
        return None if self.recurrent is None else self.recurrent.rows(0, len(self.recurrent.weight) - self.inner)

    @property
    def within(self) -> Rounded | None:
        """The recurrent weights of a candidate behind the reset gate (cells/bn_gru.py): they are multiplied by the
        outputs that the gate leaves, in the same step."""
        return self.recurrent.rows(-self.inner) if self.recurrent is not None and self.inner else None


@torch.no_grad()
def sources_of(model: AcousticModel, grids: Mapping[str, Grid] | None = None) -> list[Source]:
    """The sources of a model in evaluation mode in their order: the features, and then the layers.

    ``grids`` are what the matrices are rounded to, by their names in the state dict (quantization.grids_of). Raises
    UsageError for a bidirectional encoder.
    """
    layers, grids = causal_layers(model.encoder), grids or {}
    parts = [each.parts() for each in layers]
    known = {id(each): name for name, each in model.named_parameters()}
    own = [[known[id(weight)] for weight in each.core_weights()] for each in layers]  # W and, if there is one, U
    above = [(names[0], each.weight, each.scale, each.offset) for names, each in zip(own, parts, strict=True)]
    above.append((known[id(model.head.weight)], *head_parts(model)))
    senders = [(None, []), *((each, names[1:]) for names, each in zip(own, parts, strict=True))]
    found = []
    for (layer, around), (name, weight, scale, offset) in zip(senders, above, strict=True):
        values, recurrent, inner = _features(model.encoder), None, 0
        if layer is not None:
            values = Values(layer.unit, layer.powers, change=layer.change)
        if layer is not None and layer.recurrent is not None:
            recurrent, cell = Rounded.of(layer.recurrent, grids.get(around[0])), CELLS.get(layer.cell)
            inner = layer.recurrent.shape[1] if cell is not None and cell.resets_first else 0
        onward = Rounded.of(weight, grids.get(name))
        found.append(Source(layer, values, (name, *around), onward, scale, offset, recurrent, inner))
    return found


def _features(encoder: Encoder) -> Values:
    """What the features are that the first layer is given."""
    coder = encoder.input_coder
    if coder is None:
        return Values(dense=True)
    if isinstance(coder, HeldFeatures):
        return Values(change=coder.threshold)
    if isinstance(coder, FeatureCoder):
        settings = coder.tracker.settings
        return Values(Coder.at(settings, coder.tracker.value()).unit, settings.powers)
    return Values(unit=1.0)


def layers_of(sources: Sequence[Source]) -> list[LayerParts]:
    """The layers among the sources."""
    return [each.layer for each in sources if each.layer is not None]


def causal_layers(encoder: Encoder) -> list[Layer]:
    """The layers of a one-directional encoder. Raises UsageError for a bidirectional one."""
    layers = [each for each in encoder.layers if not isinstance(each, Bidirectional)]
    if len(layers) < len(encoder.layers):
        raise UsageError(
            "a bidirectional encoder needs whole utterances", "encoder", "decode files with --engine batch, or train "
            "with bidirectional=false",
        )
    return layers


def head_parts(model: AcousticModel) -> tuple[Tensor, Tensor, Tensor]:
    """The weights (N, H), scale (N,) and offset (N,) of the head, which include its normalisation."""
    weight, bias = model.head.weight, model.head.bias
    if model.head_normalization is None:
        return weight, torch.ones_like(bias), bias
    scale, offset = folded(model.head_normalization)
    if model.settings.head_normalization == "input":
        return weight * scale, torch.ones_like(bias), bias + weight @ offset
    return weight, scale, bias * scale + offset


def shares_left(model: AcousticModel) -> list[float]:
    """For each source the share of its weights that are not zero."""
    met = [torch.cat([each.weight.flatten() for each in own.matrices.values()]) for own in sources_of(model)]
    return [int(torch.count_nonzero(each)) / each.numel() for each in met]
