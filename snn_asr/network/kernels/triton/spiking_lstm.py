"""The spiking LSTM (cells/spiking_lstm.py) in Triton: one launch for each frame, forward and backward.

The factors of the backward pass, with any surrogate derivatives, come from kernels/reference/spiking_lstm.py.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from snn_asr.network.cells.spiking_lstm import GATES, Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.reference import spiking_lstm as reference
from snn_asr.network.kernels.triton.tiles import at, product, tile
from snn_asr.network.kernels.triton.walking import after, dense, pack, product_type, slots, state_type, walk


@triton.jit
def _gate(total, drives, sums, alive, threshold):
    """1 where the sum of drive and recurrent product exceeds the threshold, and 0 elsewhere. The sum is stored."""
    total += tl.load(drives, mask=alive, other=0.0)
    tl.store(sums, total, mask=alive)
    return tl.where(total - threshold > 0, 1.0, 0.0).to(total.dtype)


@triton.jit(do_not_specialize=["offset"])
def _forward(
    table, clock, numbers, weights, offset, SIZE: tl.constexpr, PITCH: tl.constexpr, ROWS: tl.constexpr,
    UNITS: tl.constexpr, DEPTH: tl.constexpr, STATE: tl.constexpr, PRODUCT: tl.constexpr, THRESHOLDED: tl.constexpr,
):
    rows, units, lengths, frames, longest = tile(table, ROWS, UNITS)
    n = tl.load(clock) + offset
    if n < longest:
        alive = (n < lengths) & (units < SIZE)
        place = (rows * frames + n) * (4 * SIZE) + units
        drives, sums = at(table, 4, STATE) + place, at(table, 5, STATE) + place
        row = (rows * (frames + 1) + n) * SIZE
        cells, sent = at(table, 6, STATE) + row + units, at(table, 7, STATE) + row
        total = product(sent, n < lengths, weights, SIZE, PITCH, ROWS, 4 * UNITS, DEPTH, STATE, PRODUCT)
        even, odd = tl.split(tl.reshape(total, (ROWS, UNITS, 2, 2)))
        forget, emit = tl.split(even)
        admit, candidate = tl.split(odd)
        threshold = tl.load(numbers)
        forget = _gate(forget, drives, sums, alive, threshold)
        admit = _gate(admit, drives + SIZE, sums + SIZE, alive, threshold)
        emit = _gate(emit, drives + 2 * SIZE, sums + 2 * SIZE, alive, threshold)
        candidate = _gate(candidate, drives + 3 * SIZE, sums + 3 * SIZE, alive, threshold)
        cell = forget * tl.load(cells, mask=alive, other=0.0) + admit * candidate
        if THRESHOLDED:
            cell = tl.where(cell - threshold > 0, 1.0, 0.0).to(STATE)
        tl.store(cells + SIZE, cell, mask=alive)
        tl.store(sent + units + SIZE, emit * cell, mask=alive)


@triton.jit(do_not_specialize=["offset"])
def _backward(
    table, clock, weights, offset, SIZE: tl.constexpr, PITCH: tl.constexpr, ROWS: tl.constexpr, UNITS: tl.constexpr,
    DEPTH: tl.constexpr, STATE: tl.constexpr, PRODUCT: tl.constexpr,
):
    rows, units, lengths, frames, longest = tile(table, ROWS, UNITS)
    n = frames - 1 - tl.load(clock) - offset
    if n >= 0:
        alive = (n < lengths) & (units < SIZE)
        row = (rows * frames + n) * SIZE
        gradients = at(table, 4, STATE) + row + units
        emitted, memory = at(table, 5, STATE) + row + units, at(table, 6, STATE) + row + units
        factors, results = at(table, 7, STATE) + 4 * row + units, at(table, 8, STATE) + 4 * row
        cells = at(table, 9, STATE) + rows * SIZE + units
        output = product(
            results + 4 * SIZE, n + 1 < lengths, weights, 4 * SIZE, PITCH, ROWS, UNITS, DEPTH, STATE, PRODUCT
        )
        output += tl.load(gradients, mask=alive, other=0.0)
        cell = tl.load(emitted, mask=alive, other=0.0) * output + tl.load(cells, mask=alive, other=0.0)
        results += units
        tl.store(results, cell * tl.load(factors, mask=alive, other=0.0), mask=alive)
        tl.store(results + SIZE, cell * tl.load(factors + SIZE, mask=alive, other=0.0), mask=alive)
        tl.store(results + 2 * SIZE, output * tl.load(factors + 2 * SIZE, mask=alive, other=0.0), mask=alive)
        tl.store(results + 3 * SIZE, cell * tl.load(factors + 3 * SIZE, mask=alive, other=0.0), mask=alive)
        tl.store(cells, tl.load(memory, mask=alive, other=0.0) * cell, mask=alive)


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The Trace of the reference. Frames beyond ``lengths`` are not computed, and their states are zero."""
    kind = state_type(drive)
    given, states = dense(drive, kind), slots(state, drive.shape[1], kind)
    sums = torch.zeros_like(given)
    packed = pack(parameters.recurrent, GATES, product_type(drive, parameters.recurrent))
    walk(
        _forward, states.output.shape[-1], lengths, [given, sums, *states], packed,
        (parameters.threshold,),
        THRESHOLDED=parameters.cell == "thresholded",
    )
    return Trace(sums, after(states))


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor, Tensor]:
    """The gradients of the drive and of U, as the reference's."""
    return reference.backward(gradient, trace, state, parameters, _recursion)


def _recursion(gradient: Tensor, given: reference.Factors, recurrent: Tensor) -> Tensor:
    """The recursion of kernels/reference/spiking_lstm.py."""
    kind = given.gates.dtype
    drive = torch.zeros_like(given.gates, memory_format=torch.contiguous_format)
    cell = gradient.new_zeros(len(gradient), gradient.shape[-1], dtype=kind)
    tensors = [dense(each, kind) for each in (gradient, given.emitted, given.memory, given.gates)]
    packed = pack(recurrent.T, 1, product_type(given.gates, recurrent))
    walk(_backward, gradient.shape[-1], None, [*tensors, drive, cell], weights=packed)
    return drive
