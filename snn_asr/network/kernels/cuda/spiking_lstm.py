"""The spiking LSTM (cells/spiking_lstm.py) on clusters. A kept cell, which counts without bound, runs on Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from snn_asr.network.cells.spiking_lstm import GATES, Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.cuda.walking import Walk, forward_operands, walk, weight_gradient, weights_and_scale
from snn_asr.network.kernels.triton import spiking_lstm as triton
from snn_asr.network.kernels.triton.scanning import on_device
from snn_asr.network.kernels.triton.slopes import slope_numbers
from snn_asr.network.kernels.triton.walking import dense, product_type


def _slopes(parameters: Parameters) -> list[tuple[int, float, float]] | None:
    """The numbers of the three derivatives, or None if the kernels do not know one of them."""
    derivatives = (parameters.gate_slope, parameters.candidate_slope, parameters.cell_slope)
    known = [each for each in map(slope_numbers, derivatives) if each is not None]
    return known if len(known) == len(derivatives) else None


def _walk(way: str, given: Tensor, parameters: Parameters) -> Walk | None:
    slopes = _slopes(parameters)
    if parameters.cell != "thresholded" or slopes is None:
        return None
    names = ("GATE_SLOPE", "CANDIDATE_SLOPE", "CELL_SLOPE")
    flags = {name: slope[0] for name, slope in zip(names, slopes, strict=True)}
    flags |= {name.upper(): int(parameters.cell_gradient == name) for name in ("surrogate", "speech")}
    return walk(way, "spiking_lstm.cu", given, parameters.recurrent.shape[1], GATES, parameters.recurrent, flags)


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The Trace of the reference. Frames beyond ``lengths`` are not computed, and their states are zero."""
    run = _walk("forward", drive, parameters)
    if run is None:
        return triton.forward(drive, lengths, state, parameters)
    operands = forward_operands(drive, state.output, parameters.recurrent)
    (batch, frames, _), given = drive.shape, operands[0]
    sums = torch.empty_like(given)
    cells, outputs = (given.new_empty(batch, frames, parameters.recurrent.shape[1]) for _ in range(2))
    tensors = [*operands, dense(state.cell, torch.float32), sums, cells, outputs]
    run(tensors, on_device(lengths, given), frames, 1.0, parameters.threshold)
    return Trace(sums, State(cells, outputs))


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor, Tensor]:
    """The gradients of the drive and of U, as the reference's."""
    run, slopes = _walk("backward", trace.sums, parameters), _slopes(parameters)
    if run is None or slopes is None:
        return triton.backward(gradient, trace, state, parameters)
    batch, frames = gradient.shape[:2]
    recurrent, kind = parameters.recurrent, product_type(trace.sums, parameters.recurrent)
    weights, scale = weights_and_scale(recurrent, kind)
    to_drive = torch.empty_like(trace.sums)
    given, *others = (dense(each, torch.float32) for each in (gradient, state.cell, trace.sums, trace.states.cell))
    lengths = torch.full((batch,), frames, device=gradient.device)
    numbers = [number for slope in slopes for number in slope[1:]]
    run([given, weights, scale, *others, to_drive], lengths, frames, parameters.threshold, *numbers)
    return to_drive, weight_gradient(to_drive, trace.states.output, state.output, kind, 1.0)
