"""The conventional layer (cells/conventional.py) as fused scans over all frames of a row, forward and backward."""

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
    masked = mask.shape[0] > 0
    for k in range(current.shape[0]):
        current[k] = decay[k] * before[k] + (drive[k] * mask[k] if masked else drive[k])


@njit(cache=True, nogil=True)
def _forward_rows(drive, lengths, decay, mask, spiking, levels, start, trace):
    currents, membranes, outputs = trace
    for row in range(drive.shape[0]):
        for n in range(lengths[row]):
            before = currents[row, n - 1] if n else start[0][row]
            _integrate(drive[row, n], mask[row], decay, before, currents[row, n])
            emit(row, n, spiking, levels, currents, membranes, outputs, start[1], start[2])


@njit(cache=True, nogil=True, fastmath=FAST)
def _to_drive(current, mask, decay, before, to_decay, drive):
    """g_D from g_I, what it adds to the gradient of τ, and g_I of the frame before, in place."""
    masked = mask.shape[0] > 0
    for k in range(current.shape[0]):
        drive[k] = current[k] * mask[k] if masked else current[k]
    for k in range(current.shape[0]):
        to_decay[k] += current[k] * before[k]
        current[k] *= decay[k]


@njit(cache=True, nogil=True)
def _backward_rows(gradient, trace, start, decay, mask, spiking, numbers, to_decay, drive):
    currents, membranes = trace
    limit, one = numbers
    rows, frames, size = gradient.shape
    nothing = np.zeros(size, gradient.dtype)
    for row in range(rows):
        to_membrane, to_current = np.zeros(size, gradient.dtype), np.zeros(size, gradient.dtype)
        for n in range(frames - 1, -1, -1):
            receive(gradient[row, n], nothing, one, membranes[row, n], spiking, limit, to_membrane, to_current)
            before = currents[row, n - 1] if n else start[row]
            _to_drive(to_current, mask[row], decay, before, to_decay[row], drive[row, n])


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """As the reference; frames beyond ``lengths`` are not computed, their outputs are zero."""
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
    """Gradients of the drive and of τ, as the reference's; the latter summed within a row first."""
    gradient, decay = gradient.contiguous(), parameters.decay.detach().contiguous()
    drive, to_decay = torch.empty_like(gradient), torch.zeros_like(gradient[:, 0])
    mask, start = masks(parameters.mask, gradient), state.current.contiguous()
    numbers = (levels(parameters.coder, gradient)[0], gradient.numpy().dtype.type(1))
    given = [each.contiguous() for each in (trace.states.current, trace.states.membrane)]

    def run(rows: slice) -> None:
        _backward_rows(
            gradient[rows].numpy(), tuple(each[rows].numpy() for each in given), start[rows].numpy(), decay.numpy(),
            mask[rows], parameters.coder is not None, numbers, to_decay[rows].numpy(), drive[rows].numpy(),
        )

    share(run, len(gradient))
    return drive, to_decay.sum(0)
