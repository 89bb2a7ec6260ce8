"""The leaky integrate-and-fire layers: compiled loops over frames, events where they are recurrent."""

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
def _adapt(given, potential, output, before, adaptation):
    _, _, adaptation_decay, coupling, jump = given
    for k in range(adaptation.shape[0]):
        held = adaptation_decay[k] * before[k] + coupling[k] * potential[k]
        adaptation[k] = held + jump[k] * output[k]


@njit(cache=True, nogil=True)
def _fire(given, levels, total, adaptation, before, sent, potential, output):
    decay, kept = given[0], given[1]
    threshold, one, zero = levels
    adaptive = adaptation.shape[0] > 0
    for k in range(potential.shape[0]):
        inner = total[k] - adaptation[k] if adaptive else total[k]
        potential[k] = decay[k] * (before[k] - sent[k]) + kept[k] * inner
    for k in range(potential.shape[0]):
        output[k] = one if potential[k] > threshold else zero


@njit(cache=True, nogil=True)
def _forward_rows(drive, lengths, passage, given, levels, start, sums, trace):
    """``given`` is that of ``_neurons``; ``sums`` receives drive and recurrent product, or is the drive."""
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
                _adapt(given, potential, sent, adaptations[row, n - 1] if n else start[1][row], adaptations[row, n])
            adaptation, after = adaptations[row, n], potentials[row, n]
            _fire(given, levels, sums[row, n], adaptation, potential, sent, after, outputs[row, n])


@njit(cache=True, nogil=True, fastmath=FAST)
def _to_neuron(given, gradient, fed_back, slope, adaptive, potential, adaptation, work):
    """g_u and g_w of a frame from those of the frame behind it, in place; (1 - α) g_u into ``work``."""
    decay, kept, adaptation_decay, coupling, jump = given
    size = potential.shape[0]
    if adaptive:
        for k in range(size):
            work[k] = gradient[k] + fed_back[k] + jump[k] * adaptation[k]
    else:
        for k in range(size):
            work[k] = gradient[k] + fed_back[k]
    for k in range(size):
        potential[k] = decay[k] * potential[k] + slope[k] * (work[k] - decay[k] * potential[k])
    if adaptive:
        for k in range(size):
            potential[k] += coupling[k] * adaptation[k]
    for k in range(size):
        work[k] = kept[k] * potential[k]
    if adaptive:
        for k in range(size):
            adaptation[k] = adaptation_decay[k] * adaptation[k] - work[k]


@njit(cache=True, nogil=True, fastmath=FAST)
def _add_to_totals(adaptive, to_potential, to_adaptation, total, adaptation, before, totals):
    """What a frame adds to the gradients of α, β, a and b, (H,) each. An unstable neuron's state overflows where its
    gradient is 0: 0 · ∞ is 0."""
    potential, held, output = before
    to_decay, to_adaptation_decay, to_coupling, to_jump = totals
    zero = total.dtype.type(0)
    for k in range(total.shape[0]):
        inner = total[k] - adaptation[k] if adaptive else total[k]
        product = to_potential[k] * (potential[k] - output[k] - inner)
        to_decay[k] += product if to_potential[k] != zero else zero
    if not adaptive:
        return
    for k in range(total.shape[0]):
        product = to_adaptation[k] * held[k]
        to_adaptation_decay[k] += product if to_adaptation[k] != zero else zero
    for k in range(total.shape[0]):
        product = to_adaptation[k] * potential[k]
        to_coupling[k] += product if to_adaptation[k] != zero else zero
    for k in range(total.shape[0]):
        to_jump[k] += to_adaptation[k] * output[k]


