"""What the event engine has to know of a model besides its layers: names of weights, the head, and the input coding."""

from __future__ import annotations

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


class Source(NamedTuple):
    """A source of events, the features or a layer.

    ``units`` is its number of units, and ``fan_out`` the number of weights that the value of one unit is multiplied by.
    """

    units: int
    fan_out: int


class Rounded(NamedTuple):
    """A matrix (M, D) and the grid that it is rounded to, or None for float32."""

    weight: Tensor
    grid: Grid | None


class Recurrence(NamedTuple):
    """The recurrent products of a layer.

    Those of ``waiting`` are added at the next frame. If a cell resets the input of its candidate (cells/bn_gru.py),
    those of ``within`` are taken in the same step, with the outputs that the reset gate leaves.
    """

    waiting: Rounded | None
    within: Rounded | None


def recurrence(parts: LayerParts, grid: Grid | None = None) -> Recurrence:
    """The recurrent products of a layer; ``grid`` is the grid of U, or None for float32."""
    if parts.back is None:
        return Recurrence(None, None)
    if not CELLS[parts.cell].resets_first:
        return Recurrence(Rounded(parts.back, grid), None)
    size = parts.back.shape[1]
    first, second = (None, None) if grid is None else (grid.rows(0, 2 * size), grid.rows(2 * size))
    return Recurrence(Rounded(parts.back[: 2 * size], first), Rounded(parts.back[2 * size :], second))


def weight_names(model: AcousticModel) -> list[tuple[str, ...]]:
    """The names in the state dict of W and (if there is one) U of every layer, and of the head's weights at the end."""
    names = {id(each): name for name, each in model.named_parameters()}
    matrices = [*(each.core_weights() for each in causal_layers(model.encoder)), [model.head.weight]]
    return [tuple(names[id(each)] for each in own) for own in matrices]


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


def input_change(encoder: Encoder) -> float | None:
    """The threshold of features that send changes, or None for features that are sent as they are."""
    coder = encoder.input_coder
    return coder.threshold if isinstance(coder, HeldFeatures) else None


def input_shifts(encoder: Encoder) -> bool:
    """Whether features are sent as powers of two of their unit."""
    coder = encoder.input_coder
    return isinstance(coder, FeatureCoder) and coder.tracker.settings.powers


def source_matrices(model: AcousticModel) -> list[dict[str, Tensor]]:
    """For each source (the features and the layers) the matrices that its values are multiplied by.

    They are the matrix to the next layer or to the head (with its normalisation) and, if there is one, the recurrent
    matrix, by their names in the state dict.
    """
    parts, names = [each.parts() for each in causal_layers(model.encoder)], weight_names(model)
    fed = zip(names, [*(each.weight for each in parts), head_parts(model)[0]], strict=True)
    found = [{own[0]: weight} for own, weight in fed]
    for source, own, each in zip(found[1:], names, parts, strict=False):
        if each.back is not None:
            source[own[1]] = each.back
    return found


def shares_left(model: AcousticModel) -> list[float]:
    """For each source the share of its weights that are not zero."""
    met = [torch.cat([each.flatten() for each in own.values()]) for own in source_matrices(model)]
    return [int(torch.count_nonzero(each)) / each.numel() for each in met]


def input_unit(encoder: Encoder) -> float:
    """The unit of which features that are events are multiples; 0 for features that are not events."""
    coder = encoder.input_coder
    if coder is None or isinstance(coder, HeldFeatures):
        return 0.0
    if isinstance(coder, FeatureCoder):
        return Coder.at(coder.tracker.settings, coder.tracker.value()).unit
    return 1.0
