"""The conventional layer (cells/conventional.py): all frames of a row, then those of the next, forward and backward.

The rows do not have to wait for one another, because there are no recurrent weights that could serve them together.
The equations of the backward pass are those of kernels/reference/conventional.py.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from snn_asr.kernel_cache import njit
from snn_asr.network.cells.conventional import Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.cpu.elementwise import FAST, emit, levels, masks, receive, room
from snn_asr.network.kernels.cpu.threads import share


@njit(cache=True, nogil=True, fastmath=FAST)
def _integrate(drive, mask, decay, before, current):
    """I = τ ⊙ I- + D ⊙ m."""
    masked = mask.shape[0] > 0
    for k in range(current.shape[0]):
        current[k] = decay[k] * before[k] + (drive[k] * mask[k] if masked else drive[k])


@njit(cache=True, nogil=True)
def _forward_rows(drive, lengths, decay, mask, spiking, levels, start, trace):
    """Fill the ``trace``, the states after every frame (B, T, H), from the states ``start`` (B, H)."""
    currents, membranes, outputs = trace
    for row in range(drive.shape[0]):
        for n in range(lengths[row]):
            before = currents[row, n - 1] if n else start[0][row]
            _integrate(drive[row, n], mask[row], decay, before, currents[row, n])
            emit(row, n, spiking, levels, currents, membranes, outputs, start[1], start[2])


@njit(cache=True, nogil=True, fastmath=FAST)
def _spread(grad_current, mask, decay, before, grad_decay, grad_drive):
    """Set g_D, and add to g_τ, from g_I; ``grad_current`` then becomes τ ⊙ g_I, which goes to the frame before."""
    masked = mask.shape[0] > 0
    for k in range(grad_current.shape[0]):
        grad_drive[k] = grad_current[k] * mask[k] if masked else grad_current[k]
    for k in range(grad_current.shape[0]):
        grad_decay[k] += grad_current[k] * before[k]
        grad_current[k] *= decay[k]


@njit(cache=True, nogil=True)
def _backward_rows(gradient, trace, start, decay, mask, spiking, numbers, grad_decay, grad_drive):
    """Fill g_D (B, T, H), and g_τ (B, H) with the sum over the frames of each row, from the ``gradient`` of the
    outputs."""
    currents, membranes = trace
    limit, one = numbers
    rows, frames, size = gradient.shape
    nothing = np.zeros(size, gradient.dtype)
    for row in range(rows):
        grad_membrane, grad_current = np.zeros(size, gradient.dtype), np.zeros(size, gradient.dtype)
        for n in range(frames - 1, -1, -1):
            receive(gradient[row, n], nothing, one, membranes[row, n], spiking, limit, grad_membrane, grad_current)
            before = currents[row, n - 1] if n else start[row]
            _spread(grad_current, mask[row], decay, before, grad_decay[row], grad_drive[row, n])


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The Trace of the reference. Frames beyond ``lengths`` are not computed, and their states are zero."""
    drive, mask, decay = drive.contiguous(), masks(parameters.mask, drive), parameters.decay.detach().contiguous()
    states = State(*(room(drive, lengths, drive.shape[2]) for _ in state))
    start = [each.contiguous() for each in state]

    def run(rows: slice) -> None:
        _forward_rows(
            drive[rows].numpy(), lengths[rows].numpy(), decay.numpy(), mask[rows], parameters.coder is not None,
            levels(parameters.coder, drive), tuple(each[rows].numpy() for each in start),
            tuple(each[rows].numpy() for each in states),
        )

    share(run, len(drive))
    return Trace(drive, states)


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor, Tensor]:
    """The gradients of the drive and of τ, as the reference's. The latter is summed over each row first."""
    gradient, decay = gradient.contiguous(), parameters.decay.detach().contiguous()
    grad_drive, grad_decay = torch.empty_like(gradient), torch.zeros_like(gradient[:, 0])
    mask, start = masks(parameters.mask, gradient), state.current.contiguous()
    numbers = (levels(parameters.coder, gradient)[0], gradient.numpy().dtype.type(1))
    states = [each.contiguous() for each in (trace.states.current, trace.states.membrane)]

    def run(rows: slice) -> None:
        _backward_rows(
            gradient[rows].numpy(), tuple(each[rows].numpy() for each in states), start[rows].numpy(), decay.numpy(),
            mask[rows], parameters.coder is not None, numbers, grad_decay[rows].numpy(), grad_drive[rows].numpy(),
        )

    share(run, len(gradient))
    return grad_drive, grad_decay.sum(0)
