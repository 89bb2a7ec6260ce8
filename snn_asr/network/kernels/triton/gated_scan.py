"""The gated layer v1 (cells/gated.py) in Triton: one scan over all frames, forward and backward, without recurrent
weights."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from snn_asr.network.cells.gated import Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.triton.scanning import scan, starts
from snn_asr.network.kernels.triton.tiles import (
    coder_of,
    emit,
    frames_ahead,
    keep,
    keep_states,
    mask_of,
    receive,
    row_of,
    sigmoid,
    states_before,
)
from snn_asr.network.kernels.triton.walking import coder_numbers, dense, state_type


@triton.jit
def gate(sums, mask, CLAMPED: tl.constexpr, MASKED: tl.constexpr):
    """φ of the candidate's sums, times the dropout mask."""
    value = tl.maximum(sums, 0.0)
    if CLAMPED:
        value = tl.minimum(value, 1.0)
    if MASKED:
        value = value * mask
    return value


@triton.jit
def gate_factors(sums, candidate, before, mask, CLAMPED: tl.constexpr, MASKED: tl.constexpr):
    """F, and the two factors of g_I in the gradients of the two gates' sums."""
    forget = sigmoid(sums)
    to_forget = (before - gate(candidate, mask, CLAMPED, MASKED)) * forget * (1.0 - forget)
    to_candidate = 1.0 - forget
    if MASKED:
        to_candidate = to_candidate * mask
    passes = candidate > 0
    if CLAMPED:
        passes = passes & (candidate < 1)
    return forget, to_forget, tl.where(passes, to_candidate, 0.0)


@triton.jit
def _forward(
    drive, current0, membrane0, output0, mask, numbers, lengths, currents, membranes, outputs, frames,
    SIZE: tl.constexpr, UNITS: tl.constexpr, GROUP: tl.constexpr, STATE: tl.constexpr, CLAMPED: tl.constexpr,
    MASKED: tl.constexpr, SPIKING: tl.constexpr,
):
    row, units, here, length = row_of(lengths, SIZE, UNITS)
    start, place, coder = row * SIZE + units, row * frames * SIZE + units, coder_of(numbers)
    drives = drive + 2 * row * frames * SIZE + units
    current, membrane, output = states_before(current0, membrane0, output0, start, here)
    masked = mask_of(mask, start, here, current, MASKED)
    n = frames * 0
    while n < frames:
        forgets = frames_ahead(drives, n, 1, length, here, 2 * SIZE, GROUP)
        candidates = frames_ahead(drives + SIZE, n, 1, length, here, 2 * SIZE, GROUP)
        for i in tl.static_range(GROUP):
            forget = sigmoid(forgets[i])
            current = forget * current + (1.0 - forget) * gate(candidates[i], masked, CLAMPED, MASKED)
            membrane, output = emit(current, membrane, output, coder, SPIKING)
            keep_states(
                currents, membranes, outputs, current, membrane, output, place, n + i, length, frames, here, SIZE
            )
        n += GROUP


@triton.jit
def _backward(
    gradient, sums, currents, current0, membranes, mask, numbers, lengths, to_drive, frames, SIZE: tl.constexpr,
    UNITS: tl.constexpr, GROUP: tl.constexpr, STATE: tl.constexpr, CLAMPED: tl.constexpr, MASKED: tl.constexpr,
    SPIKING: tl.constexpr,
):
    row, units, here, length = row_of(lengths, SIZE, UNITS)
    start, place, limit = row * SIZE + units, row * frames * SIZE + units, tl.load(numbers)
    gates = 2 * row * frames * SIZE + units
    first = tl.load(current0 + start, mask=here, other=0.0)
    masked = mask_of(mask, start, here, first, MASKED)
    to_current, to_membrane = tl.full((UNITS,), 0.0, STATE), tl.full((UNITS,), 0.0, STATE)
    n = frames - 1
    while n >= 0:
        given = frames_ahead(gradient + place, n, -1, length, here, SIZE, GROUP)
        forgets = frames_ahead(sums + gates, n, -1, length, here, 2 * SIZE, GROUP)
        candidates = frames_ahead(sums + gates + SIZE, n, -1, length, here, 2 * SIZE, GROUP)
        befores = frames_ahead(currents + place - SIZE, n, -1, length, here, SIZE, GROUP, 1)
        if SPIKING:
            levels = frames_ahead(membranes + place, n, -1, length, here, SIZE, GROUP)
        for i in tl.static_range(GROUP):
            total = given[i]
            if SPIKING:
                to_membrane = receive(total, levels[i], to_membrane, limit)
                total = to_membrane
            to_current = total + to_current
            before = tl.where(n - i > 0, befores[i], first)
            forget, to_forget, to_candidate = gate_factors(
                forgets[i], candidates[i], before, masked, CLAMPED, MASKED
            )
            keep(to_drive + gates, to_current * to_forget, n - i, length, frames, here, 2 * SIZE)
            keep(to_drive + gates + SIZE, to_current * to_candidate, n - i, length, frames, here, 2 * SIZE)
            to_current = to_current * forget
        n -= GROUP


def _flags(parameters: Parameters) -> dict[str, bool]:
    return {
        "CLAMPED": parameters.candidate == "clamp", "MASKED": parameters.mask is not None,
        "SPIKING": parameters.coder is not None,
    }


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The Trace of the reference. Frames beyond ``lengths`` are not computed, and their states are zero."""
    given = dense(drive, state_type(drive))
    batch, frames, size = *drive.shape[:2], state.output.shape[-1]
    currents, membranes, outputs = (given.new_empty(batch, frames, size) for _ in range(3))
    begun = starts(state, given)
    del begun["feedback0"]
    tensors = {
        "drive": given, **begun, "mask": dense(parameters.mask, given.dtype), "currents": currents,
        "membranes": membranes, "outputs": outputs,
    }
    scan(_forward, size, frames, lengths, tensors, coder_numbers(parameters.coder), **_flags(parameters))
    return Trace(given, State(currents, membranes, given.new_zeros(batch, frames, 0), outputs))


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor, None]:
    """The gradient of the drive, as the reference's. There is no U."""
    kind, (batch, frames, size) = trace.sums.dtype, gradient.shape
    to_drive = torch.empty_like(trace.sums)
    tensors = {
        "gradient": dense(gradient, kind), "sums": trace.sums, "currents": dense(trace.states.current, kind),
        "current0": dense(state.current, kind), "membranes": dense(trace.states.membrane, kind),
        "mask": dense(parameters.mask, kind), "to_drive": to_drive,
    }
    lengths = torch.full((batch,), frames, device=gradient.device)
    scan(_backward, size, frames, lengths, tensors, coder_numbers(parameters.coder), **_flags(parameters))
    return to_drive, None
