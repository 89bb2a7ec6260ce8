"""The conventional layer (cells/conventional.py) in Triton: one scan over all frames, forward and backward."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from snn_asr.network.cells.conventional import Parameters, State
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
    states_before,
)
from snn_asr.network.kernels.triton.walking import coder_numbers, dense, state_type


@triton.jit
def _forward(
    drive, decay, current0, membrane0, output0, mask, numbers, lengths, currents, membranes, outputs, frames,
    SIZE: tl.constexpr, UNITS: tl.constexpr, GROUP: tl.constexpr, STATE: tl.constexpr, MASKED: tl.constexpr,
    SPIKING: tl.constexpr,
):
    row, units, here, length = row_of(lengths, SIZE, UNITS)
    start, place, coder = row * SIZE + units, row * frames * SIZE + units, coder_of(numbers)
    current, membrane, output = states_before(current0, membrane0, output0, start, here)
    kept, masked = tl.load(decay + units, mask=here, other=0.0), mask_of(mask, start, here, current, MASKED)
    n = frames * 0
    while n < frames:
        given = frames_ahead(drive + place, n, 1, length, here, SIZE, GROUP)
        for i in tl.static_range(GROUP):
            sent = given[i]
            if MASKED:
                sent = sent * masked
            current = kept * current + sent
            membrane, output = emit(current, membrane, output, coder, SPIKING)
            keep_states(
                currents, membranes, outputs, current, membrane, output, place, n + i, length, frames, here, SIZE
            )
        n += GROUP


@triton.jit
def _backward(
    gradient, decay, currents, current0, membranes, mask, numbers, lengths, to_drive, to_decay, frames,
    SIZE: tl.constexpr, UNITS: tl.constexpr, GROUP: tl.constexpr, STATE: tl.constexpr, MASKED: tl.constexpr,
    SPIKING: tl.constexpr,
):
    """Write g_I ⊙ m, the gradient of the drive, for all frames, and each row's share of the gradient of τ."""
    row, units, here, length = row_of(lengths, SIZE, UNITS)
    start, place, limit = row * SIZE + units, row * frames * SIZE + units, tl.load(numbers)
    first = tl.load(current0 + start, mask=here, other=0.0)
    kept = tl.load(decay + units, mask=here, other=0.0)
    masked = mask_of(mask, start, here, first, MASKED)
    to_current, to_membrane = tl.full((UNITS,), 0.0, STATE), tl.full((UNITS,), 0.0, STATE)
    total = tl.full((UNITS,), 0.0, STATE)
    n = frames - 1
    while n >= 0:
        given = frames_ahead(gradient + place, n, -1, length, here, SIZE, GROUP)
        befores = frames_ahead(currents + place - SIZE, n, -1, length, here, SIZE, GROUP, 1)
        if SPIKING:
            levels = frames_ahead(membranes + place, n, -1, length, here, SIZE, GROUP)
        for i in tl.static_range(GROUP):
            sent = given[i]
            if SPIKING:
                to_membrane = receive(sent, levels[i], to_membrane, limit)
                sent = to_membrane
            to_current = sent + kept * to_current
            before = tl.where(n - i > 0, befores[i], first)
            total += tl.where((n - i >= 0) & (n - i < length), to_current * before, 0.0)
            result = to_current
            if MASKED:
                result = to_current * masked
            keep(to_drive + place, result, n - i, length, frames, here, SIZE)
        n -= GROUP
    tl.store(to_decay + start, total, mask=here)


def _flags(parameters: Parameters) -> dict[str, bool]:
    return {"MASKED": parameters.mask is not None, "SPIKING": parameters.coder is not None}


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The Trace of the reference. Frames beyond ``lengths`` are not computed, and their states are zero."""
    given = dense(drive, state_type(drive))
    batch, frames, size = given.shape
    states = State(*(torch.empty_like(given) for _ in State._fields))
    tensors = {
        "drive": given, "decay": dense(parameters.decay, given.dtype), **starts(state, given),
        "mask": dense(parameters.mask, given.dtype), "currents": states.current, "membranes": states.membrane,
        "outputs": states.output,
    }
    scan(_forward, size, frames, lengths, tensors, coder_numbers(parameters.coder), **_flags(parameters))
    return Trace(given, states)


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor, Tensor]:
    """The gradients of the drive and of τ, as the reference's."""
    kind, (batch, frames, size) = trace.sums.dtype, gradient.shape
    to_drive, to_decay = torch.empty_like(trace.sums), torch.zeros_like(state.current, dtype=kind)
    tensors = {
        "gradient": dense(gradient, kind), "decay": dense(parameters.decay, kind),
        "currents": dense(trace.states.current, kind), "current0": dense(state.current, kind),
        "membranes": dense(trace.states.membrane, kind), "mask": dense(parameters.mask, kind), "to_drive": to_drive,
        "to_decay": to_decay,
    }
    lengths = torch.full((batch,), frames, device=gradient.device)
    scan(_backward, size, frames, lengths, tensors, coder_numbers(parameters.coder), **_flags(parameters))
    return to_drive, to_decay.sum(0)
