"""Whole-sequence forward and hand-written backward of the gated spiking layer in plain PyTorch, on any device.

The forward is the loop over ``cells.improved_v2.step``. The backward walks the frames once more in reverse
(g_x is the gradient with respect to x, "+" the next frame, "-" the one before, M = 1[|V| <= A]):

    g_Y = g_out + Uᵀ g_D+ - g_V+                 what the output feeds: the next layer, U, the subtraction
    g_V = g_V+ + M ⊙ g_Y                         straight-through
    g_I = g_V + F+ ⊙ g_I+
    g_Df = g_I ⊙ (I- - C m) ⊙ F (1 - F),   g_Dc = g_I ⊙ (1 - F) ⊙ m ⊙ φ'(C)

The factors that do not depend on a gradient are computed for all frames at once, before the loop.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from snn_asr.cells.improved_v2 import Parameters, State, step


class Trace(NamedTuple):
    """What a forward leaves behind: ``sums`` (B, T, 2H) is D + U Y[n-1]; the others are (B, T, H)."""

    sums: Tensor
    currents: Tensor
    membranes: Tensor
    outputs: Tensor


def forward_steps(drive: Tensor, state: State, parameters: Parameters) -> list[State]:
    """Loop over ``step``: drive (B, T, 2H) to the state after every frame.

    Under autograd this is the slow, independent road to the gradients that tests compare with.
    """
    states = []
    for frame in drive.unbind(1):
        _, state = step(frame, state, parameters)
        states.append(state)
    return states


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """All frames of drive (B, T, 2H). Frames beyond ``lengths`` are computed too, and worth nothing."""
    states = forward_steps(drive, state, parameters)
    currents, membranes, outputs = (torch.stack(each, dim=1) for each in zip(*states, strict=True))
    return Trace(drive + previous(outputs, state.output) @ parameters.recurrent.T, currents, membranes, outputs)


class Factors(NamedTuple):
    """Per-frame factors of the backward recursion, each (B, T, H)."""

    to_forget: Tensor
    to_candidate: Tensor
    forget: Tensor
    through: Tensor


def backward_factors(trace: Trace, state: State, parameters: Parameters) -> Factors:
    forget, candidate = trace.sums.chunk(2, dim=-1)
    forget = torch.sigmoid(forget)
    if parameters.candidate == "clamp":
        slope, candidate = (candidate > 0) & (candidate < 1), candidate.clamp(0, 1)
    else:
        slope, candidate = candidate > 0, candidate.relu()
    slope = slope.to(forget)
    if parameters.mask is not None:
        candidate, slope = candidate * parameters.mask.unsqueeze(1), slope * parameters.mask.unsqueeze(1)
    kept = 1 - forget
    to_forget = (previous(trace.currents, state.current) - candidate) * forget * kept
    coder = parameters.coder
    through = torch.ones_like(forget) if coder is None else (trace.membranes.abs() <= coder.range).to(forget)
    return Factors(to_forget, kept * slope, forget, through)


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> Tensor:
    """Gradient with respect to the drive (B, T, 2H), from the gradient (B, T, H) of the outputs."""
    factors = backward_factors(trace, state, parameters)
    gradient_drive = torch.empty_like(trace.sums)
    gradient_membrane, carried_current, carried_output = (torch.zeros_like(state.current) for _ in range(3))
    size = gradient.shape[-1]
    for n in reversed(range(gradient.shape[1])):
        gradient_output = gradient[:, n] + carried_output
        if parameters.coder is not None:
            gradient_membrane = gradient_membrane + factors.through[:, n] * (gradient_output - gradient_membrane)
            gradient_output = gradient_membrane
        gradient_current = gradient_output + carried_current
        gradient_drive[:, n, :size] = gradient_current * factors.to_forget[:, n]
        gradient_drive[:, n, size:] = gradient_current * factors.to_candidate[:, n]
        carried_current = gradient_current * factors.forget[:, n]
        carried_output = gradient_drive[:, n] @ parameters.recurrent
    return gradient_drive


def previous(sequence: Tensor, start: Tensor) -> Tensor:
    """The sequence (B, T, H) delayed by one frame, beginning with ``start`` (B, H)."""
    return torch.cat([start.unsqueeze(1), sequence[:, :-1]], dim=1)


def linear(inputs: Tensor, weights: Tensor) -> Tensor:
    """inputs (N, D) times weights (M, D) transposed."""
    return torch.nn.functional.linear(inputs, weights)
