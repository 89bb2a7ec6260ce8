"""LIF and adLIF (cells/leaky_integrate_and_fire.py) in Triton: one scan over all frames, forward and backward.

The backward scan also sums up the gradients of the neurons' parameters."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from snn_asr.network.cells.leaky_integrate_and_fire import THRESHOLD, Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.triton.scanning import scan, starts
from snn_asr.network.kernels.triton.slopes import slope
from snn_asr.network.kernels.triton.tiles import frames_ahead, keep, row_of
from snn_asr.network.kernels.triton.walking import dense, state_type


@triton.jit
def _forward(
    drive, decay, adaptation_decay, coupling, jump, potential0, adaptation0, output0, numbers, lengths, potentials,
    adaptations, outputs, frames, SIZE: tl.constexpr, UNITS: tl.constexpr, GROUP: tl.constexpr, STATE: tl.constexpr,
    ADAPTIVE: tl.constexpr,
):
    row, units, here, length = row_of(lengths, SIZE, UNITS)
    start, place, threshold = row * SIZE + units, row * frames * SIZE + units, tl.load(numbers)
    potential = tl.load(potential0 + start, mask=here, other=0.0)
    output = tl.load(output0 + start, mask=here, other=0.0)
    kept = tl.load(decay + units, mask=here, other=0.0)
    if ADAPTIVE:
        adaptation = tl.load(adaptation0 + start, mask=here, other=0.0)
        kept_adaptation = tl.load(adaptation_decay + units, mask=here, other=0.0)
        coupled = tl.load(coupling + units, mask=here, other=0.0)
        jumps = tl.load(jump + units, mask=here, other=0.0)
    n = frames * 0
    while n < frames:
        given = frames_ahead(drive + place, n, 1, length, here, SIZE, GROUP)
        for i in tl.static_range(GROUP):
            total = given[i]
            if ADAPTIVE:
                adaptation = kept_adaptation * adaptation + coupled * potential
                adaptation = adaptation + jumps * output
                total = total - adaptation
                keep(adaptations + place, adaptation, n + i, length, frames, here, SIZE)
            potential = kept * (potential - output) + (1.0 - kept) * total
            output = tl.where(potential - threshold > 0, 1.0, 0.0).to(STATE)
            keep(potentials + place, potential, n + i, length, frames, here, SIZE)
            keep(outputs + place, output, n + i, length, frames, here, SIZE)
        n += GROUP


@triton.jit
def _product(gradient, factor):
    """The product, in which 0 · ∞ counts as 0: the state of an unstable neuron overflows where its gradient is 0."""
    return tl.where(gradient == 0, 0.0, gradient * factor)


@triton.jit
def _backward(
    gradient, drive, potentials, adaptations, outputs, decay, adaptation_decay, coupling, jump, potential0, adaptation0,
    output0, numbers, lengths, to_drive, sums, frames, SIZE: tl.constexpr, UNITS: tl.constexpr, GROUP: tl.constexpr,
    STATE: tl.constexpr, ADAPTIVE: tl.constexpr, KIND: tl.constexpr,
):
    """The backward scan. ``sums`` (4, B, H) receive each row's share of the gradients of α, β, a and b."""
    row, units, here, length = row_of(lengths, SIZE, UNITS)
    start, place, threshold = row * SIZE + units, row * frames * SIZE + units, tl.load(numbers)
    scale, height = tl.load(numbers + 1), tl.load(numbers + 2)
    first_potential = tl.load(potential0 + start, mask=here, other=0.0)
    first_output = tl.load(output0 + start, mask=here, other=0.0)
    kept = tl.load(decay + units, mask=here, other=0.0)
    to_decay, potential = tl.full((UNITS,), 0.0, STATE), tl.full((UNITS,), 0.0, STATE)
    if ADAPTIVE:
        first_adaptation = tl.load(adaptation0 + start, mask=here, other=0.0)
        kept_adaptation = tl.load(adaptation_decay + units, mask=here, other=0.0)
        coupled = tl.load(coupling + units, mask=here, other=0.0)
        jumps = tl.load(jump + units, mask=here, other=0.0)
        adaptation, to_kept = tl.full((UNITS,), 0.0, STATE), tl.full((UNITS,), 0.0, STATE)
        to_coupling, to_jump = tl.full((UNITS,), 0.0, STATE), tl.full((UNITS,), 0.0, STATE)
    n = frames - 1
    while n >= 0:
        given = frames_ahead(gradient + place, n, -1, length, here, SIZE, GROUP)
        drives = frames_ahead(drive + place, n, -1, length, here, SIZE, GROUP)
        # one frame more than the group: each is its own frame's, and the frame before that of the next
        levels = frames_ahead(potentials + place, n, -1, length, here, SIZE, GROUP + 1)
        befores = frames_ahead(outputs + place - SIZE, n, -1, length, here, SIZE, GROUP, 1)
        if ADAPTIVE:
            adapted = frames_ahead(adaptations + place, n, -1, length, here, SIZE, GROUP + 1)
        for i in tl.static_range(GROUP):
            alive = here & (n - i >= 0) & (n - i < length)
            before = tl.where(n - i > 0, levels[i + 1], first_potential)
            sent = tl.where(n - i > 0, befores[i], first_output)
            inner = drives[i]
            carried = kept * potential
            to_sent = given[i] - carried
            if ADAPTIVE:
                inner = inner - adapted[i]
                to_sent += jumps * adaptation
                carried += coupled * adaptation
            potential = slope(levels[i] - threshold, scale, height, KIND) * to_sent + carried
            potential = tl.where(alive, potential, 0.0)
            to_decay += _product(potential, before - sent - inner)
            keep(to_drive + place, (1.0 - kept) * potential, n - i, length, frames, here, SIZE)
            if ADAPTIVE:
                adaptation = tl.where(alive, kept_adaptation * adaptation - (1.0 - kept) * potential, 0.0)
                to_kept += _product(adaptation, tl.where(n - i > 0, adapted[i + 1], first_adaptation))
                to_coupling += _product(adaptation, before)
                to_jump += _product(adaptation, sent)
        n -= GROUP
    rows = tl.num_programs(1) * SIZE
    tl.store(sums + start, to_decay, mask=here)
    if ADAPTIVE:
        tl.store(sums + rows + start, to_kept, mask=here)
        tl.store(sums + 2 * rows + start, to_coupling, mask=here)
        tl.store(sums + 3 * rows + start, to_jump, mask=here)


