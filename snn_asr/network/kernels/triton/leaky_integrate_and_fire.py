"""The leaky integrate-and-fire layers in Triton: LIF and adLIF are scans (leaky_scan.py), and RLIF and RadLIF take a
launch for each frame.

The surrogate derivatives, and the gradients of the parameters of RLIF and RadLIF, come from the reference.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from snn_asr.network.cells.leaky_integrate_and_fire import GATES, THRESHOLD, Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.reference import leaky_integrate_and_fire as reference
from snn_asr.network.kernels.triton import leaky_scan
from snn_asr.network.kernels.triton.slopes import slope_numbers
from snn_asr.network.kernels.triton.tiles import at, product, tile
from snn_asr.network.kernels.triton.walking import after, dense, pack, product_type, slots, state_type, walk


@triton.jit(do_not_specialize=["offset"])
def _forward(
    table, clock, numbers, weights, offset, SIZE: tl.constexpr, PITCH: tl.constexpr, ROWS: tl.constexpr,
    UNITS: tl.constexpr, DEPTH: tl.constexpr, STATE: tl.constexpr, PRODUCT: tl.constexpr, ADAPTIVE: tl.constexpr,
):
    rows, units, lengths, frames, longest = tile(table, ROWS, UNITS)
    place, row = rows * frames * SIZE + units, rows * (frames + 1) * SIZE
    drives, sums = at(table, 4, STATE) + place, at(table, 5, STATE) + place
    potentials, adaptations = at(table, 6, STATE) + row + units, at(table, 7, STATE) + row + units
    sent = at(table, 8, STATE) + row
    n = tl.load(clock) + offset
    if n < longest:
        alive = (n < lengths) & (units < SIZE)
        potential = tl.load(potentials + n * SIZE, mask=alive, other=0.0)
        output = tl.load(sent + units + n * SIZE, mask=alive, other=0.0)
        decay = tl.load(at(table, 9, STATE) + units, mask=units < SIZE, other=0.0)
        total = tl.load(drives + n * SIZE, mask=alive, other=0.0)
        total += product(sent + n * SIZE, n < lengths, weights, SIZE, PITCH, ROWS, UNITS, DEPTH, STATE, PRODUCT)
        tl.store(sums + n * SIZE, total, mask=alive)
        if ADAPTIVE:
            adaptation = tl.load(adaptations + n * SIZE, mask=alive, other=0.0)
            adaptation_decay = tl.load(at(table, 10, STATE) + units, mask=units < SIZE, other=0.0)
            coupling = tl.load(at(table, 11, STATE) + units, mask=units < SIZE, other=0.0)
            jump = tl.load(at(table, 12, STATE) + units, mask=units < SIZE, other=0.0)
            adaptation = adaptation_decay * adaptation + coupling * potential
            adaptation = adaptation + jump * output
            total = total - adaptation
            tl.store(adaptations + (n + 1) * SIZE, adaptation, mask=alive)
        potential = decay * (potential - output) + (1.0 - decay) * total
        output = tl.where(potential - tl.load(numbers) > 0, 1.0, 0.0).to(STATE)
        tl.store(potentials + (n + 1) * SIZE, potential, mask=alive)
        tl.store(sent + units + (n + 1) * SIZE, output, mask=alive)


@triton.jit(do_not_specialize=["offset"])
def _backward(
    table, clock, weights, offset, SIZE: tl.constexpr, PITCH: tl.constexpr, ROWS: tl.constexpr, UNITS: tl.constexpr,
    DEPTH: tl.constexpr, STATE: tl.constexpr, PRODUCT: tl.constexpr, ADAPTIVE: tl.constexpr,
):
    """One frame of the backward pass. g_u+ and g_w+ are read from where the launch before has written them."""
    rows, units, lengths, frames, longest = tile(table, ROWS, UNITS)
    row = rows * frames * SIZE
    gradients, slopes = at(table, 4, STATE) + row + units, at(table, 5, STATE) + row + units
    to_potentials, to_adaptations = at(table, 6, STATE) + row, at(table, 7, STATE) + row + units
    decay = tl.load(at(table, 8, STATE) + units, mask=units < SIZE, other=0.0)
    n = frames - 1 - tl.load(clock) - offset
    if n >= 0:
        alive, behind = (n < lengths) & (units < SIZE), (n + 1 < lengths) & (units < SIZE)
        following = (n + 1) * SIZE
        potential = tl.load(to_potentials + units + following, mask=behind, other=0.0)
        sent = product(
            to_potentials + following, n + 1 < lengths, weights, SIZE, PITCH, ROWS, UNITS, DEPTH, STATE, PRODUCT
        )
        kept = decay * potential
        sent += tl.load(gradients + n * SIZE, mask=alive, other=0.0) - kept
        if ADAPTIVE:
            adaptation = tl.load(to_adaptations + following, mask=behind, other=0.0)
            adaptation_decay = tl.load(at(table, 9, STATE) + units, mask=units < SIZE, other=0.0)
            coupling = tl.load(at(table, 10, STATE) + units, mask=units < SIZE, other=0.0)
            jump = tl.load(at(table, 11, STATE) + units, mask=units < SIZE, other=0.0)
            sent += jump * adaptation
            kept += coupling * adaptation
        potential = tl.load(slopes + n * SIZE, mask=alive, other=0.0) * sent + kept
        tl.store(to_potentials + units + n * SIZE, potential, mask=alive)
        if ADAPTIVE:
            adaptation = adaptation_decay * adaptation - (1.0 - decay) * potential
            tl.store(to_adaptations + n * SIZE, adaptation, mask=alive)


def _neurons(parameters: Parameters, kind: torch.dtype) -> list[Tensor | None]:
    """α, β, a and b."""
    return [dense(each, kind) for each in parameters[:4]]


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The Trace of the reference. Frames beyond ``lengths`` are not computed, and their states are zero."""
    kind, recurrent = state_type(drive), parameters.recurrent
    if recurrent is None:
        return leaky_scan.forward(drive, lengths, state, parameters)
    given, states = dense(drive, kind), slots(state, drive.shape[1], kind)
    sums = torch.zeros_like(given)
    packed = pack(recurrent, GATES, product_type(drive, recurrent))
    tensors = [given, sums, *states, *_neurons(parameters, kind)]
    walk(_forward, drive.shape[-1], lengths, tensors, packed, (THRESHOLD,), ADAPTIVE=_adaptive(parameters))
    return Trace(sums, after(states))


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor | None, ...]:
    """The gradients of the drive and of the parameters in TRAINED, as the reference's."""
    if parameters.recurrent is None:
        numbers = slope_numbers(parameters.derivative)
        if numbers is None:
            return reference.backward(gradient, trace, state, parameters)
        return leaky_scan.backward(gradient, trace, state, parameters, numbers)
    return reference.backward(gradient, trace, state, parameters, _recursion)


def _recursion(gradient: Tensor, slope: Tensor, parameters: Parameters) -> tuple[Tensor, Tensor | None]:
    """The recursion of the reference. V is multiplied by 1 - α before it is packed."""
    kind, recurrent, adaptive = slope.dtype, parameters.recurrent, _adaptive(parameters)
    assert recurrent is not None
    to_potential, to_adaptation = (torch.zeros_like(slope, memory_format=torch.contiguous_format) for _ in range(2))
    packed = pack(((1 - parameters.decay).unsqueeze(1) * recurrent).T, 1, product_type(slope, recurrent))
    tensors = [dense(gradient, kind), dense(slope, kind), to_potential, to_adaptation, *_neurons(parameters, kind)]
    walk(_backward, slope.shape[-1], None, tensors, packed, ADAPTIVE=adaptive)
    return to_potential, to_adaptation if adaptive else None


def _adaptive(parameters: Parameters) -> bool:
    return parameters.adaptation_decay is not None
