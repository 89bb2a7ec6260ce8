"""RLIF and RadLIF (cells/leaky_integrate_and_fire.py) on clusters. LIF and adLIF are scans, which run on Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from snn_asr.network.cells.leaky_integrate_and_fire import GATES, THRESHOLD, Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.cuda.walking import Walk, forward_operands, walk, weight_gradient, weights_and_scale
from snn_asr.network.kernels.triton import leaky_integrate_and_fire as triton
from snn_asr.network.kernels.triton.leaky_scan import neurons
from snn_asr.network.kernels.triton.scanning import on_device, starts
from snn_asr.network.kernels.triton.slopes import slope_numbers
from snn_asr.network.kernels.triton.walking import dense, product_type


def _walk(way: str, given: Tensor, parameters: Parameters) -> Walk | None:
    recurrent, numbers = parameters.recurrent, slope_numbers(parameters.derivative)
    if recurrent is None or numbers is None:
        return None
    flags = {"ADAPTIVE": int(parameters.adaptation_decay is not None), "SLOPE": numbers[0]}
    return walk(way, "leaky_integrate_and_fire.cu", given, recurrent.shape[1], GATES, recurrent, flags)


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The Trace of the reference. Frames beyond ``lengths`` are not computed, and their states are zero."""
    run = _walk("forward", drive, parameters)
    if run is None:
        return triton.forward(drive, lengths, state, parameters)
    assert parameters.recurrent is not None
    operands = forward_operands(drive, state.output, parameters.recurrent)
    given = operands[0]
    sums, potentials, outputs = (torch.empty_like(given) for _ in range(3))
    batch, frames, _ = given.shape
    adaptive = parameters.adaptation_decay is not None
    adaptations = torch.empty_like(given) if adaptive else given.new_zeros(batch, frames, 0)
    tensors = [
        *operands, *neurons(parameters, torch.float32).values(), *starts(state, given).values(),
        sums, potentials, adaptations, outputs,
    ]
    run(tensors, on_device(lengths, given), frames, 1.0, THRESHOLD)
    return Trace(sums, State(potentials, adaptations, outputs))


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor | None, ...]:
    """The gradients of the drive and of the parameters in TRAINED, as the reference's."""
    run = _walk("backward", trace.sums, parameters)
    if run is None:
        return triton.backward(gradient, trace, state, parameters)
    batch, frames, size = gradient.shape
    recurrent, numbers = parameters.recurrent, slope_numbers(parameters.derivative)
    assert recurrent is not None and numbers is not None
    _, scale_of_slope, height = numbers
    kind = product_type(trace.sums, recurrent)
    weights, scale = weights_and_scale(recurrent, kind)
    to_drive, totals = torch.empty_like(trace.sums), trace.sums.new_empty(4, batch, size)
    states = [each.detach().contiguous() for each in trace.states]
    tensors = [
        dense(gradient, torch.float32), weights, scale, *neurons(parameters, torch.float32).values(),
        *starts(state, trace.sums).values(), trace.sums.contiguous(), *states, to_drive, totals,
    ]
    lengths = torch.full((batch,), frames, device=gradient.device)
    run(tensors, lengths, frames, THRESHOLD, scale_of_slope, height)
    adaptive = parameters.adaptation_decay is not None
    to_neurons = totals[: 4 if adaptive else 1].sum(1)
    to_recurrent = weight_gradient(to_drive, trace.states.output, state.output, kind, 1.0)
    return to_drive, *(to_neurons if adaptive else (to_neurons[0], None, None, None)), to_recurrent
