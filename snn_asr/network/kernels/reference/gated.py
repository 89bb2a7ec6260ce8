"""The gated layers v1 and v2 in plain PyTorch (cells/gated.py).

The backward walks the frames once more in reverse (g_x is the gradient with respect to x, "+" the next frame,
"-" the one before, M = 1[|V| <= A], a the smoothing of the recurrent product, 0 in the paper):

    g_Y = g_out + (1 - a) Uᵀ g_R+ - g_V+         what the output feeds: the next layer, U, the subtraction
    g_V = g_V+ + M ⊙ g_Y                         straight-through
    g_I = g_V + F+ ⊙ g_I+
    g_Df = g_I ⊙ (I- - C m) ⊙ F (1 - F),   g_Dc = g_I ⊙ (1 - F) ⊙ m ⊙ φ'(C)
    g_R = g_D + a g_R+

Where 1 - F is a power of two, F (1 - F) is that of the gate before it was rounded. The factors that do not depend on a
gradient are computed for all frames at once, before the recursion.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from snn_asr.network.cells import CellParameters, gated
from snn_asr.network.cells.gated import GATES, Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.reference import previous, walk, weight_gradient


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    states = walk(gated, drive, state, parameters)
    if parameters.recurrent is None:
        return Trace(drive, states)
    if parameters.smoothing:
        return Trace(drive + states.feedback, states)
    return Trace(drive + previous(states.output, state.output) @ parameters.recurrent.T, states)


class Factors(NamedTuple):
    """Per-frame factors of the recursion: ``gates`` (B, T, G H), ``decay`` (B, T, H), and ``inside`` (B, T, H), or
    None without a coder."""

    gates: Tensor
    decay: Tensor
    inside: Tensor | None


def factors(trace: Trace, state: State, parameters: Parameters) -> Factors:
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
    kept = 1 - forget
    to_forget = (previous(trace.states.current, state.current) - candidate) * forget_slope
    return Factors(torch.cat([to_forget, kept * slope], dim=-1), forget, inside(trace, parameters))


def inside(trace: Trace, parameters: CellParameters) -> Tensor | None:
    """M as numbers (B, T, H); None without a coder."""
    if parameters.coder is None:
        return None
    return parameters.coder.inside(trace.states.membrane).to(trace.sums)


def recursion(gradient: Tensor, given: Factors, recurrent: Tensor | None, smoothing: float) -> tuple[Tensor, Tensor]:
    """g_D and g_R (B, T, G H) from the gradient (B, T, H) of the outputs; without U the second is the first."""
    size = gradient.shape[-1]
    drive = torch.empty_like(given.gates)
    feedback = torch.empty_like(drive) if smoothing else drive
    membrane, current, output = (torch.zeros_like(gradient[:, 0]) for _ in range(3))
    carried = torch.zeros_like(drive[:, 0])
    for n in reversed(range(gradient.shape[1])):
        total = gradient[:, n] + output
        if given.inside is not None:
            membrane = membrane + given.inside[:, n] * (total - membrane)
            total = membrane
        current = total + current
        drive[:, n] = current.repeat(1, drive.shape[-1] // size) * given.gates[:, n]
        current = current * given.decay[:, n]
        if recurrent is not None:
            carried = drive[:, n] + smoothing * carried
            feedback[:, n] = carried
            output = ((1 - smoothing) * carried) @ recurrent
    return drive, feedback


def backward(
    gradient: Tensor, trace: Trace, state: State, parameters: Parameters, recursion: Callable = recursion
) -> tuple[Tensor, Tensor | None]:
    """Gradients of the drive and of U; another backend passes its own recursion."""
    given = factors(trace, state, parameters)
    drive, feedback = recursion(gradient, given, parameters.recurrent, parameters.smoothing)
    if parameters.recurrent is None:
        return drive, None
    sent = previous(trace.states.output, state.output)
    return drive, (1 - parameters.smoothing) * weight_gradient(feedback, sent)
