"""The GRU that sends changes (cells/delta_gru.py): compiled loops over the frames of several rows.

The equations are those of kernels/reference/delta_gru.py, computed frame by frame. The forward pass multiplies only
changes, and adds the products to the memory of each row. Gradients are dense.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from snn_asr.kernel_cache import njit
from snn_asr.network.cells.delta_gru import Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.cpu.elementwise import FAST, add, room, sigmoid, tangent
from snn_asr.network.kernels.cpu.frames import Passage, pass_backward, pass_forward, walk
from snn_asr.network.kernels.cpu.products import pack, weight_gradient


@njit(cache=True, nogil=True, fastmath=FAST)
def _gate(drive, memory, before, work, sums, hidden):
    """Set h, ``hidden``, and the sums (3H,) that the functions of the gates are applied to.

    ``before`` is h-, and ``work`` (2, H) is room for z and c.
    """
    size = hidden.shape[0]
    update, candidate = work[0], work[1]
    for k in range(2 * size):
        sums[k] = drive[k] + memory[k]
    sigmoid(sums[:size], candidate)
    for k in range(size):
        sums[2 * size + k] = drive[2 * size + k] + candidate[k] * memory[2 * size + k]
    sigmoid(sums[size : 2 * size], update)
    tangent(sums[2 * size :], candidate)
    for k in range(size):
        hidden[k] = candidate[k] + update[k] * (before[k] - candidate[k])


@njit(cache=True, nogil=True)
def _hold(hidden, held, threshold, change, output):
    """Set ŷ, ``output``, and the ``change`` Δ from ``held``, the ŷ of the frame before."""
    for k in range(output.shape[0]):
        output[k] = hidden[k] if abs(hidden[k] - held[k]) > threshold else held[k]
    for k in range(output.shape[0]):
        change[k] = output[k] - held[k]


@njit(cache=True, nogil=True)
def _forward_rows(drive, lengths, passage, threshold, start, sums, trace):
    """Fill the sums (B, T, 3H) and the ``trace``, the states after every frame, from the states ``start``."""
    memories, hiddens, changes, outputs = trace
    work = np.empty((2, outputs.shape[2]), drive.dtype)
    for n in range(changes.shape[1]):
        pass_forward(n, lengths, changes, start[2], passage)
        for row in range(lengths.shape[0]):
            if n >= lengths[row]:
                continue
            product = passage.products[row]
            add(memories[row, n - 1] if n else start[0][row], product, memories[row, n])
            hidden = hiddens[row, n - 1] if n else start[1][row]
            held = outputs[row, n - 1] if n else start[3][row]
            _gate(drive[row, n], memories[row, n], hidden, work, sums[row, n], hiddens[row, n])
            _hold(hiddens[row, n], held, threshold, changes[row, n], outputs[row, n])


@njit(cache=True, nogil=True, fastmath=FAST)
def _spread(grad_hidden, sums, memory, before, work, grad_drive, grad_memory):
    """Set g_D and g_M (3H,) from g_h; ``grad_hidden`` then becomes z ⊙ g_h, which goes to the frame before.

    ``before`` is h-, and ``work`` (3, H) is room for r, z and c.
    """
    size = grad_hidden.shape[0]
    one = grad_hidden.dtype.type(1)
    reset, update, candidate = work[0], work[1], work[2]
    sigmoid(sums[:size], reset)
    sigmoid(sums[size : 2 * size], update)
    tangent(sums[2 * size :], candidate)
    for k in range(size):
        grad_drive[size + k] = grad_hidden[k] * (before[k] - candidate[k]) * update[k] * (one - update[k])
    for k in range(size):
        grad_drive[2 * size + k] = grad_hidden[k] * (one - update[k]) * (one - candidate[k] * candidate[k])
    for k in range(size):
        grad_drive[k] = grad_drive[2 * size + k] * memory[2 * size + k] * reset[k] * (one - reset[k])
    for k in range(2 * size):
        grad_memory[k] = grad_drive[k]
    for k in range(size):
        grad_memory[2 * size + k] = grad_drive[2 * size + k] * reset[k]
    for k in range(size):
        grad_hidden[k] *= update[k]


@njit(cache=True, nogil=True)
def _backward_rows(gradient, sums, trace, start, passage, grad_drive, grad_memory):
    """Fill g_D and g_M (B, T, 3H each) from the ``gradient`` (B, T, H) of the outputs."""
    memories, hiddens = trace
    rows, frames, size = gradient.shape
    grad_hidden, work = np.zeros((rows, size), gradient.dtype), np.empty((3, size), gradient.dtype)
    lengths = np.full(rows, frames)
    for n in range(grad_memory.shape[1] - 1, -1, -1):
        for row in range(lengths.shape[0]):
            if n >= lengths[row]:
                continue
            fed_back = passage.products[row]
            for k in range(size):
                grad_hidden[row, k] += gradient[row, n, k] + fed_back[k]
            before, own = hiddens[row, n - 1] if n else start[row], grad_drive[row, n]
            _spread(grad_hidden[row], sums[row, n], memories[row, n], before, work, own, grad_memory[row, n])
        pass_backward(n, lengths, grad_memory, passage)


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The Trace of the reference. Frames beyond ``lengths`` are not computed, and their states are zero."""
    drive, panels = drive.contiguous(), pack(parameters.recurrent.detach().T)
    sums, states = room(drive, lengths, drive.shape[2]), State(*(room(drive, lengths, each.shape[1]) for each in state))
    start, threshold = [each.contiguous() for each in state], drive.numpy().dtype.type(parameters.threshold)

    def run(rows: slice, passage: Passage) -> None:
        _forward_rows(
            drive[rows].numpy(), lengths[rows].numpy(), passage, threshold, tuple(each[rows].numpy() for each in start),
            sums[rows].numpy(), tuple(each[rows].numpy() for each in states),
        )

    walk(run, panels, state.output)
    return Trace(sums, states)


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor, Tensor]:
    """The gradients of the drive and of U, as the reference's."""
    gradient, panels, start = gradient.contiguous(), pack(parameters.recurrent.detach()), state.hidden.contiguous()
    grad_drive, grad_memory = torch.empty_like(trace.sums), torch.empty_like(trace.sums)
    sums, *states = (each.contiguous() for each in (trace.sums, trace.states.memory, trace.states.hidden))

    def run(rows: slice, passage: Passage) -> None:
        _backward_rows(
            gradient[rows].numpy(), sums[rows].numpy(), tuple(each[rows].numpy() for each in states),
            start[rows].numpy(), passage, grad_drive[rows].numpy(), grad_memory[rows].numpy(),
        )

    walk(run, panels, state.output)
    first = state.output - state.change  # what the memories had received before this call
    return grad_drive, weight_gradient(grad_memory, trace.states.output - first.unsqueeze(1), state.change)