def neurons(parameters: Parameters, kind: torch.dtype) -> dict[str, Tensor | None]:
    """α, β, a and b by their names."""
    names = Parameters._fields[:4]
    return dict(zip(names, (dense(each, kind) for each in parameters[:4]), strict=True))


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The Trace of the reference. Frames beyond ``lengths`` are not computed, and their states are zero."""
    given, adaptive = dense(drive, state_type(drive)), parameters.adaptation_decay is not None
    batch, frames, size = given.shape
    adaptations = torch.empty_like(given) if adaptive else given.new_zeros(batch, frames, 0)
    states = State(torch.empty_like(given), adaptations, torch.empty_like(given))
    tensors = {
        "drive": given, **neurons(parameters, given.dtype), **starts(state, given), "potentials": states.potential,
        "adaptations": states.adaptation, "outputs": states.output,
    }
    scan(_forward, size, frames, lengths, tensors, (THRESHOLD,), ADAPTIVE=adaptive)
    return Trace(given, states)


def backward(
    gradient: Tensor, trace: Trace, state: State, parameters: Parameters, numbers: tuple[int, float, float]
) -> tuple[Tensor | None, ...]:
    """Gradients of the drive and of the parameters in TRAINED, as the reference's; ``numbers`` are the slope's."""
    kind, (batch, frames, size) = trace.sums.dtype, gradient.shape
    adaptive = parameters.adaptation_decay is not None
    to_drive, sums = torch.empty_like(trace.sums), trace.sums.new_zeros(4, batch, size)
    states = {f"{name}s": dense(each, kind) for name, each in trace.states._asdict().items()}
    tensors = {
        "gradient": dense(gradient, kind), "drive": trace.sums, **states, **neurons(parameters, kind),
        **starts(state, trace.sums), "to_drive": to_drive, "sums": sums,
    }
    lengths = torch.full((batch,), frames, device=gradient.device)
    which, scale, height = numbers
    scan(_backward, size, frames, lengths, tensors, (THRESHOLD, scale, height), ADAPTIVE=adaptive, KIND=which)
    to_decay, *adaptation = sums.sum(1)
    return to_drive, to_decay, *(adaptation if adaptive else (None, None, None)), None
