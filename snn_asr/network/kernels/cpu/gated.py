"""The gated layers v1 and v2 (cells/gated.py): one compiled call walks all frames of a share of the rows.

Forward and backward compute the equations of ``kernels.reference.gated`` frame by frame: element-wise work in the
first cache, recurrent products over events (products.py). The backward works its factors out again from the sums.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from snn_asr.kernel_cache import njit
from snn_asr.network.cells.gated import NEAREST, Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.cpu.elementwise import (
    DIVIDING,
    FAST,
    add,
    blend,
    copy,
    emit,
    exponential,
    levels,
    masks,
    receive,
    room,
    sigmoid,
    to_shifts,
)
from snn_asr.network.kernels.cpu.frames import Passage, fetch, pass_backward, pass_forward, walk
from snn_asr.network.kernels.cpu.products import no_panels, pack, weight_gradient
from snn_asr.network.kernels.cpu.tiles import power_below


@njit(cache=True, nogil=True, **DIVIDING)
def _integrate(forget, candidate, mask, gates, before, current):
    """I = F I- + (1 - F) φ(C) m. ``gates``: the candidate is clamped; the factor of ``to_shifts``, 0 for smooth gates.
    """
    clamped, nearest = gates
    shifting = nearest > 0
    zero, one = forget.dtype.type(0), forget.dtype.type(1)
    masked = mask.shape[0] > 0
    for k in range(current.shape[0]):
        gate = one / (one + exponential(-forget[k]))
        gate = one - power_below((one - gate) * nearest) if shifting else gate
        value = max(candidate[k], zero)
        value = min(value, one) if clamped else value
        value = value * mask[k] if masked else value
        current[k] = gate * before[k] + (one - gate) * value


@njit(cache=True, nogil=True)
def _forward_rows(drive, lengths, passage, mask, gates, spiking, levels, smoothing, start, sums, trace):
    """``sums`` is where the drive and the recurrent product are added, or the drive itself without one."""
    currents, membranes, feedbacks, outputs = trace
    size, recurrent, smoothed = outputs.shape[2], passage.panels.shape[0] > 0, feedbacks.shape[2] > 0
    for n in range(outputs.shape[1]):
        pass_forward(n, lengths, outputs, start[3], passage)
        for row in range(lengths.shape[0]):
            if n >= lengths[row]:
                continue
            fetch((drive, sums, currents, membranes, feedbacks, outputs), row, n + 1, lengths[row])
            product = passage.products[row]
            total = sums[row, n]
            if smoothed:
                blend(product, feedbacks[row, n - 1] if n else start[2][row], smoothing, feedbacks[row, n])
                add(drive[row, n], feedbacks[row, n], total)
            elif recurrent:
                add(drive[row, n], product, total)
            before = currents[row, n - 1] if n else start[0][row]
            _integrate(total[:size], total[size:], mask[row], gates, before, currents[row, n])
            emit(row, n, spiking, levels, currents, membranes, outputs, start[1], start[3])


@njit(cache=True, nogil=True, fastmath=FAST)
def _to_gates(current, forget, candidate, mask, gates, before, to_forget, to_candidate):
    """g_Df and g_Dc from g_I; then g_I of the frame before, in place. ``forget`` is F before it is rounded."""
    clamped, nearest = gates
    zero, one = forget.dtype.type(0), forget.dtype.type(1)
    masked = mask.shape[0] > 0
    highest = one if clamped else one / zero
    for k in range(current.shape[0]):
        value = min(max(candidate[k], zero), highest)
        value = value * mask[k] if masked else value
        to_forget[k] = current[k] * (before[k] - value) * forget[k] * (one - forget[k])
    if nearest > 0:
        to_shifts(forget, nearest)
    for k in range(current.shape[0]):
        slope = current[k] * (one - forget[k])
        slope = slope * mask[k] if masked else slope
        to_candidate[k] = slope if candidate[k] > zero and candidate[k] < highest else zero
    for k in range(current.shape[0]):
        current[k] *= forget[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _backward_rows(gradient, sums, trace, start, passage, mask, gates, spiking, limit, numbers, drive, feedback):
    """``feedback`` (B, T, 2H) receives g_R where it is not g_D; ``numbers`` are a and 1 - a."""
    currents, membranes = trace
    smoothing, share_of_new = numbers
    rows, frames, size = gradient.shape
    smoothed = feedback.shape[2] > 0
    to_membrane, to_current = np.zeros((rows, size), gradient.dtype), np.zeros((rows, size), gradient.dtype)
    forget, lengths = np.zeros(size, gradient.dtype), np.full(rows, frames)
    fed_through = feedback if smoothed else drive
    for n in range(fed_through.shape[1] - 1, -1, -1):
        for row in range(lengths.shape[0]):
            if n >= lengths[row]:
                continue
            fetch((gradient, sums, membranes, drive, feedback), row, n - 1, frames)
            fetch((currents,), row, n - 2, frames)
            fed_back = passage.products[row]
            total, to_gates = sums[row, n], drive[row, n]
            receive(
                gradient[row, n], fed_back, share_of_new, membranes[row, n], spiking, limit, to_membrane[row],
                to_current[row],
            )
            sigmoid(total[:size], forget)
            before = currents[row, n - 1] if n else start[row]
            _to_gates(to_current[row], forget, total[size:], mask[row], gates, before, to_gates[:size], to_gates[size:])
            if smoothed and n + 1 < frames:
                for k in range(2 * size):
                    feedback[row, n, k] = to_gates[k] + smoothing * feedback[row, n + 1, k]
            elif smoothed:
                copy(to_gates, feedback[row, n])
        pass_backward(n, lengths, fed_through, passage)


def _gates(parameters: Parameters, like: Tensor) -> tuple:
    return parameters.candidate == "clamp", like.numpy().dtype.type(NEAREST if parameters.shifting else 0)


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """As the reference; frames beyond ``lengths`` are not computed, their outputs are zero."""
    drive, coder, recurrent = drive.contiguous(), parameters.coder, parameters.recurrent
    sums = drive if recurrent is None else room(drive, lengths, drive.shape[2])
    states = State(*(room(drive, lengths, each.shape[1]) for each in state))
    panels = no_panels(drive) if recurrent is None else pack(recurrent.detach().T)
    mask, start = masks(parameters.mask, drive), [each.contiguous() for each in state]
    smoothing = drive.numpy().dtype.type(parameters.smoothing)

    def run(rows: slice, passage: Passage) -> None:
        _forward_rows(
            drive[rows].numpy(), lengths[rows].numpy(), passage, mask[rows], _gates(parameters, drive),
            coder is not None, levels(coder, drive), smoothing, tuple(each[rows].numpy() for each in start),
            sums[rows].numpy(), tuple(each[rows].numpy() for each in states),
        )

    walk(run, panels, state.output)
    return Trace(sums, states)


def backward(
    gradient: Tensor, trace: Trace, state: State, parameters: Parameters
) -> tuple[Tensor, Tensor | None]:
    """Gradients of the drive and of U, as the reference's."""
    gradient, states, coder, recurrent = gradient.contiguous(), trace.states, parameters.coder, parameters.recurrent
    drive = torch.empty_like(trace.sums, memory_format=torch.contiguous_format)
    feedback = torch.empty_like(drive) if parameters.smoothing and recurrent is not None else drive[:, :, :0]
    panels = no_panels(gradient) if recurrent is None else pack(recurrent.detach())
    mask, start = masks(parameters.mask, gradient), state.current.contiguous()
    numbers = tuple(gradient.numpy().dtype.type(each) for each in (parameters.smoothing, 1 - parameters.smoothing))
    given = [each.contiguous() for each in (trace.sums, states.current, states.membrane)]

    def run(rows: slice, passage: Passage) -> None:
        sums, *before = (each[rows].numpy() for each in given)
        _backward_rows(
            gradient[rows].numpy(), sums, tuple(before), start[rows].numpy(), passage, mask[rows],
            _gates(parameters, gradient), coder is not None, levels(coder, gradient)[0], numbers,
            drive[rows].numpy(), feedback[rows].numpy(),
        )

    walk(run, panels, state.output)
    if recurrent is None:
        return drive, None
    to_weights = weight_gradient(feedback if parameters.smoothing else drive, states.output, state.output)
    return drive, (1 - parameters.smoothing) * to_weights
