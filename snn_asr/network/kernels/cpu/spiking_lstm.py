"""The spiking LSTM (cells/spiking_lstm.py): compiled loops over the frames of several rows, forward and backward.

The equations are those of kernels/reference/spiking_lstm.py, computed frame by frame. Recurrent products multiply only
events. This also holds for the backward pass, because the gradient of a gate is zero wherever the value that it gates
is zero, which is most of the time. The factors of the backward pass are computed from the sums again, for one frame of
a row at a time, instead of being kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from snn_asr.kernel_cache import njit
from snn_asr.network.cells.spiking_lstm import Parameters, State
from snn_asr.network.kernels import Trace, dense, last_states
from snn_asr.network.kernels.cpu.elementwise import FAST, add, room
from snn_asr.network.kernels.cpu.frames import Passage, fetch, pass_backward, pass_forward, walk
from snn_asr.network.kernels.cpu.products import linear, pack, weight_gradient
from snn_asr.network.kernels.cpu.slopes import differentiate, slope
from snn_asr.network.lengths import Lengths


@njit(cache=True, nogil=True)
def _fire(total, kept, numbers, before, cell, output):
    """Set c and h, ``cell`` and ``output``, from the sums ``total`` (4H,) and c-, ``before``.

    ``kept`` says that the cell is not thresholded; ``numbers`` are the threshold, 0 and 1.
    """
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
def _forward_rows(drive, lengths, passage, kept, numbers, start, sums, trace):
    """Fill the ``trace``, the states after every frame, from the states ``start`` before the first.

    ``sums`` (B, T, 4H) receives the drive plus the recurrent product. It may be the drive itself.
    """
    cells, outputs = trace
    for n in range(outputs.shape[1]):
        pass_forward(n, lengths, outputs, start[1], passage)
        for row in range(lengths.shape[0]):
            if n >= lengths[row]:
                continue
            fetch((drive, sums, cells, outputs), row, n + 1, lengths[row])
            product = passage.products[row]
            add(drive[row, n], product, sums[row, n])
            before = cells[row, n - 1] if n else start[0][row]
            _fire(sums[row, n], kept, numbers, before, cells[row, n], outputs[row, n])


@njit(cache=True, nogil=True, fastmath=FAST)
def _compute_factors(total, before, cell, variant, numbers, slopes, work, factors):
    """Set the ``factors`` of the reference at one frame: those of g_D (4H,), e and m.

    ``before`` is c-, and ``work`` (H,) is room for G. ``variant`` says whether the cell is kept, and whether e and m
    have the factor G.
    """
    kept, emits_slope, keeps_slope = variant
    threshold, zero, one = numbers
    gates, emitted, memory = factors
    size = cell.shape[0]
    differentiate(slopes[0], total[: 3 * size], threshold, gates[: 3 * size])
    differentiate(slopes[1], total[3 * size :], threshold, gates[3 * size :])
    if kept:
        for k in range(size):
            work[k] = one
    else:
        for k in range(size):
            added = one if (total[size + k] > threshold) & (total[3 * size + k] > threshold) else zero
            memory[k] = (before[k] if total[k] > threshold else zero) + added
        differentiate(slopes[2], memory, threshold, work)
    for k in range(size):
        emitted[k] = (work[k] if emits_slope else one) if total[2 * size + k] > threshold else zero
    for k in range(size):
        memory[k] = (work[k] if keeps_slope else one) if total[k] > threshold else zero
    for k in range(size):
        gates[k] *= work[k] * before[k]
    for k in range(size):
        gates[size + k] *= work[k] if total[3 * size + k] > threshold else zero
    for k in range(size):
        gates[2 * size + k] *= cell[k]
    for k in range(size):
        gates[3 * size + k] *= work[k] if total[size + k] > threshold else zero


@njit(cache=True, nogil=True, fastmath=FAST)
def _spread(gradient, fed_back, factors, grad_cell, grad_drive):
    """Set g_D (4H,), and move ``grad_cell`` from m+ ⊙ g_c+ to m ⊙ g_c, which goes to the frame before."""
    gates, emitted, memory = factors
    size = grad_cell.shape[0]
    for k in range(size):
        grad_cell[k] += emitted[k] * (gradient[k] + fed_back[k])
    for k in range(size):
        grad_drive[2 * size + k] = (gradient[k] + fed_back[k]) * gates[2 * size + k]
    for gate in (0, 1, 3):
        for k in range(size):
            grad_drive[gate * size + k] = grad_cell[k] * gates[gate * size + k]
    for k in range(size):
        grad_cell[k] *= memory[k]


@njit(cache=True, nogil=True)
def _backward_rows(gradient, lengths, trace, start, variant, numbers, slopes, passage, grad_drive):
    """Fill g_D (B, T, 4H) within the lengths, from the ``gradient`` (B, T, H) of the outputs.

    ``grad_drive`` may be the array of the sums. Its frames beyond the lengths stay as they are.
    """
    sums, cells = trace
    rows, frames, size = cells.shape
    grad_cell, work = np.zeros((rows, size), gradient.dtype), np.zeros(size, gradient.dtype)
    factors = np.zeros(4 * size, gradient.dtype), np.zeros(size, gradient.dtype), np.zeros(size, gradient.dtype)
    for n in range(grad_drive.shape[1] - 1, -1, -1):
        for row in range(lengths.shape[0]):
            if n >= lengths[row]:
                continue
            fetch((gradient, sums, grad_drive), row, n - 1, frames)
            fetch((cells,), row, n - 2, frames)
            fed_back = passage.products[row]
            before = cells[row, n - 1] if n else start[row]
            _compute_factors(sums[row, n], before, cells[row, n], variant, numbers, slopes, work, factors)
            _spread(gradient[row, n], fed_back, factors, grad_cell[row], grad_drive[row, n])
        pass_backward(n, lengths, grad_drive, passage)


def _numbers(parameters: Parameters, like: Tensor) -> tuple:
    """The threshold, 0 and 1 in the type of ``like``."""
    return tuple(like.numpy().dtype.type(each) for each in (parameters.threshold, 0, 1))


def _walk(drive: Tensor, sums: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> State:
    """The forward pass: fills the sums (B, T, 4H), and returns the states after every frame.

    Beyond the lengths the states are zero, and the sums stay as they are. The sums may be the drive itself.
    """
    panels, start = pack(parameters.recurrent.detach().T), [each.contiguous() for each in state]
    states = State(*(room(drive, lengths, each.shape[1]) for each in state))
    numbers = _numbers(parameters, drive)

    def run(rows: slice, passage: Passage) -> None:
        _forward_rows(
            drive[rows].numpy(), lengths[rows].numpy(), passage, parameters.cell == "kept", numbers,
            tuple(each[rows].numpy() for each in start), sums[rows].numpy(),
            tuple(each[rows].numpy() for each in states),
        )

    walk(run, panels, state.output)
    return states


def _walk_back(
    gradient: Tensor, lengths: Tensor, trace: Trace, state: State, parameters: Parameters, grad_drive: Tensor
) -> None:
    """The backward pass: fills g_D (B, T, 4H), ``grad_drive``, which stays as it is beyond the lengths.

    ``grad_drive`` may be the sums of the trace, if these are zero beyond the lengths. The sums are then lost.
    """
    gradient, panels, start = gradient.contiguous(), pack(parameters.recurrent.detach()), state.cell.contiguous()
    kept, numbers = (trace.sums.contiguous(), trace.states.cell.contiguous()), _numbers(parameters, gradient)
    derivatives = (parameters.gate_slope, parameters.candidate_slope, parameters.cell_slope)
    slopes = tuple(slope(each, gradient.numpy().dtype) for each in derivatives)
    variant = parameters.cell == "kept", parameters.cell_gradient == "speech", parameters.cell_gradient == "surrogate"

    def run(rows: slice, passage: Passage) -> None:
        _backward_rows(
            gradient[rows].numpy(), lengths[rows].numpy(), tuple(each[rows].numpy() for each in kept),
            start[rows].numpy(), variant, numbers, slopes, passage, grad_drive[rows].numpy(),
        )

    walk(run, panels, state.output)


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The Trace of the reference. Frames beyond ``lengths`` are not computed, and their sums and states are zero."""
    drive = drive.contiguous()
    sums = room(drive, lengths, drive.shape[2])
    return Trace(sums, _walk(drive, sums, lengths, state, parameters))


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor, Tensor]:
    """The gradients of the drive and of U, as the reference's."""
    grad_drive = torch.empty_like(trace.sums, memory_format=torch.contiguous_format)
    lengths = torch.full((len(gradient),), gradient.shape[1])
    _walk_back(gradient, lengths, trace, state, parameters, grad_drive)
    return grad_drive, weight_gradient(grad_drive, trace.states.output, state.output)


