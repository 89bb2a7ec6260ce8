"""The leaky integrate-and-fire layers (cells/leaky_integrate_and_fire.py): compiled loops over the frames of several
rows, forward and backward.

The equations are those of kernels/reference/leaky_integrate_and_fire.py, computed frame by frame. Recurrent products
multiply only events.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from snn_asr.kernel_cache import njit
from snn_asr.network.cells.leaky_integrate_and_fire import THRESHOLD, Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.cpu.elementwise import FAST, add, room
from snn_asr.network.kernels.cpu.frames import Passage, fetch, pass_backward, pass_forward, walk
from snn_asr.network.kernels.cpu.products import no_panels, pack, weight_gradient
from snn_asr.network.kernels.cpu.slopes import differentiate, slope


@njit(cache=True, nogil=True)
def _adapt(neurons, potential, output, before, adaptation):
    """w = β w- + a u- + b s-, where ``before`` is w-. ``neurons`` are those of ``_neurons``."""
    _, _, adaptation_decay, coupling, jump = neurons
    for k in range(adaptation.shape[0]):
        held = adaptation_decay[k] * before[k] + coupling[k] * potential[k]
        adaptation[k] = held + jump[k] * output[k]


@njit(cache=True, nogil=True)
def _fire(neurons, numbers, total, adaptation, before, sent, potential, output):
    """Set u and s, ``potential`` and ``output``, from u-, ``before``, and s-, ``sent``.

    ``total`` is the drive plus the recurrent product; ``numbers`` are the threshold, 1 and 0.
    """
    decay, kept = neurons[0], neurons[1]
    threshold, one, zero = numbers
    adaptive = adaptation.shape[0] > 0
    for k in range(potential.shape[0]):
        inner = total[k] - adaptation[k] if adaptive else total[k]
        potential[k] = decay[k] * (before[k] - sent[k]) + kept[k] * inner
    for k in range(potential.shape[0]):
        output[k] = one if potential[k] > threshold else zero


@njit(cache=True, nogil=True)
def _forward_rows(drive, lengths, passage, neurons, numbers, start, sums, trace):
    """Fill the ``trace``, the states after every frame, from the states ``start`` before the first.

    ``sums`` (B, T, H) receives the drive plus the recurrent product; without recurrent weights it is the drive itself.
    """
    potentials, adaptations, outputs = trace
    recurrent, adaptive = passage.panels.shape[0] > 0, adaptations.shape[2] > 0
    for n in range(outputs.shape[1]):
        pass_forward(n, lengths, outputs, start[2], passage)
        for row in range(lengths.shape[0]):
            if n >= lengths[row]:
                continue
            fetch((drive, sums, potentials, adaptations, outputs), row, n + 1, lengths[row])
            product = passage.products[row]
            if recurrent:
                add(drive[row, n], product, sums[row, n])
            potential = potentials[row, n - 1] if n else start[0][row]
            sent = outputs[row, n - 1] if n else start[2][row]
            if adaptive:
                _adapt(neurons, potential, sent, adaptations[row, n - 1] if n else start[1][row], adaptations[row, n])
            adaptation, after = adaptations[row, n], potentials[row, n]
            _fire(neurons, numbers, sums[row, n], adaptation, potential, sent, after, outputs[row, n])


@njit(cache=True, nogil=True, fastmath=FAST)
def _step_back(neurons, gradient, fed_back, slope, adaptive, grad_potential, grad_adaptation, grad_drive):
    """Set g_D of a frame, and move ``grad_potential`` and ``grad_adaptation`` from g_u+ and g_w+ to g_u and g_w.

    ``slope`` is the surrogate derivative h.
    """
    decay, kept, adaptation_decay, coupling, jump = neurons
    size = grad_potential.shape[0]
    if adaptive:  # the array of g_D first holds g_out + Vᵀ g_D+ + b g_w+
        for k in range(size):
            grad_drive[k] = gradient[k] + fed_back[k] + jump[k] * grad_adaptation[k]
    else:
        for k in range(size):
            grad_drive[k] = gradient[k] + fed_back[k]
    for k in range(size):
        grad_potential[k] = decay[k] * grad_potential[k] + slope[k] * (grad_drive[k] - decay[k] * grad_potential[k])
    if adaptive:
        for k in range(size):
            grad_potential[k] += coupling[k] * grad_adaptation[k]
    for k in range(size):
        grad_drive[k] = kept[k] * grad_potential[k]
    if adaptive:
        for k in range(size):
            grad_adaptation[k] = adaptation_decay[k] * grad_adaptation[k] - grad_drive[k]


@njit(cache=True, nogil=True, fastmath=FAST)
def _add_to_totals(adaptive, grad_potential, grad_adaptation, total, adaptation, before, totals):
    """Add what a frame contributes to the gradients of α, β, a and b, (H,) each.

    ``before`` are u-, w- and s-, and ``totals`` the four gradients. The state of an unstable neuron overflows. Where
    its gradient is 0, the product 0 · ∞ counts as 0 and not as NaN.
    """
    potential, held, output = before
    grad_decay, grad_adaptation_decay, grad_coupling, grad_jump = totals
    zero = total.dtype.type(0)
    for k in range(total.shape[0]):
        inner = total[k] - adaptation[k] if adaptive else total[k]
        product = grad_potential[k] * (potential[k] - output[k] - inner)
        grad_decay[k] += product if grad_potential[k] != zero else zero
    if not adaptive:
        return
    for k in range(total.shape[0]):
        product = grad_adaptation[k] * held[k]
        grad_adaptation_decay[k] += product if grad_adaptation[k] != zero else zero
    for k in range(total.shape[0]):
        product = grad_adaptation[k] * potential[k]
        grad_coupling[k] += product if grad_adaptation[k] != zero else zero
    for k in range(total.shape[0]):
        grad_jump[k] += grad_adaptation[k] * output[k]


@njit(cache=True, nogil=True)
def _backward_rows(gradient, sums, trace, start, neurons, slope, threshold, passage, grad_drive, totals):
    """Fill g_D (B, T, H), and the gradients of the parameters summed over the frames of each row.

    The latter are ``totals``, four arrays (B, H) for α, β, a and b; the last three are (B, 0) without adaptation.
    """
    potentials, adaptations, outputs = trace
    rows, frames, size = gradient.shape
    adaptive = adaptations.shape[2] > 0
    grad_potential = np.zeros((rows, size), gradient.dtype)
    grad_adaptation = np.zeros((rows, adaptations.shape[2]), gradient.dtype)
    height = np.zeros(size, gradient.dtype)
    lengths = np.full(rows, frames)
    for n in range(grad_drive.shape[1] - 1, -1, -1):
        for row in range(lengths.shape[0]):
            if n >= lengths[row]:
                continue
            fetch((gradient, sums, grad_drive), row, n - 1, frames)
            fetch((potentials, adaptations, outputs), row, n - 2, frames)
            fed_back = passage.products[row]
            differentiate(slope, potentials[row, n], threshold, height)
            _step_back(
                neurons, gradient[row, n], fed_back, height, adaptive, grad_potential[row], grad_adaptation[row],
                grad_drive[row, n],
            )
            before = (
                potentials[row, n - 1] if n else start[0][row], adaptations[row, n - 1] if n else start[1][row],
                outputs[row, n - 1] if n else start[2][row],
            )
            own = totals[0][row], totals[1][row], totals[2][row], totals[3][row]
            gradients = grad_potential[row], grad_adaptation[row]
            _add_to_totals(adaptive, *gradients, sums[row, n], adaptations[row, n], before, own)
        pass_backward(n, lengths, grad_drive, passage)


def _neurons(parameters: Parameters) -> tuple:
    """α, 1 - α, β, a and b as arrays (H,). The last three are empty without adaptation."""
    decay = parameters.decay.detach()
    found = (decay, 1 - decay, parameters.adaptation_decay, parameters.coupling, parameters.jump)
    return tuple((decay[:0] if each is None else each.detach()).contiguous().numpy() for each in found)


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The Trace of the reference. Frames beyond ``lengths`` are not computed, and their states are zero."""
    drive, recurrent, neurons = drive.contiguous(), parameters.recurrent, _neurons(parameters)
    sums = drive if recurrent is None else room(drive, lengths, drive.shape[2])
    panels = no_panels(drive) if recurrent is None else pack(recurrent.detach().T)
    states = State(*(room(drive, lengths, each.shape[1]) for each in state))
    numbers = tuple(drive.numpy().dtype.type(each) for each in (THRESHOLD, 1, 0))
    start = [each.contiguous() for each in state]

    def run(rows: slice, passage: Passage) -> None:
        _forward_rows(
            drive[rows].numpy(), lengths[rows].numpy(), passage, neurons, numbers,
            tuple(each[rows].numpy() for each in start), sums[rows].numpy(),
            tuple(each[rows].numpy() for each in states),
        )

    walk(run, panels, state.output)
    return Trace(sums, states)


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor | None, ...]:
    """The gradients of the drive and of the parameters in TRAINED, as the reference's.

    Those of α, β, a and b are summed over each row first.
    """
    gradient, recurrent, neurons = gradient.contiguous(), parameters.recurrent, _neurons(parameters)
    panels = no_panels(gradient) if recurrent is None else pack(recurrent.detach())
    adaptive = parameters.adaptation_decay is not None
    grad_drive = torch.empty_like(gradient)
    widths = (gradient.shape[2], *[gradient.shape[2] if adaptive else 0] * 3)
    totals = [gradient.new_zeros(len(gradient), width) for width in widths]
    number = gradient.numpy().dtype.type
    slopes, sums = slope(parameters.derivative, number), trace.sums.detach().contiguous()
    states, start = ([each.detach().contiguous() for each in of] for of in (trace.states, state))

    def run(rows: slice, passage: Passage) -> None:
        _backward_rows(
            gradient[rows].numpy(), sums[rows].numpy(), tuple(each[rows].numpy() for each in states),
            tuple(each[rows].numpy() for each in start), neurons, slopes, number(THRESHOLD), passage,
            grad_drive[rows].numpy(), tuple(each[rows].numpy() for each in totals),
        )

    walk(run, panels, state.output)
    grad_decay, *of_adaptation = (each.sum(0) for each in totals)
    grad_recurrent = None if recurrent is None else weight_gradient(grad_drive, trace.states.output, state.output)
    return grad_drive, grad_decay, *(of_adaptation if adaptive else (None, None, None)), grad_recurrent
