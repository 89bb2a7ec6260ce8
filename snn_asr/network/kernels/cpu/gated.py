"""The gated layers v1 and v2 (cells/gated.py): compiled loops over the frames of several rows, forward and backward.

The equations are those of kernels/reference/gated.py, computed frame by frame. The recurrent products multiply only
events (products.py), and everything else is element-wise. The backward pass computes its factors from the sums again,
instead of keeping them.
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
    """I = F ⊙ I- + (1 - F) ⊙ φ(C) ⊙ m, from the sums ``forget`` and ``candidate``.

    ``gates`` are those of ``_gates``.
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
    """Fill the ``trace``, the states after every frame, from the states ``start`` before the first.

    ``sums`` (B, T, 2H) receives the drive plus the recurrent product; without recurrent weights it is the drive itself.
    """
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
def _spread(grad_current, forget, candidate, mask, gates, before, grad_forget, grad_candidate):
    """Set g_Df and g_Dc from g_I; ``grad_current`` then becomes F ⊙ g_I, which goes to the frame before.

    ``forget`` is F before it is rounded, and ``before`` is I-.
    """
    clamped, nearest = gates
    zero, one = forget.dtype.type(0), forget.dtype.type(1)
    masked = mask.shape[0] > 0
    highest = one if clamped else one / zero
    for k in range(grad_current.shape[0]):
        value = min(max(candidate[k], zero), highest)
        value = value * mask[k] if masked else value
        grad_forget[k] = grad_current[k] * (before[k] - value) * forget[k] * (one - forget[k])
    if nearest > 0:
        to_shifts(forget, nearest)
    for k in range(grad_current.shape[0]):
        slope = grad_current[k] * (one - forget[k])
        slope = slope * mask[k] if masked else slope
        grad_candidate[k] = slope if candidate[k] > zero and candidate[k] < highest else zero
    for k in range(grad_current.shape[0]):
        grad_current[k] *= forget[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _backward_rows(
    gradient, sums, trace, start, passage, mask, gates, spiking, limit, numbers, grad_drive, grad_feedback
):
    """Fill g_D (B, T, 2H) from the ``gradient`` of the outputs, and g_R (B, T, 2H) if the product is smoothed.

    Without smoothing g_R is g_D, and ``grad_feedback`` is (B, T, 0). ``numbers`` are the smoothing a and 1 - a.
    """
    currents, membranes = trace
    smoothing, share_of_new = numbers
    rows, frames, size = gradient.shape
    smoothed = grad_feedback.shape[2] > 0
    grad_membrane, grad_current = np.zeros((rows, size), gradient.dtype), np.zeros((rows, size), gradient.dtype)
    forget, lengths = np.zeros(size, gradient.dtype), np.full(rows, frames)
    grad_product = grad_feedback if smoothed else grad_drive
    for n in range(grad_product.shape[1] - 1, -1, -1):
        for row in range(lengths.shape[0]):
            if n >= lengths[row]:
                continue
            fetch((gradient, sums, membranes, grad_drive, grad_feedback), row, n - 1, frames)
            fetch((currents,), row, n - 2, frames)
            fed_back = passage.products[row]
            total, own = sums[row, n], grad_drive[row, n]
            receive(
                gradient[row, n], fed_back, share_of_new, membranes[row, n], spiking, limit, grad_membrane[row],
                grad_current[row],
            )
            sigmoid(total[:size], forget)
            before = currents[row, n - 1] if n else start[row]
            _spread(grad_current[row], forget, total[size:], mask[row], gates, before, own[:size], own[size:])
            if smoothed and n + 1 < frames:
                for k in range(2 * size):
                    grad_feedback[row, n, k] = own[k] + smoothing * grad_feedback[row, n + 1, k]
            elif smoothed:
                copy(own, grad_feedback[row, n])
        pass_backward(n, lengths, grad_product, passage)


def _gates(parameters: Parameters, like: Tensor) -> tuple:
    """Whether φ clamps the candidate, and the factor of ``to_shifts``, which is 0 if 1 - F is not rounded."""
    return parameters.candidate == "clamp", like.numpy().dtype.type(NEAREST if parameters.shifting else 0)


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The Trace of the reference. Frames beyond ``lengths`` are not computed, and their states are zero."""
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
    """The gradients of the drive and of U, as the reference's."""
    gradient, states, coder, recurrent = gradient.contiguous(), trace.states, parameters.coder, parameters.recurrent
    grad_drive = torch.empty_like(trace.sums, memory_format=torch.contiguous_format)
    smoothed = parameters.smoothing and recurrent is not None
    grad_feedback = torch.empty_like(grad_drive) if smoothed else grad_drive[:, :, :0]
    panels = no_panels(gradient) if recurrent is None else pack(recurrent.detach())
    mask, start = masks(parameters.mask, gradient), state.current.contiguous()
    numbers = tuple(gradient.numpy().dtype.type(each) for each in (parameters.smoothing, 1 - parameters.smoothing))
    kept = [each.contiguous() for each in (trace.sums, states.current, states.membrane)]

    def run(rows: slice, passage: Passage) -> None:
        sums, currents, membranes = (each[rows].numpy() for each in kept)
        _backward_rows(
            gradient[rows].numpy(), sums, (currents, membranes), start[rows].numpy(), passage, mask[rows],
            _gates(parameters, gradient), coder is not None, levels(coder, gradient)[0], numbers,
            grad_drive[rows].numpy(), grad_feedback[rows].numpy(),
        )

    walk(run, panels, state.output)
    if recurrent is None:
        return grad_drive, None
    grad_product = grad_feedback if parameters.smoothing else grad_drive
    return grad_drive, (1 - parameters.smoothing) * weight_gradient(grad_product, states.output, state.output)