class _Driven(torch.autograd.Function):
    """The drive W x + b and the sequence of the cell as one operation of autograd.

    One array (B, T, 4H) holds the drive, then the sums, and in the backward pass g_D. ``run`` is the list [lengths,
    state, parameters], to which the forward pass appends the states.
    """

    @staticmethod
    def forward(ctx: Any, run: list, x: Tensor, weight: Tensor, bias: Tensor, recurrent: Tensor) -> Tensor:
        lengths, state, parameters = run
        x, weight = x.detach().contiguous(), weight.detach()
        sums = dense.affine(x, lengths, weight, bias.detach())
        states = _walk(sums, sums, lengths, state, parameters._replace(recurrent=recurrent))
        run.append(states)
        ctx.save_for_backward(x, weight, recurrent, sums, *states)
        ctx.run = lengths, state, parameters._replace(recurrent=None)
        return states.output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):
        (x, weight, recurrent, sums, *states), (lengths, state, parameters) = ctx.saved_tensors, ctx.run
        trace, parameters = Trace(sums, State(*states)), parameters._replace(recurrent=recurrent)
        _walk_back(gradient, lengths, trace, state, parameters, sums)
        grad_drive = sums  # g_D has taken the place of the sums, so that autograd has to refuse a second backward pass
        torch.autograd.graph.increment_version(grad_drive)
        grad_x = linear(grad_drive.flatten(0, 1), weight.T).view_as(x) if ctx.needs_input_grad[1] else None
        grad_weight, grad_bias = dense.weight_gradient(grad_drive, x, lengths), grad_drive.sum((0, 1))
        return None, grad_x, grad_weight, grad_bias, weight_gradient(grad_drive, trace.states.output, state.output)


def driven_sequence(
    x: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor, state: State, parameters: Parameters
) -> tuple[Tensor, State]:
    """``run_sequence`` for the drive x Wᵀ + b, which it computes itself and does not keep: that saves memory.

    ``x`` is (B, T, D), ``weight`` (4H, D) and ``bias`` (4H,). Returns the outputs (B, T, H) and the state after each
    row's last valid frame. The outputs are differentiable in x, the weight, the bias and the recurrent weights.
    """
    state = State(*(each.detach() for each in state))
    run: list[Any] = [lengths, state, parameters]
    outputs = _Driven.apply(run, x, weight, bias, parameters.recurrent)
    states = run.pop()
    return outputs, last_states(State(*(each.detach() for each in states)), Lengths.of(lengths, x), state)
