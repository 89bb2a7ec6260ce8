"""The spiking LSTM in plain PyTorch (cells/spiking_lstm.py).

The backward walks the frames once more in reverse (g_x is the gradient with respect to x, "+" the next frame, "-" the
one before; G = G_c(a - θ), 1 for a kept cell; e = o, or G ⊙ o; m = f, or G ⊙ f, by ``cell_gradient``):

    g_h = g_out + Uᵀ g_D+                        what the output feeds: the next layer and U
    g_c = e ⊙ g_h + m+ ⊙ g_c+
    g_Df = g_c ⊙ G c- G_s,  g_Di = g_c ⊙ G g G_s,  g_Do = g_h ⊙ c G_s,  g_Dg = g_c ⊙ G i G_g

The factors that do not depend on a gradient are computed for all frames at once, before the recursion.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from snn_asr.network.cells import spiking_lstm
from snn_asr.network.cells.spiking_lstm import GATES, Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.reference import previous, weight_gradient


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """Loop over the step. The sums are kept as they were compared: worked out again for all frames at once they could
    round to the other side of the threshold."""
    sums, states = [], []
    for frame in drive.unbind(1):
        sums.append(frame + state.output @ parameters.recurrent.T)
        _, state = spiking_lstm.fire(sums[-1], state, parameters)
        states.append(state)
    stacked = (torch.stack(each, dim=1) for each in zip(*states, strict=True))
    return Trace(torch.stack(sums, dim=1), State(*stacked))


class Factors(NamedTuple):
    """Per-frame factors of the recursion: ``gates`` (B, T, 4H) of g_D; ``emitted`` e and ``memory`` m (B, T, H)."""

    gates: Tensor
    emitted: Tensor
    memory: Tensor


def factors(trace: Trace, state: State, parameters: Parameters) -> Factors:
    above = trace.sums - parameters.threshold
    forget, admit, emit, candidate = (above > 0).to(above).chunk(GATES, dim=-1)
    before, slope = previous(trace.states.cell, state.cell), torch.ones_like(forget)
    if parameters.cell == "thresholded":
        slope = parameters.cell_slope(forget * before + admit * candidate - parameters.threshold)
    opens, chooses = above.split([(GATES - 1) * forget.shape[-1], forget.shape[-1]], dim=-1)
    slopes = torch.cat([parameters.gate_slope(opens), parameters.candidate_slope(chooses)], dim=-1)
    partners = torch.cat([slope * before, slope * candidate, trace.states.cell, slope * admit], dim=-1)
    return Factors(
        partners * slopes,
        emit * slope if parameters.cell_gradient == "speech" else emit,
        forget * slope if parameters.cell_gradient == "surrogate" else forget,
    )


def recursion(gradient: Tensor, given: Factors, recurrent: Tensor) -> Tensor:
    """g_D (B, T, 4H) from the gradient (B, T, H) of the outputs."""
    drive = torch.empty_like(given.gates)
    carried, fed_back = (torch.zeros_like(gradient[:, 0]) for _ in range(2))
    for n in reversed(range(gradient.shape[1])):
        output = gradient[:, n] + fed_back
        cell = given.emitted[:, n] * output + carried
        drive[:, n] = torch.cat([cell, cell, output, cell], dim=-1) * given.gates[:, n]
        carried = given.memory[:, n] * cell
        fed_back = drive[:, n] @ recurrent
    return drive


def backward(
    gradient: Tensor, trace: Trace, state: State, parameters: Parameters, recursion: Callable = recursion
) -> tuple[Tensor, Tensor]:
    """Gradients of the drive and of U; another backend passes its own recursion."""
    drive = recursion(gradient, factors(trace, state, parameters), parameters.recurrent)
    return drive, weight_gradient(drive, previous(trace.states.output, state.output))
