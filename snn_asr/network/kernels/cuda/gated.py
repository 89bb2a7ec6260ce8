"""The gated layer v2 (cells/gated.py) on clusters. v1, the Li-GRU, and products that are smoothed run on Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from snn_asr.network.cells.gated import GATES, Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.cuda.walking import Walk, first_product, walk, weight_gradient, weights_and_scale
from snn_asr.network.kernels.triton import gated as triton
from snn_asr.network.kernels.triton.scanning import on_device
from snn_asr.network.kernels.triton.walking import dense, product_type

MOST_BITS = 7  # levels up to ±63 travel as a byte


def _walk(way: str, given: Tensor, parameters: Parameters) -> Walk | None:
    recurrent, coder = parameters.recurrent, parameters.coder
    if recurrent is None or coder is None or parameters.smoothing:
        return None
    if coder.range * coder.scale >= 2 ** (MOST_BITS - 1):
        return None
    flags = {"CLAMPED": int(parameters.candidate == "clamp"), "MASKED": int(parameters.mask is not None)}
    return walk(way, "gated.cu", given, recurrent.shape[1], GATES, recurrent, flags)


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """As the reference; frames beyond ``lengths`` are not computed, their states are zero."""
    run = _walk("forward", drive, parameters)
    if run is None:
        return triton.forward(drive, lengths, state, parameters)
    recurrent, coder = parameters.recurrent, parameters.coder
    weights, scale = weights_and_scale(recurrent, product_type(drive, recurrent))
    batch, frames, size = *drive.shape[:2], weights.shape[1]
    given, first = dense(drive, torch.float32), first_product(state.output, recurrent)
    sums = torch.empty_like(given)
    currents, membranes, outputs = (given.new_empty(batch, frames, size) for _ in range(3))
    starts = [dense(each, torch.float32) for each in (parameters.mask, state.current, state.membrane, state.output)]
    tensors = [given, first, weights, scale, *starts, sums, currents, membranes, outputs]
    run(tensors, on_device(lengths, given), frames, coder.range, coder.scale, coder.unit, coder.threshold)
    return Trace(sums, State(currents, membranes, given.new_zeros(batch, frames, 0), outputs))


def backward(
    gradient: Tensor, trace: Trace, state: State, parameters: Parameters
) -> tuple[Tensor, Tensor | None]:
    """Gradients of the drive and of U, as the reference's."""
    run = _walk("backward", trace.sums, parameters)
    if run is None:
        return triton.backward(gradient, trace, state, parameters)
    recurrent, states = parameters.recurrent, trace.states
    to_drive = torch.empty_like(trace.sums)
    batch, frames = gradient.shape[:2]
    kind = product_type(trace.sums, recurrent)
    weights, scale = weights_and_scale(recurrent, kind)
    others = (parameters.mask, state.current, trace.sums, states.current, states.membrane)
    given, *others = (dense(each, torch.float32) for each in (gradient, *others))
    tensors = [given, weights, scale, *others, to_drive]
    run(tensors, torch.full((batch,), frames, device=gradient.device), frames, parameters.coder.range)
    return to_drive, weight_gradient(to_drive, states.output, state.output, kind, parameters.coder.unit)