@njit(cache=True, nogil=True)
def _backward_rows(gradient, sums, trace, start, given, slope, threshold, passage, drive, totals):
    """The recursion of ``kernels.reference.leaky_integrate_and_fire``: g_D into ``drive``, and each row's gradients of
    the parameters into ``totals``, four of (B, H), the last three (B, 0) without adaptation."""
    potentials, adaptations, outputs = trace
    rows, frames, size = gradient.shape
    adaptive = adaptations.shape[2] > 0
    to_potential = np.zeros((rows, size), gradient.dtype)
    to_adaptation = np.zeros((rows, adaptations.shape[2]), gradient.dtype)
    height = np.zeros(size, gradient.dtype)
    lengths = np.full(rows, frames)
    for n in range(drive.shape[1] - 1, -1, -1):
        for row in range(lengths.shape[0]):
            if n >= lengths[row]:
                continue
            fetch((gradient, sums, drive), row, n - 1, frames)
            fetch((potentials, adaptations, outputs), row, n - 2, frames)
            fed_back = passage.products[row]
            differentiate(slope, potentials[row, n], threshold, height)
            _to_neuron(
                given, gradient[row, n], fed_back, height, adaptive, to_potential[row], to_adaptation[row],
                drive[row, n],
            )
            before = (
                potentials[row, n - 1] if n else start[0][row], adaptations[row, n - 1] if n else start[1][row],
                outputs[row, n - 1] if n else start[2][row],
            )
            own = totals[0][row], totals[1][row], totals[2][row], totals[3][row]
            gradients = to_potential[row], to_adaptation[row]
            _add_to_totals(adaptive, *gradients, sums[row, n], adaptations[row, n], before, own)
        pass_backward(n, lengths, drive, passage)


def _neurons(parameters: Parameters) -> tuple:
    """α, 1 - α, β, a and b as arrays (H,), empty where they are None."""
    decay = parameters.decay.detach()
    found = (decay, 1 - decay, parameters.adaptation_decay, parameters.coupling, parameters.jump)
    return tuple((decay[:0] if each is None else each.detach()).contiguous().numpy() for each in found)


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """As the reference; frames beyond ``lengths`` are not computed, their outputs are zero."""
    drive, recurrent, given = drive.contiguous(), parameters.recurrent, _neurons(parameters)
    sums = drive if recurrent is None else room(drive, lengths, drive.shape[2])
    panels = no_panels(drive) if recurrent is None else pack(recurrent.detach().T)
    states = State(*(room(drive, lengths, each.shape[1]) for each in state))
    levels = tuple(drive.numpy().dtype.type(each) for each in (THRESHOLD, 1, 0))
    start = [each.contiguous() for each in state]

    def run(rows: slice, passage: Passage) -> None:
        _forward_rows(
            drive[rows].numpy(), lengths[rows].numpy(), passage, given, levels,
            tuple(each[rows].numpy() for each in start), sums[rows].numpy(),
            tuple(each[rows].numpy() for each in states),
        )

    walk(run, panels, state.output)
    return Trace(sums, states)


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor | None, ...]:
    """Gradients of the drive and of the parameters in TRAINED, as the reference's; summed within a row first."""
    gradient, recurrent, given = gradient.contiguous(), parameters.recurrent, _neurons(parameters)
    panels = no_panels(gradient) if recurrent is None else pack(recurrent.detach())
    adaptive = parameters.adaptation_decay is not None
    drive = torch.empty_like(gradient)
    widths = (gradient.shape[2], *[gradient.shape[2] if adaptive else 0] * 3)
    totals = [gradient.new_zeros(len(gradient), width) for width in widths]
    number = gradient.numpy().dtype.type
    slopes, sums = slope(parameters.derivative, number), trace.sums.detach().contiguous()
    states, start = ([each.detach().contiguous() for each in of] for of in (trace.states, state))

    def run(rows: slice, passage: Passage) -> None:
        _backward_rows(
            gradient[rows].numpy(), sums[rows].numpy(), tuple(each[rows].numpy() for each in states),
            tuple(each[rows].numpy() for each in start), given, slopes, number(THRESHOLD), passage, drive[rows].numpy(),
            tuple(each[rows].numpy() for each in totals),
        )

    walk(run, panels, state.output)
    to_decay, *to_others = (each.sum(0) for each in totals)
    to_recurrent = None if recurrent is None else weight_gradient(drive, trace.states.output, state.output)
    return drive, to_decay, *(to_others if adaptive else (None, None, None)), to_recurrent
