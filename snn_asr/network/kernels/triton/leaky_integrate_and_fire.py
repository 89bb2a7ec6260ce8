"""The leaky integrate-and-fire layers in Triton: LIF and adLIF are scans, RLIF and RadLIF a step a frame.
Not measured yet.

The surrogate derivative and the gradients of the parameters come from ``kernels.reference.adaptive_lif``.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from snn_asr.network.cells.leaky_integrate_and_fire import GATES, THRESHOLD, Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.reference import leaky_integrate_and_fire as reference
from snn_asr.network.kernels.triton.tiles import at, product, tile
from snn_asr.network.kernels.triton.walking import after, dense, pack, product_type, slots, state_type, walk


@triton.jit(do_not_specialize=["offset"])
def _forward(
    table, clock, numbers, weights, offset, SIZE: tl.constexpr, PITCH: tl.constexpr, ROWS: tl.constexpr,
    UNITS: tl.constexpr, DEPTH: tl.constexpr, STATE: tl.constexpr, PRODUCT: tl.constexpr, RECURRENT: tl.constexpr,
    ADAPTIVE: tl.constexpr,
):
    rows, units, lengths, frames, longest = tile(table, ROWS, UNITS)
    place, row = rows * frames * SIZE + units, rows * (frames + 1) * SIZE
    drives, sums = at(table, 4, STATE) + place, at(table, 5, STATE) + place
    potentials, adaptations = at(table, 6, STATE) + row + units, at(table, 7, STATE) + row + units
    sent = at(table, 8, STATE) + row
    n = tl.load(clock) + offset
    last = longest
    if RECURRENT:
        last = tl.minimum(n + 1, longest)
    here = (n < tl.minimum(lengths, last)) & (units < SIZE)
    potential = tl.load(potentials + n * SIZE, mask=here, other=0.0)
    output = tl.load(sent + units + n * SIZE, mask=here, other=0.0)
    decay = tl.load(at(table, 9, STATE) + units, mask=units < SIZE, other=0.0)
    threshold = tl.load(numbers)
    adaptation = tl.full((ROWS, UNITS), 0.0, STATE)
    if ADAPTIVE:
        adaptation = tl.load(adaptations + n * SIZE, mask=here, other=0.0)
        adaptation_decay = tl.load(at(table, 10, STATE) + units, mask=units < SIZE, other=0.0)
        coupling = tl.load(at(table, 11, STATE) + units, mask=units < SIZE, other=0.0)
        jump = tl.load(at(table, 12, STATE) + units, mask=units < SIZE, other=0.0)
    while n < last:
        alive = (n < lengths) & (units < SIZE)
        total = tl.load(drives + n * SIZE, mask=alive, other=0.0)
        if RECURRENT:
            total += product(sent + n * SIZE, n < lengths, weights, SIZE, PITCH, ROWS, UNITS, DEPTH, STATE, PRODUCT)
            tl.store(sums + n * SIZE, total, mask=alive)
        n += 1
        if ADAPTIVE:
            adaptation = adaptation_decay * adaptation + coupling * potential
            adaptation = adaptation + jump * output
            total = total - adaptation
            tl.store(adaptations + n * SIZE, adaptation, mask=alive)
        potential = decay * (potential - output) + (1.0 - decay) * total
        output = tl.where(potential - threshold > 0, 1.0, 0.0).to(STATE)
        tl.store(potentials + n * SIZE, potential, mask=alive)
        tl.store(sent + units + n * SIZE, output, mask=alive)


@triton.jit(do_not_specialize=["offset"])
def _backward(
    table, clock, weights, offset, SIZE: tl.constexpr, PITCH: tl.constexpr, ROWS: tl.constexpr, UNITS: tl.constexpr,
    DEPTH: tl.constexpr, STATE: tl.constexpr, PRODUCT: tl.constexpr, RECURRENT: tl.constexpr, ADAPTIVE: tl.constexpr,
):
    """g_u and g_w of the frame behind are read where they were written."""
    rows, units, lengths, frames, longest = tile(table, ROWS, UNITS)
    row = rows * frames * SIZE
    gradients, slopes = at(table, 4, STATE) + row + units, at(table, 5, STATE) + row + units
    to_potentials, to_adaptations = at(table, 6, STATE) + row, at(table, 7, STATE) + row + units
    decay = tl.load(at(table, 8, STATE) + units, mask=units < SIZE, other=0.0)
    n = frames - tl.load(clock) - offset
    first = longest * 0
    if RECURRENT:
        first = tl.maximum(n - 1, 0)
    behind = (n > first) & (n < lengths) & (units < SIZE)
    potential = tl.load(to_potentials + units + n * SIZE, mask=behind, other=0.0)
    adaptation = tl.full((ROWS, UNITS), 0.0, STATE)
    if ADAPTIVE:
        adaptation = tl.load(to_adaptations + n * SIZE, mask=behind, other=0.0)
        adaptation_decay = tl.load(at(table, 9, STATE) + units, mask=units < SIZE, other=0.0)
        coupling = tl.load(at(table, 10, STATE) + units, mask=units < SIZE, other=0.0)
        jump = tl.load(at(table, 11, STATE) + units, mask=units < SIZE, other=0.0)
    while n > first:
        sent = tl.full((ROWS, UNITS), 0.0, STATE)
        if RECURRENT:
            sent = product(
                to_potentials + n * SIZE, n < lengths, weights, SIZE, PITCH, ROWS, UNITS, DEPTH, STATE, PRODUCT
            )
        n -= 1
        alive = (n < lengths) & (units < SIZE)
        kept = decay * potential
        sent += tl.load(gradients + n * SIZE, mask=alive, other=0.0) - kept
        if ADAPTIVE:
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


def _options(parameters: Parameters) -> dict[str, bool]:
    return {"RECURRENT": parameters.recurrent is not None, "ADAPTIVE": parameters.adaptation_decay is not None}


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """As the reference; frames beyond ``lengths`` are not computed, their states are zero."""
    kind, recurrent = state_type(drive), parameters.recurrent
    given, states = dense(drive, kind), slots(state, drive.shape[1], kind)
    sums = given if recurrent is None else torch.zeros_like(given)
    packed = None if recurrent is None else pack(recurrent, GATES, product_type(drive, recurrent))
    tensors = [given, sums, *states, *_neurons(parameters, kind)]
    walk(_forward, drive.shape[-1], lengths, tensors, (THRESHOLD,), packed, **_options(parameters))
    return Trace(sums, after(states))


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor | None, ...]:
    """Gradients of the drive and of the parameters in TRAINED, as the reference's."""
    return reference.backward(gradient, trace, state, parameters, _recursion)


def _recursion(gradient: Tensor, slope: Tensor, parameters: Parameters) -> tuple[Tensor, Tensor | None]:
    """The recursion of ``kernels.reference.adaptive_lif``; 1 - α is worked into V before it is packed."""
    kind, recurrent = slope.dtype, parameters.recurrent
    to_potential, to_adaptation = (torch.zeros_like(slope, memory_format=torch.contiguous_format) for _ in range(2))
    packed = None
    if recurrent is not None:
        packed = pack(((1 - parameters.decay).unsqueeze(1) * recurrent).T, 1, product_type(slope, recurrent))
    tensors = [dense(gradient, kind), dense(slope, kind), to_potential, to_adaptation, *_neurons(parameters, kind)]
    walk(_backward, slope.shape[-1], None, tensors, weights=packed, **_options(parameters))
    return to_potential, to_adaptation if parameters.adaptation_decay is not None else None
