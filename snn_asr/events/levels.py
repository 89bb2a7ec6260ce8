"""A network with all factors in its weights, and in units of its levels, so that little is left to multiply.

The scale of batch normalisation goes into the rows of the weights whose product it follows, or into the scales of their
whole numbers; it commutes with the leaky integrator in between.

A coder reads whole levels off a membrane, q = trunc(s V), and sends Y = q / s (network/coder.py). Nothing between the
sums that are added to a membrane and what is sent minds a positive factor, if the highest candidate has it too. So the
currents and membranes of a layer can be s times as large, and its outputs the levels q themselves: s goes into the
weights and offsets of what reaches the membrane, and 1 / s into the weights that the levels are multiplied by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from snn_asr.events.cells import CELLS
from snn_asr.events.sources import Source
from snn_asr.network.layers.base import LayerParts


@torch.no_grad()
def in_levels(sources: Sequence[Source]) -> list[Source]:
    """The same network with every ``scale`` 1, and with coders of scale 1, which send whole levels."""
    fed = [*(each.layer for each in sources[1:]), None]
    return [_in_levels(each, above) for each, above in zip(sources, fed, strict=True)]


def _in_levels(source: Source, fed: LayerParts | None) -> Source:
    layer, values, recurrent, unit = source.layer, source.values, source.recurrent, 1.0
    if layer is not None and layer.coder is not None:
        coder, unit = layer.coder, layer.coder.unit
        if recurrent is not None:
            recurrent = recurrent.times(unit * _factors(layer, len(recurrent.weight)))
        whole = replace(coder, range=coder.range * coder.scale, scale=1.0, unit=1.0)
        layer = replace(layer, coder=whole, unit=1.0, highest=layer.highest * coder.scale)
        values = values._replace(unit=1.0)
    factors = _factors(fed, len(source.scale))
    return replace(
        source, layer=layer, values=values, onward=source.onward.times(source.scale * factors * unit),
        scale=torch.ones_like(source.scale), offset=source.offset * factors, recurrent=recurrent,
    )


def _factors(fed: LayerParts | None, sums: int) -> Tensor:
    """What the sums (M,) that a layer or the head is given are multiplied by."""
    if fed is None or fed.coder is None:
        return torch.ones(sums)
    steering = CELLS[fed.cell].steering
    blocks = [1.0 if sets_a_gate else fed.coder.scale for sets_a_gate in steering]
    return torch.tensor(blocks).repeat_interleave(sums // len(steering))
