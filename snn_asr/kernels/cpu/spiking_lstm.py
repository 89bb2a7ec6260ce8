"""The spiking LSTM (cells/spiking_lstm.py): compiled loops over frames, products over events.

Backwards most gradients of the gates are zero too, wherever what they gate is 0: events again.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from snn_asr.cells.spiking_lstm import Parameters, State
from snn_asr.kernels import Trace
from snn_asr.kernels.cpu.chunks import from_the_end
from snn_asr.kernels.cpu.elementwise import FAST, add, clear
from snn_asr.kernels.cpu.products import add_events, event_buffers, feed_back, find_events, pack, weight_gradient
from snn_asr.kernels.cpu.threads import share
from snn_asr.kernels.reference import spiking_lstm as reference


@njit(cache=True, nogil=True)
def _fire(total, kept, numbers, before, cell, output):
    threshold, zero, one = numbers
    size = cell.shape[0]
    for k in range(size):
        amount = before[k] if total[k] > threshold else zero
        added = one if (total[size + k] > threshold) & (total[3 * size + k] > threshold) else zero
        amount = amount + added
        cell[k] = amount if kept else (one if amount > threshold else zero)
    for k in range(size):
        output[k] = cell[k] if total[2 * size + k] > threshold else zero


@njit(cache=True, nogil=True)
def _forward_rows(drive, lengths, panels, kept, numbers, start, sums, trace):
    cells, outputs = trace
    rows, size = drive.shape[0], outputs.shape[2]
    index, value, splits = event_buffers(rows, size, drive)
    product = np.zeros((rows, panels.shape[0] * panels.shape[2]), drive.dtype)
    for n in range(drive.shape[1]):
        feed_back(n, lengths, outputs, start[1], index, value, splits, panels, product)
        for row in range(rows):
            if n < lengths[row]:
                add(drive[row, n], product[row], sums[row, n])
                before = cells[row, n - 1] if n else start[0][row]
                _fire(sums[row, n], kept, numbers, before, cells[row, n], outputs[row, n])


@njit(cache=True, nogil=True, fastmath=FAST)
def _to_gates(gradient, fed_back, gates, emitted, memory, cell, drive):
    """g_D from g_h, and in place m g_c, what the frame before gets of g_c."""
    size = cell.shape[0]
    for k in range(size):
        cell[k] += emitted[k] * (gradient[k] + fed_back[k])
    for k in range(size):
        drive[2 * size + k] = (gradient[k] + fed_back[k]) * gates[2 * size + k]
    for gate in (0, 1, 3):
        for k in range(size):
            drive[gate * size + k] = cell[k] * gates[gate * size + k]
    for k in range(size):
        cell[k] *= memory[k]


@njit(cache=True, nogil=True)
def _backward_rows(first, gradient, given, panels, fed_back, carried, drive):
    """The frames of a chunk that begins at ``first``; ``fed_back`` and ``carried`` go on to the chunk before."""
    gates, emitted, memory = given
    rows, frames, size = emitted.shape
    index, value, splits = event_buffers(rows, gates.shape[2], gradient)
    for n in range(frames - 1, -1, -1):
        for row in range(rows):
            written = drive[row, first + n]
            _to_gates(
                gradient[row, first + n], fed_back[row], gates[row, n], emitted[row, n], memory[row, n], carried[row],
                written,
            )
            find_events(written, row, index, value, splits)
            clear(fed_back[row])
        add_events(rows, index, value, splits, panels, fed_back)


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """As the reference; frames beyond ``lengths`` are not computed, their cells and outputs are zero."""
    drive, panels = drive.contiguous(), pack(parameters.recurrent.detach().T)
    sums, start = torch.zeros_like(drive), [each.contiguous() for each in state]
    states = State(*(drive.new_zeros(*drive.shape[:2], each.shape[1]) for each in state))
    numbers = tuple(drive.numpy().dtype.type(each) for each in (parameters.threshold, 0, 1))

    def run(rows: slice) -> None:
        _forward_rows(
            drive[rows].numpy(), lengths[rows].numpy(), panels, parameters.cell == "kept", numbers,
            tuple(each[rows].numpy() for each in start), sums[rows].numpy(),
            tuple(each[rows].numpy() for each in states),
        )

    share(run, len(drive))
    return Trace(sums, states)


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor, Tensor]:
    """Gradients of the drive and of U, as the reference's."""
    gradient, panels = gradient.contiguous(), pack(parameters.recurrent.detach())
    drive = torch.empty_like(trace.sums, memory_format=torch.contiguous_format)
    carried, fed_back = torch.zeros_like(gradient[:, 0]), gradient.new_zeros(len(gradient), panels[:, 0].size)
    for part, chunk, before in from_the_end(trace, state):
        given = [each.contiguous() for each in reference.factors(chunk, before, parameters)]

        def run(rows: slice, first: int = part.start, given: list[Tensor] = given) -> None:
            _backward_rows(
                first, gradient[rows].numpy(), tuple(each[rows].numpy() for each in given), panels,
                fed_back[rows].numpy(), carried[rows].numpy(), drive[rows].numpy(),
            )

        share(run, len(gradient))
    return drive, weight_gradient(drive, trace.states.output, state.output)
