"""The adaptive LIF layers (cells/adaptive_lif.py) as numba loops: fused scans, and events where they are recurrent."""

from __future__ import annotations

from functools import partial

import torch
from numba import njit
from torch import Tensor

from snn_asr.cells.adaptive_lif import THRESHOLD, Parameters, State
from snn_asr.kernels import Trace
from snn_asr.kernels.cpu import add_events, share, transposed
from snn_asr.kernels.reference import adaptive_lif as reference


@njit(cache=True, nogil=True)
def _forward_rows(sums, lengths, recurrent, given, levels, start, trace):
    """``sums`` holds the drive and receives the recurrent product; ``given`` is that of ``_neurons``."""
    decay, kept, adaptation_decay, coupling, jump = given
    threshold, one, zero = levels
    potentials, adaptations, outputs = trace
    adaptive = adaptations.shape[2] > 0
    for row in range(sums.shape[0]):
        potential, adaptation, output = start[0][row].copy(), start[1][row].copy(), start[2][row].copy()
        for n in range(lengths[row]):
            total = sums[row, n]
            if recurrent.shape[0] > 0:
                add_events(output, recurrent, total)
            if adaptive:
                for k in range(adaptation.shape[0]):
                    held = adaptation_decay[k] * adaptation[k] + coupling[k] * potential[k]
                    adaptation[k] = held + jump[k] * output[k]
                adaptations[row, n] = adaptation
            for k in range(potential.shape[0]):
                inner = total[k] - adaptation[k] if adaptive else total[k]
                potential[k] = decay[k] * (potential[k] - output[k]) + kept[k] * inner
                output[k] = one if potential[k] > threshold else zero
            potentials[row, n], outputs[row, n] = potential, output


@njit(cache=True, nogil=True)
def _backward_frames(first, last, gradient, fed_back, slope, given, carried, results):
    """Frames last-1 .. first of the recursion in ``kernels.reference.adaptive_lif``, in one pass.

    ``fed_back`` (B, H) is what came back through V, read at every frame: zero where several frames run at once.
    """
    decay, kept, adaptation_decay, coupling, jump = given
    potentials, adaptations = carried
    to_potential, to_adaptation = results
    rows, size = potentials.shape
    adaptive = to_adaptation.shape[2] > 0
    for row in range(rows):
        for n in range(last - 1, first - 1, -1):
            for k in range(size):
                held = decay[k] * potentials[row, k]
                sent = gradient[row, n, k] + fed_back[row, k] - held
                if adaptive:
                    sent += jump[k] * adaptations[row, k]
                    held += coupling[k] * adaptations[row, k]
                potential = slope[row, n, k] * sent + held
                potentials[row, k] = potential
                to_potential[row, n, k] = potential
                if adaptive:
                    adaptation = adaptation_decay[k] * adaptations[row, k] - kept[k] * potential
                    adaptations[row, k] = adaptation
                    to_adaptation[row, n, k] = adaptation


def _neurons(parameters: Parameters) -> tuple:
    """α, 1 - α, β, a and b as arrays (H,), empty where they are None."""
    decay = parameters.decay.detach()
    found = (decay, 1 - decay, parameters.adaptation_decay, parameters.coupling, parameters.jump)
    return tuple((decay[:0] if each is None else each.detach()).contiguous().numpy() for each in found)


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """As the reference; frames beyond ``lengths`` are not computed, their outputs are zero."""
    batch, frames = drive.shape[:2]
    sums = drive if parameters.recurrent is None else drive.clone(memory_format=torch.contiguous_format)
    sums, recurrent, given = sums.contiguous(), transposed(parameters.recurrent, drive), _neurons(parameters)
    states = State(*(drive.new_zeros(batch, frames, each.shape[1]) for each in state))
    levels = tuple(sums.numpy().dtype.type(each) for each in (THRESHOLD, 1, 0))
    start = [each.contiguous() for each in state]

    def run(rows: slice) -> None:
        _forward_rows(
            sums[rows].numpy(), lengths[rows].numpy(), recurrent.numpy(), given, levels,
            tuple(each[rows].numpy() for each in start), tuple(each[rows].numpy() for each in states),
        )

    share(run, batch)
    return Trace(sums, states)


def recursion(gradient: Tensor, slope: Tensor, parameters: Parameters) -> tuple[Tensor, Tensor | None]:
    """As the reference's; without V all frames are one compiled pass."""
    adaptive, given = parameters.adaptation_decay is not None, _neurons(parameters)
    results = tuple(slope.new_empty(*slope.shape[:2], size) for size in (slope.shape[2], adaptive * slope.shape[2]))
    fed_back, *carried = (torch.zeros_like(each[:, 0]) for each in (slope, *results))
    arrays = tuple(each.contiguous().numpy() for each in (gradient, slope))
    carried, written = (tuple(each.numpy() for each in given) for given in (carried, results))

    def run(first: int, last: int) -> None:
        _backward_frames(first, last, arrays[0], fed_back.numpy(), arrays[1], given, carried, written)

    if parameters.recurrent is None:
        run(0, slope.shape[1])
    else:
        weights = (1 - parameters.decay).unsqueeze(1) * parameters.recurrent
        for n in reversed(range(slope.shape[1])):
            run(n, n + 1)
            torch.mm(results[0][:, n], weights, out=fed_back)
    return results[0], results[1] if adaptive else None


backward = partial(reference.backward, recursion=recursion)
