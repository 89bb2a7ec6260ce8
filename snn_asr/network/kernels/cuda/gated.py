"""The gated layer v2 (cells/gated.py) on clusters. v1, the Li-GRU and smoothed recurrent products run on Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from snn_asr.network.cells.gated import GATES, Parameters, State
from snn_asr.network.coder import Coder
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.cuda.walking import Walk, forward_operands, walk, weight_gradient, weights_and_scale
from snn_asr.network.kernels.triton import gated as triton
from snn_asr.network.kernels.triton.scanning import on_device
from snn_asr.network.kernels.triton.walking import dense, product_type

MOST_BITS = 7  # levels up to ±63 travel as a byte


def _walk(way: str, given: Tensor, parameters: Parameters) -> Walk | None:
    recurrent, coder = parameters.recurrent, parameters.coder
    if recurrent is None or not isinstance(coder, Coder) or parameters.smoothing:
        return None
    if coder.range * coder.scale >= 2 ** (MOST_BITS - 1):
        return None
    flags = {"CLAMPED": int(parameters.candidate == "clamp"), "MASKED": int(parameters.mask is not None)}
    return walk(way, "gated.cu", given, recurrent.shape[1], GATES, recurrent, flags)


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The Trace of the reference. Frames beyond ``lengths`` are not computed, and their states are zero."""
    run = _walk("forward", drive, parameters)
    if run is None:
        return triton.forward(drive, lengths, state, parameters)
    recurrent, coder = parameters.recurrent, parameters.coder
    assert recurrent is not None and isinstance(coder, Coder)
    operands = forward_operands(drive, state.output, recurrent)
    (batch, frames, _), size, given = drive.shape, recurrent.shape[1], operands[0]
    sums = torch.empty_like(given)
    currents, membranes, outputs = (given.new_empty(batch, frames, size) for _ in range(3))
    starts = [dense(each, torch.float32) for each in (parameters.mask, state.current, state.membrane, state.output)]
    tensors = [*operands, *starts, sums, currents, membranes, outputs]
    run(tensors, on_device(lengths, given), frames, coder.range, coder.scale, coder.unit, coder.threshold)
    return Trace(sums, State(currents, membranes, given.new_zeros(batch, frames, 0), outputs))


def backward(
    gradient: Tensor, trace: Trace, state: State, parameters: Parameters
) -> tuple[Tensor, Tensor | None]:
    """The gradients of the drive and of U, as the reference's."""
    run = _walk("backward", trace.sums, parameters)
    if run is None:
        return triton.backward(gradient, trace, state, parameters)
    recurrent, coder, states = parameters.recurrent, parameters.coder, trace.states
    assert recurrent is not None and isinstance(coder, Coder)
    to_drive = torch.empty_like(trace.sums)
    batch, frames = gradient.shape[:2]
    kind = product_type(trace.sums, recurrent)
    weights, scale = weights_and_scale(recurrent, kind)
    kept = (parameters.mask, state.current, trace.sums, states.current, states.membrane)
    tensors = [
        dense(gradient, torch.float32), weights, scale, *(dense(each, torch.float32) for each in kept), to_drive,
    ]
    run(tensors, torch.full((batch,), frames, device=gradient.device), frames, coder.range)
    return to_drive, weight_gradient(to_drive, states.output, state.output, kind, coder.unit)

