"""The gated layers v1 and v2 in plain PyTorch (cells/gated.py).

The backward pass goes through the frames in reverse (reference/__init__.py explains the signs). M = 1[|V| <= A] says
where a membrane lies within the range A of the coder, and a is the smoothing of the recurrent product R, which is 0 in
the paper:

    g_Y = g_out + (1 - a) Uᵀ g_R+ - g_V+         all that an output feeds: the next layer, U, and the subtraction
    g_V = g_V+ + M ⊙ g_Y                         straight through the coder
    g_I = g_V + F+ ⊙ g_I+
    g_Df = g_I ⊙ (I- - C m) ⊙ F (1 - F),   g_Dc = g_I ⊙ (1 - F) ⊙ m ⊙ φ'(C)
    g_R = g_D + a g_R+

If 1 - F is rounded to a power of two, F (1 - F) is still computed from the gate before the rounding. Factors that do
not depend on a gradient are computed for all frames at once, before the recursion.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from snn_asr.network.cells import CellParameters, gated
from snn_asr.network.cells.gated import GATES, Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.reference import previous, walk, weight_gradient


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The states after every frame, and as sums (B, T, 2H) the drive plus the recurrent product."""
    states = walk(gated, drive, state, parameters)
    if parameters.recurrent is None:
        return Trace(drive, states)
    if parameters.smoothing:
        return Trace(drive + states.feedback, states)
    return Trace(drive + previous(states.output, state.output) @ parameters.recurrent.T, states)


class Factors(NamedTuple):
    """The factors of the recursion at every frame.

    ``gates`` (B, T, G H) are what g_I is multiplied by in g_Df and g_Dc, ``decay`` (B, T, H) is F, and ``inside``
    (B, T, H) is M as numbers, or None without a coder. G is the number of gates.
    """

    gates: Tensor
    decay: Tensor
    inside: Tensor | None


def compute_factors(trace: Trace, state: State, parameters: Parameters) -> Factors:
    """The factors of all frames."""
    forget, candidate = trace.sums.chunk(GATES, dim=-1)
    forget = torch.sigmoid(forget)
    if parameters.candidate == "clamp":
        slope, candidate = (candidate > 0) & (candidate < 1), candidate.clamp(0, 1)
    else:
        slope, candidate = candidate > 0, candidate.relu()
    slope, forget_slope = slope.to(forget), forget * (1 - forget)
    if parameters.shifting:
        forget = gated.to_shifts(forget)
    if parameters.mask is not None:
        candidate, slope = candidate * parameters.mask.unsqueeze(1), slope * parameters.mask.unsqueeze(1)
    candidate_factor = (1 - forget) * slope
    forget_factor = (previous(trace.states.current, state.current) - candidate) * forget_slope
    return Factors(torch.cat([forget_factor, candidate_factor], dim=-1), forget, inside(trace, parameters))


def inside(trace: Trace, parameters: CellParameters) -> Tensor | None:
    """M as numbers (B, T, H); None without a coder."""
    if parameters.coder is None:
        return None
    return parameters.coder.inside(trace.states.membrane).to(trace.sums)


def recursion(gradient: Tensor, factors: Factors, recurrent: Tensor | None, smoothing: float) -> tuple[Tensor, Tensor]:
    """g_D and g_R (B, T, G H) from the ``gradient`` (B, T, H) of the outputs.

    Without smoothing both are the same tensor.
    """
    size = gradient.shape[-1]
    grad_drive = torch.empty_like(factors.gates)
    grad_feedback = torch.empty_like(grad_drive) if smoothing else grad_drive
    grad_membrane, grad_current, fed_back = (torch.zeros_like(gradient[:, 0]) for _ in range(3))
    smoothed = torch.zeros_like(grad_drive[:, 0])
    for n in reversed(range(gradient.shape[1])):
        total = gradient[:, n] + fed_back
        if factors.inside is not None:
            grad_membrane = grad_membrane + factors.inside[:, n] * (total - grad_membrane)
            total = grad_membrane
        grad_current = total + grad_current
        grad_drive[:, n] = grad_current.repeat(1, grad_drive.shape[-1] // size) * factors.gates[:, n]
        grad_current = grad_current * factors.decay[:, n]
        if recurrent is not None:
            smoothed = grad_drive[:, n] + smoothing * smoothed
            grad_feedback[:, n] = smoothed
            fed_back = ((1 - smoothing) * smoothed) @ recurrent
    return grad_drive, grad_feedback


def backward(
    gradient: Tensor, trace: Trace, state: State, parameters: Parameters
) -> tuple[Tensor, Tensor | None]:
    """The gradients of the drive, g_D (B, T, 2H), and of U (2H, H), None without U."""
    factors = compute_factors(trace, state, parameters)
    grad_drive, grad_feedback = recursion(gradient, factors, parameters.recurrent, parameters.smoothing)
    if parameters.recurrent is None:
        return grad_drive, None
    sent = previous(trace.states.output, state.output)
    return grad_drive, (1 - parameters.smoothing) * weight_gradient(grad_feedback, sent)
