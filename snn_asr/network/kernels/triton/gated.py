"""The gated layers (cells/gated.py) in Triton: one launch for each frame with recurrent weights, and a scan without
them.

The equations are those of kernels/reference/gated.py. The backward pass computes its factors from the sums again.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from snn_asr.network.cells.gated import GATES, Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.reference import previous, weight_gradient
from snn_asr.network.kernels.triton import gated_scan
from snn_asr.network.kernels.triton.gated_scan import gate, gate_factors
from snn_asr.network.kernels.triton.tiles import at, coder_of, emit, product, receive, sigmoid, tile
from snn_asr.network.kernels.triton.walking import (
    after,
    coder_numbers,
    dense,
    pack,
    product_type,
    slots,
    state_type,
    walk,
)


@triton.jit(do_not_specialize=["offset"])
def _forward(
    table, clock, numbers, weights, offset, SIZE: tl.constexpr, PITCH: tl.constexpr, ROWS: tl.constexpr,
    UNITS: tl.constexpr, DEPTH: tl.constexpr, STATE: tl.constexpr, PRODUCT: tl.constexpr, SMOOTHED: tl.constexpr,
    CLAMPED: tl.constexpr, MASKED: tl.constexpr, SPIKING: tl.constexpr,
):
    rows, units, lengths, frames, longest = tile(table, ROWS, UNITS)
    place, row = rows * frames * (2 * SIZE) + units, rows * (frames + 1) * SIZE
    drives, sums = at(table, 4, STATE) + place, at(table, 5, STATE) + place
    currents, membranes = at(table, 6, STATE) + row + units, at(table, 7, STATE) + row + units
    feedbacks, sent = at(table, 8, STATE) + 2 * row + units, at(table, 9, STATE) + row
    n = tl.load(clock) + offset
    if n < longest:
        alive = (n < lengths) & (units < SIZE)
        current = tl.load(currents + n * SIZE, mask=alive, other=0.0)
        membrane = tl.load(membranes + n * SIZE, mask=alive, other=0.0)
        output = tl.load(sent + units + n * SIZE, mask=alive, other=0.0)
        mask = current
        if MASKED:
            mask = tl.load(at(table, 10, STATE) + rows * SIZE + units, mask=alive, other=0.0)
        forget = tl.load(drives + n * (2 * SIZE), mask=alive, other=0.0)
        candidate = tl.load(drives + n * (2 * SIZE) + SIZE, mask=alive, other=0.0)
        fed_back = product(sent + n * SIZE, n < lengths, weights, SIZE, PITCH, ROWS, 2 * UNITS, DEPTH, STATE, PRODUCT)
        to_forget, to_candidate = tl.split(tl.reshape(fed_back, (ROWS, UNITS, 2)))
        if SMOOTHED:
            kept = tl.load(numbers + 4)
            before = feedbacks + n * (2 * SIZE)
            to_forget += kept * (tl.load(before, mask=alive, other=0.0) - to_forget)
            to_candidate += kept * (tl.load(before + SIZE, mask=alive, other=0.0) - to_candidate)
            tl.store(before + 2 * SIZE, to_forget, mask=alive)
            tl.store(before + 3 * SIZE, to_candidate, mask=alive)
        forget += to_forget
        candidate += to_candidate
        tl.store(sums + n * (2 * SIZE), forget, mask=alive)
        tl.store(sums + n * (2 * SIZE) + SIZE, candidate, mask=alive)
        forget = sigmoid(forget)
        current = forget * current + (1.0 - forget) * gate(candidate, mask, CLAMPED, MASKED)
        membrane, output = emit(current, membrane, output, coder_of(numbers), SPIKING)
        tl.store(currents + (n + 1) * SIZE, current, mask=alive)
        tl.store(membranes + (n + 1) * SIZE, membrane, mask=alive)
        tl.store(sent + units + (n + 1) * SIZE, output, mask=alive)


@triton.jit(do_not_specialize=["offset"])
def _backward(
    table, clock, numbers, weights, offset, SIZE: tl.constexpr, PITCH: tl.constexpr, ROWS: tl.constexpr,
    UNITS: tl.constexpr, DEPTH: tl.constexpr, STATE: tl.constexpr, PRODUCT: tl.constexpr, SMOOTHED: tl.constexpr,
    CLAMPED: tl.constexpr, MASKED: tl.constexpr, SPIKING: tl.constexpr,
):
    """One frame of the backward pass, which hands g_V and F ⊙ g_I on to the next launch.

    ``feedbacks`` is g_R, or g_D if the recurrent product is not smoothed.
    """
    rows, units, lengths, frames, longest = tile(table, ROWS, UNITS)
    row = rows * frames * SIZE
    gradients, sums = at(table, 4, STATE) + row + units, at(table, 5, STATE) + 2 * row + units
    befores, membranes = at(table, 6, STATE) + row + units, at(table, 7, STATE) + row + units
    results, feedbacks = at(table, 8, STATE) + 2 * row + units, at(table, 9, STATE) + 2 * row
    carried = rows * SIZE + units
    to_currents, to_membranes = at(table, 10, STATE) + carried, at(table, 11, STATE) + carried
    n = frames - 1 - tl.load(clock) - offset
    if n >= 0:
        alive = (n < lengths) & (units < SIZE)
        to_current = tl.load(to_currents, mask=alive, other=0.0)
        to_membrane = tl.load(to_membranes, mask=alive, other=0.0)
        mask = to_current
        if MASKED:
            mask = tl.load(at(table, 12, STATE) + carried, mask=alive, other=0.0)
        following = feedbacks + (n + 1) * (2 * SIZE)
        total = product(
            following, n + 1 < lengths, weights, 2 * SIZE, PITCH, ROWS, UNITS, DEPTH, STATE, PRODUCT
        )
        if SMOOTHED:
            total *= tl.load(numbers + 5)
        total += tl.load(gradients + n * SIZE, mask=alive, other=0.0)
        if SPIKING:
            membrane = tl.load(membranes + n * SIZE, mask=alive, other=0.0)
            to_membrane = receive(total, membrane, to_membrane, tl.load(numbers))
            total = to_membrane
        to_current = total + to_current
        before = tl.load(befores + n * SIZE, mask=alive, other=0.0)
        forget, to_forget, to_candidate = gate_factors(
            tl.load(sums + n * (2 * SIZE), mask=alive, other=0.0),
            tl.load(sums + n * (2 * SIZE) + SIZE, mask=alive, other=0.0), before, mask, CLAMPED, MASKED,
        )
        to_forget, to_candidate = to_current * to_forget, to_current * to_candidate
        tl.store(results + n * (2 * SIZE), to_forget, mask=alive)
        tl.store(results + n * (2 * SIZE) + SIZE, to_candidate, mask=alive)
        if SMOOTHED:
            own = feedbacks + units + n * (2 * SIZE)
            later = alive & (n + 1 < lengths)
            to_forget += tl.load(numbers + 4) * tl.load(own + 2 * SIZE, mask=later, other=0.0)
            to_candidate += tl.load(numbers + 4) * tl.load(own + 3 * SIZE, mask=later, other=0.0)
            tl.store(own, to_forget, mask=alive)
            tl.store(own + SIZE, to_candidate, mask=alive)
        tl.store(to_currents, to_current * forget, mask=alive)
        tl.store(to_membranes, to_membrane, mask=alive)


def _options(parameters: Parameters) -> dict:
    smoothing = parameters.smoothing
    return {
        "numbers": (*coder_numbers(parameters.coder), smoothing, 1 - smoothing),
        "SMOOTHED": smoothing > 0,
        "CLAMPED": parameters.candidate == "clamp",
        "MASKED": parameters.mask is not None,
        "SPIKING": parameters.coder is not None,
    }


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The Trace of the reference. Frames beyond ``lengths`` are not computed, and their states are zero."""
    if parameters.recurrent is None:
        return gated_scan.forward(drive, lengths, state, parameters)
    kind, recurrent = state_type(drive), parameters.recurrent
    given, states = dense(drive, kind), slots(state, drive.shape[1], kind)
    sums = torch.zeros_like(given)
    packed = pack(recurrent, GATES, product_type(drive, recurrent))
    tensors = [given, sums, *states, dense(parameters.mask, kind)]
    walk(_forward, states.output.shape[-1], lengths, tensors, packed, **_options(parameters))
    return Trace(sums, after(states))


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor, Tensor | None]:
    """The gradients of the drive and of U, as the reference's."""
    if parameters.recurrent is None:
        return gated_scan.backward(gradient, trace, state, parameters)
    kind, recurrent, states = trace.sums.dtype, parameters.recurrent, trace.states
    drive = torch.zeros_like(trace.sums)
    feedback = torch.zeros_like(drive) if parameters.smoothing else drive
    packed = pack(recurrent.T, 1, product_type(drive, recurrent))
    given = [gradient, trace.sums, previous(states.current, state.current), states.membrane]
    carried = [gradient.new_zeros(len(gradient), gradient.shape[-1], dtype=kind) for _ in range(2)]
    tensors = [*(dense(each, kind) for each in given), drive, feedback, *carried, dense(parameters.mask, kind)]
    walk(_backward, gradient.shape[-1], None, tensors, packed, **_options(parameters))
    return drive, (1 - parameters.smoothing) * weight_gradient(feedback, previous(states.output, state.output))
