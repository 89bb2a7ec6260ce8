"""The conventional layer (cells/conventional.py) in Triton: one scan over all frames each way. Not measured yet."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from snn_asr.network.cells.conventional import Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.reference import previous
from snn_asr.network.kernels.triton.tiles import at, receive, send, tile
from snn_asr.network.kernels.triton.walking import after, coder_numbers, dense, slots, state_type, walk


@triton.jit
def _forward(
    table, numbers, SIZE: tl.constexpr, ROWS: tl.constexpr, UNITS: tl.constexpr, STATE: tl.constexpr,
    MASKED: tl.constexpr, SPIKING: tl.constexpr,
):
    rows, units, lengths, frames, longest = tile(table, ROWS, UNITS)
    slot = rows * (frames + 1) * SIZE + units
    drives = at(table, 4, STATE) + rows * frames * SIZE + units
    currents, membranes, outputs = at(table, 5, STATE) + slot, at(table, 6, STATE) + slot, at(table, 7, STATE) + slot
    here = (lengths > 0) & (units < SIZE)
    current = tl.load(currents, mask=here, other=0.0)
    membrane = tl.load(membranes, mask=here, other=0.0)
    output = tl.load(outputs, mask=here, other=0.0)
    decay = tl.load(at(table, 8, STATE) + units, mask=units < SIZE, other=0.0)
    if MASKED:
        mask = tl.load(at(table, 9, STATE) + rows * SIZE + units, mask=here, other=0.0)
    n = longest * 0
    while n < longest:
        alive = (n < lengths) & (units < SIZE)
        given = tl.load(drives + n * SIZE, mask=alive, other=0.0)
        if MASKED:
            given = given * mask
        current = decay * current + given
        if SPIKING:
            membrane = (membrane - output) + current
            output = send(membrane, numbers)
        else:
            membrane, output = current, current
        n += 1
        tl.store(currents + n * SIZE, current, mask=alive)
        tl.store(membranes + n * SIZE, membrane, mask=alive)
        tl.store(outputs + n * SIZE, output, mask=alive)


@triton.jit
def _backward(
    table, numbers, SIZE: tl.constexpr, ROWS: tl.constexpr, UNITS: tl.constexpr, STATE: tl.constexpr,
    SPIKING: tl.constexpr,
):
    """g_I for all frames."""
    rows, units, lengths, frames, longest = tile(table, ROWS, UNITS)
    place = rows * frames * SIZE + units
    gradients, membranes = at(table, 4, STATE) + place, at(table, 5, STATE) + place
    results = at(table, 6, STATE) + place
    decay = tl.load(at(table, 7, STATE) + units, mask=units < SIZE, other=0.0)
    to_current, to_membrane = tl.full((ROWS, UNITS), 0.0, STATE), tl.full((ROWS, UNITS), 0.0, STATE)
    n = longest
    while n > 0:
        n -= 1
        alive = (n < lengths) & (units < SIZE)
        total = tl.load(gradients + n * SIZE, mask=alive, other=0.0)
        if SPIKING:
            to_membrane = receive(total, tl.load(membranes + n * SIZE, mask=alive, other=0.0), to_membrane, numbers)
            total = to_membrane
        to_current = total + decay * to_current
        tl.store(results + n * SIZE, to_current, mask=alive)


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """As the reference; frames beyond ``lengths`` are not computed, their states are zero."""
    kind = state_type(drive)
    drive, states = dense(drive, kind), slots(state, drive.shape[1], kind)
    given = [drive, *states, dense(parameters.decay, kind), dense(parameters.mask, kind)]
    walk(
        _forward, drive.shape[-1], lengths, given, coder_numbers(parameters.coder), MASKED=parameters.mask is not None,
        SPIKING=parameters.coder is not None,
    )
    return Trace(drive, after(states))


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor, Tensor]:
    """Gradients of the drive and of τ, as the reference's."""
    kind = trace.sums.dtype
    current = torch.zeros_like(gradient, dtype=kind, memory_format=torch.contiguous_format)
    given = [dense(each, kind) for each in (gradient, trace.states.membrane, current, parameters.decay)]
    spiking = parameters.coder is not None
    walk(_backward, current.shape[-1], None, given, coder_numbers(parameters.coder), SPIKING=spiking)
    to_decay = (current * previous(trace.states.current, state.current)).sum((0, 1))
    return (current if parameters.mask is None else current * parameters.mask.unsqueeze(1)), to_decay
