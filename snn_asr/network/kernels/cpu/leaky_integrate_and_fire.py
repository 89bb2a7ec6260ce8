"""The leaky integrate-and-fire layers: compiled loops over frames, events where they are recurrent."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from snn_asr.network.cells.leaky_integrate_and_fire import THRESHOLD, Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.cpu.chunks import from_the_end
from snn_asr.network.kernels.cpu.elementwise import FAST, add, clear, room
from snn_asr.network.kernels.cpu.products import (
    add_events,
    event_buffers,
    feed_back,
    find_events,
    no_panels,
    pack,
    weight_gradient,
)
from snn_asr.network.kernels.cpu.threads import share
from snn_asr.network.kernels.reference import leaky_integrate_and_fire as reference


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
def _forward_rows(drive, lengths, panels, given, levels, start, sums, trace):
    """``given`` is that of ``_neurons``; ``sums`` receives drive and recurrent product, or is the drive."""
    potentials, adaptations, outputs = trace
    rows, size = drive.shape[0], outputs.shape[2]
    recurrent, adaptive = panels.shape[0] > 0, adaptations.shape[2] > 0
    index, value, splits = event_buffers(rows if recurrent else 0, size, drive)
    product = np.zeros((rows, panels.shape[0] * panels.shape[2]), drive.dtype)
    for n in range(drive.shape[1]):
        if recurrent:
            feed_back(n, lengths, outputs, start[2], index, value, splits, panels, product)
        for row in range(rows):
            if n >= lengths[row]:
                continue
            if recurrent:
                add(drive[row, n], product[row], sums[row, n])
            potential = potentials[row, n - 1] if n else start[0][row]
            sent = outputs[row, n - 1] if n else start[2][row]
            if adaptive:
                _adapt(given, potential, sent, adaptations[row, n - 1] if n else start[1][row], adaptations[row, n])
            _fire(
                given, levels, sums[row, n], adaptations[row, n], potential, sent, potentials[row, n], outputs[row, n]
            )


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


@njit(cache=True, nogil=True)
def _backward_rows(gradient, slope, given, panels, carried, results):
    """The recursion of ``kernels.reference.adaptive_lif`` over the frames of a chunk; ``carried``, g_u, g_w and what
    came back through V, goes on to the chunk before."""
    potential, adaptation, fed_back = carried
    to_potential, to_adaptation = results
    rows, frames, size = slope.shape
    adaptive, recurrent = to_adaptation.shape[2] > 0, panels.shape[0] > 0
    index, value, splits = event_buffers(rows if recurrent else 0, size, gradient)
    work = np.zeros(size, gradient.dtype)
    for n in range(frames - 1, -1, -1):
        for row in range(rows):
            _to_neuron(
                given, gradient[row, n], fed_back[row], slope[row, n], adaptive, potential[row], adaptation[row], work
            )
            for k in range(size):
                to_potential[row, n, k] = potential[row, k]
            for k in range(to_adaptation.shape[2]):
                to_adaptation[row, n, k] = adaptation[row, k]
            if recurrent:
                find_events(work, row, index, value, splits)
                clear(fed_back[row])
        if recurrent:
            add_events(rows, index, value, splits, panels, fed_back)


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

    def run(rows: slice) -> None:
        _forward_rows(
            drive[rows].numpy(), lengths[rows].numpy(), panels, given, levels,
            tuple(each[rows].numpy() for each in start), sums[rows].numpy(),
            tuple(each[rows].numpy() for each in states),
        )

    share(run, len(drive))
    return Trace(sums, states)


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor | None, ...]:
    """Gradients of the drive and of the parameters in TRAINED, as the reference's, chunk by chunk."""
    recurrent, given = parameters.recurrent, _neurons(parameters)
    panels = no_panels(gradient) if recurrent is None else pack(recurrent.detach())
    batch, _, size = gradient.shape
    adaptive = 0 if parameters.adaptation_decay is None else size
    widths = (size, adaptive, max(size, panels.shape[0] * panels.shape[2]))
    carried = [gradient.new_zeros(batch, width) for width in widths]

    def recursion(gradient: Tensor, slope: Tensor, _: Parameters) -> tuple[Tensor, Tensor | None]:
        results = [slope.new_empty(*slope.shape[:2], width) for width in widths[:2]]
        gradient, slope = gradient.contiguous(), slope.contiguous()

        def run(rows: slice) -> None:
            _backward_rows(
                gradient[rows].numpy(), slope[rows].numpy(), given, panels,
                tuple(each[rows].numpy() for each in carried), tuple(each[rows].numpy() for each in results),
            )

        share(run, batch)
        return results[0], results[1] if adaptive else None

    drive, totals = torch.empty_like(gradient, memory_format=torch.contiguous_format), None
    alone = parameters._replace(recurrent=None)  # the gradient of V is one product after the loop
    for part, chunk, before in from_the_end(trace, state):
        drive[:, part], *found, _ = reference.backward(gradient[:, part], chunk, before, alone, recursion)
        totals = found if totals is None else [
            None if new is None else new + old for new, old in zip(found, totals, strict=True)
        ]
    to_recurrent = None if recurrent is None else weight_gradient(drive, trace.states.output, state.output)
    return drive, *totals, to_recurrent
