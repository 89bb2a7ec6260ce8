"""The spiking LSTM in plain PyTorch (cells/spiking_lstm.py).

The backward pass goes through the frames in reverse (reference/__init__.py explains the signs). G is the surrogate
derivative G_c(a - θ) of the cell's threshold, or 1 for a kept cell. By the option ``cell_gradient``, e is o or G ⊙ o,
and m is f or G ⊙ f:

    g_h = g_out + Uᵀ g_D+                        all that an output feeds: the next layer and U
    g_c = e ⊙ g_h + m+ ⊙ g_c+
    g_Df = g_c ⊙ G c- G_s,  g_Di = g_c ⊙ G g G_s,  g_Do = g_h ⊙ c G_s,  g_Dg = g_c ⊙ G i G_g

Factors that do not depend on a gradient are computed for all frames at once, before the recursion.
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
    """The states after every frame, and as sums (B, T, 4H) the drive plus the recurrent product.

    The sums are kept as they were compared with the threshold. Computed again, for all frames at once, they could be
    rounded to the other side of it.
    """
    sums, states = [], []
    for frame in drive.unbind(1):
        sums.append(frame + state.output @ parameters.recurrent.T)
        _, state = spiking_lstm.fire(sums[-1], state, parameters)
        states.append(state)
    stacked = (torch.stack(each, dim=1) for each in zip(*states, strict=True))
    return Trace(torch.stack(sums, dim=1), State(*stacked))


class Factors(NamedTuple):
    """The factors of the recursion at every frame.

    ``gates`` (B, T, 4H) are what g_c, and for the output gate g_h, is multiplied by in g_D. ``emitted`` is e and
    ``memory`` is m, (B, T, H) each.
    """

    gates: Tensor
    emitted: Tensor
    memory: Tensor


def compute_factors(trace: Trace, state: State, parameters: Parameters) -> Factors:
    """The factors of all frames."""
    above = trace.sums - parameters.threshold
    forget, admit, emit, candidate = (above > 0).to(above).chunk(GATES, dim=-1)
    before, slope = previous(trace.states.cell, state.cell), torch.ones_like(forget)
    if parameters.cell == "thresholded":
        slope = parameters.cell_slope(forget * before + admit * candidate - parameters.threshold)
    gates, chosen = above.split([(GATES - 1) * forget.shape[-1], forget.shape[-1]], dim=-1)
    slopes = torch.cat([parameters.gate_slope(gates), parameters.candidate_slope(chosen)], dim=-1)
    partners = torch.cat([slope * before, slope * candidate, trace.states.cell, slope * admit], dim=-1)
    return Factors(
        partners * slopes,
        emit * slope if parameters.cell_gradient == "speech" else emit,
        forget * slope if parameters.cell_gradient == "surrogate" else forget,
    )


def recursion(gradient: Tensor, factors: Factors, recurrent: Tensor) -> Tensor:
    """g_D (B, T, 4H) from the ``gradient`` (B, T, H) of the outputs."""
    grad_drive = torch.empty_like(factors.gates)
    carried, fed_back = (torch.zeros_like(gradient[:, 0]) for _ in range(2))
    for n in reversed(range(gradient.shape[1])):
        grad_output = gradient[:, n] + fed_back
        grad_cell = factors.emitted[:, n] * grad_output + carried
        grad_drive[:, n] = torch.cat([grad_cell, grad_cell, grad_output, grad_cell], dim=-1) * factors.gates[:, n]
        carried = factors.memory[:, n] * grad_cell
        fed_back = grad_drive[:, n] @ recurrent
    return grad_drive


def backward(
    gradient: Tensor, trace: Trace, state: State, parameters: Parameters, recursion: Callable = recursion
) -> tuple[Tensor, Tensor]:
    """The gradients of the drive, g_D (B, T, 4H), and of U (4H, H). Another backend can give its own ``recursion``."""
    grad_drive = recursion(gradient, compute_factors(trace, state, parameters), parameters.recurrent)
    return grad_drive, weight_gradient(grad_drive, previous(trace.states.output, state.output))
