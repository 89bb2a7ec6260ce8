"""The spiking LSTM (cells/spiking_lstm.py) as numba loops over events: gates select, no unit multiplies."""

from __future__ import annotations

from functools import partial

import torch
from numba import njit
from torch import Tensor

from snn_asr.cells.spiking_lstm import Parameters, State
from snn_asr.kernels import Trace
from snn_asr.kernels.cpu import add_events, share, transposed
from snn_asr.kernels.reference import spiking_lstm as reference
from snn_asr.kernels.reference.spiking_lstm import Factors


@njit(cache=True, nogil=True)
def _forward_rows(sums, lengths, recurrent, kept, numbers, start, trace):
    """``sums`` holds the drive and receives the recurrent product; all ``numbers`` have its precision."""
    threshold, zero, one = numbers
    cells, outputs = trace
    size = outputs.shape[2]
    for row in range(sums.shape[0]):
        cell, output = start[0][row].copy(), start[1][row].copy()
        for n in range(lengths[row]):
            total = sums[row, n]
            add_events(output, recurrent, total)
            for k in range(size):
                amount = cell[k] if total[k] > threshold else zero
                if total[size + k] > threshold and total[3 * size + k] > threshold:
                    amount += one
                if not kept:
                    amount = one if amount > threshold else zero
                cell[k] = amount
                output[k] = amount if total[2 * size + k] > threshold else zero
            cells[row, n], outputs[row, n] = cell, output


@njit(cache=True, nogil=True)
def _backward_frame(n, gradient, fed_back, given, carried, drive):
    """Frame n of the recursion in ``kernels.reference.spiking_lstm``, all element-wise work in one pass.

    ``fed_back`` and ``carried`` (B, H) came from the frame behind it; ``carried`` and ``drive`` are written.
    """
    gates, emitted, memory = given
    rows, size = carried.shape
    for row in range(rows):
        for k in range(size):
            output = gradient[row, n, k] + fed_back[row, k]
            cell = emitted[row, n, k] * output + carried[row, k]
            drive[row, n, k] = cell * gates[row, n, k]
            drive[row, n, size + k] = cell * gates[row, n, size + k]
            drive[row, n, 2 * size + k] = output * gates[row, n, 2 * size + k]
            drive[row, n, 3 * size + k] = cell * gates[row, n, 3 * size + k]
            carried[row, k] = memory[row, n, k] * cell


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """As the reference; frames beyond ``lengths`` are not computed, their cells and outputs are zero."""
    batch, frames = drive.shape[:2]
    sums = drive.clone(memory_format=torch.contiguous_format)
    states = State(*(drive.new_zeros(batch, frames, each.shape[1]) for each in state))
    recurrent, start = transposed(parameters.recurrent, drive), [each.contiguous() for each in state]
    numbers = tuple(sums.numpy().dtype.type(each) for each in (parameters.threshold, 0, 1))

    def run(rows: slice) -> None:
        _forward_rows(
            sums[rows].numpy(), lengths[rows].numpy(), recurrent.numpy(), parameters.cell == "kept", numbers,
            tuple(each[rows].numpy() for each in start), tuple(each[rows].numpy() for each in states),
        )

    share(run, batch)
    return Trace(sums, states)


def recursion(gradient: Tensor, given: Factors, recurrent: Tensor) -> Tensor:
    """As the reference's: one compiled pass and one product a frame."""
    drive = torch.empty_like(given.gates, memory_format=torch.contiguous_format)
    carried, fed_back = (torch.zeros_like(gradient[:, 0]) for _ in range(2))
    gradient, arrays = gradient.contiguous().numpy(), tuple(each.contiguous().numpy() for each in given)
    written = fed_back.numpy(), arrays, carried.numpy(), drive.numpy()
    for n in reversed(range(gradient.shape[1])):
        _backward_frame(n, gradient, *written)
        torch.mm(drive[:, n], recurrent, out=fed_back)
    return drive


backward = partial(reference.backward, recursion=recursion)
