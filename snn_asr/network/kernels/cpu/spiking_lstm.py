"""The spiking LSTM (cells/spiking_lstm.py): compiled loops over frames, products over events.

Backwards most gradients of the gates are zero too, wherever what they gate is 0: events again. The factors of the
backward (``kernels.reference.spiking_lstm``) are worked out again from the sums, a frame of a row at a time.
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
    """``sums`` may be the drive itself."""
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
def _factors(total, before, cell, variant, numbers, slopes, work, given):
    """The factors of g_D, e and m into ``given``, as the reference's."""
    kept, emits_slope, keeps_slope = variant
    threshold, zero, one = numbers
    gates, emitted, memory = given
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
def _to_gates(gradient, fed_back, given, cell, drive):
    """g_D from g_h, and in place m g_c, what the frame before gets of g_c."""
    gates, emitted, memory = given
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
def _backward_rows(gradient, lengths, trace, start, variant, numbers, slopes, passage, drive):
    """``drive`` may be where the sums are; its frames beyond the lengths are left as they are."""
    sums, cells = trace
    rows, frames, size = cells.shape
    carried, work = np.zeros((rows, size), gradient.dtype), np.zeros(size, gradient.dtype)
    given = np.zeros(4 * size, gradient.dtype), np.zeros(size, gradient.dtype), np.zeros(size, gradient.dtype)
    for n in range(drive.shape[1] - 1, -1, -1):
        for row in range(lengths.shape[0]):
            if n >= lengths[row]:
                continue
            fetch((gradient, sums, drive), row, n - 1, frames)
            fetch((cells,), row, n - 2, frames)
            fed_back = passage.products[row]
            before = cells[row, n - 1] if n else start[row]
            _factors(sums[row, n], before, cells[row, n], variant, numbers, slopes, work, given)
            _to_gates(gradient[row, n], fed_back, given, carried[row], drive[row, n])
        pass_backward(n, lengths, drive, passage)


def _numbers(parameters: Parameters, like: Tensor) -> tuple:
    return tuple(like.numpy().dtype.type(each) for each in (parameters.threshold, 0, 1))


def _walk(drive: Tensor, sums: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> State:
    """The states after every frame, zero beyond the lengths, where the sums are left as they are. The sums may be the
    drive itself."""
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
    gradient: Tensor, lengths: Tensor, trace: Trace, state: State, parameters: Parameters, drive: Tensor
) -> None:
    """g_D into ``drive``, which is left as it is beyond the lengths. It may be the trace's sums, zero there, which are
    then lost."""
    gradient, panels, start = gradient.contiguous(), pack(parameters.recurrent.detach()), state.cell.contiguous()
    given, numbers = (trace.sums.contiguous(), trace.states.cell.contiguous()), _numbers(parameters, gradient)
    derivatives = (parameters.gate_slope, parameters.candidate_slope, parameters.cell_slope)
    slopes = tuple(slope(each, gradient.numpy().dtype) for each in derivatives)
    variant = parameters.cell == "kept", parameters.cell_gradient == "speech", parameters.cell_gradient == "surrogate"

    def run(rows: slice, passage: Passage) -> None:
        _backward_rows(
            gradient[rows].numpy(), lengths[rows].numpy(), tuple(each[rows].numpy() for each in given),
            start[rows].numpy(), variant, numbers, slopes, passage, drive[rows].numpy(),
        )

    walk(run, panels, state.output)


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """As the reference; frames beyond ``lengths`` are not computed, their sums, cells and outputs are zero."""
    drive = drive.contiguous()
    sums = room(drive, lengths, drive.shape[2])
    return Trace(sums, _walk(drive, sums, lengths, state, parameters))


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor, Tensor]:
    """Gradients of the drive and of U, as the reference's."""
    drive = torch.empty_like(trace.sums, memory_format=torch.contiguous_format)
    lengths = torch.full((len(gradient),), gradient.shape[1])
    _walk_back(gradient, lengths, trace, state, parameters, drive)
    return drive, weight_gradient(drive, trace.states.output, state.output)


class _Driven(torch.autograd.Function):
    """W x + b and the sequence it drives, as one: the drive becomes the sums, and they g_D, in one place. ``run`` is
    [lengths, state, parameters]; the forward appends the states."""

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
        (x, weight, recurrent, drive, *states), (lengths, state, parameters) = ctx.saved_tensors, ctx.run
        trace, parameters = Trace(drive, State(*states)), parameters._replace(recurrent=recurrent)
        _walk_back(gradient, lengths, trace, state, parameters, drive)
        torch.autograd.graph.increment_version(drive)  # the sums are gone: autograd refuses a second backward
        to_x = linear(drive.flatten(0, 1), weight.T).view_as(x) if ctx.needs_input_grad[1] else None
        to_weight, to_bias = dense.weight_gradient(drive, x, lengths), drive.sum((0, 1))
        return None, to_x, to_weight, to_bias, weight_gradient(drive, trace.states.output, state.output)


def driven_sequence(
    x: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor, state: State, parameters: Parameters
) -> tuple[Tensor, State]:
    """``run_sequence`` behind the drive x W' + b (x (B, T, D), W (4H, D), b (4H,)), differentiable in all three and U.

    Returns outputs and the state after each row's last valid frame. A fraction of the memory: no drive is kept.
    """
    state = State(*(each.detach() for each in state))
    run: list[Any] = [lengths, state, parameters]
    outputs = _Driven.apply(run, x, weight, bias, parameters.recurrent)
    states = run.pop()
    return outputs, last_states(State(*(each.detach() for each in states)), Lengths.of(lengths, x), state)
