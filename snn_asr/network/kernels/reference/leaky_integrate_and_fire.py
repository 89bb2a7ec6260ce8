"""The adaptive LIF layers in plain PyTorch (cells/leaky_integrate_and_fire.py).

The backward walks the frames once more in reverse (g_x is the gradient with respect to x, "+" the next frame, "-" the
one before, h the surrogate derivative at u - 1):

    g_s = g_out + Vᵀ g_D+ - α g_u+ + b g_w+
    g_u = h ⊙ g_s + α g_u+ + a g_w+
    g_w = β g_w+ - (1 - α) g_u
    g_D = (1 - α) g_u

and the parameters' gradients are sums over rows and frames after it:

    g_α = Σ g_u (u- - s- - (D + V s- - w)),   g_β = Σ g_w w-,   g_a = Σ g_w u-,   g_b = Σ g_w s-,   g_V = Σ g_D s-ᵀ
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from snn_asr.network.cells import leaky_integrate_and_fire
from snn_asr.network.cells.leaky_integrate_and_fire import THRESHOLD, Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.reference import previous, walk, weight_gradient


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    states = walk(leaky_integrate_and_fire, drive, state, parameters)
    if parameters.recurrent is None:
        return Trace(drive, states)
    return Trace(drive + previous(states.output, state.output) @ parameters.recurrent.T, states)


def recursion(gradient: Tensor, slope: Tensor, parameters: Parameters) -> tuple[Tensor, Tensor | None]:
    """g_u and g_w (B, T, H), the latter None without adaptation, from the gradient of the outputs and h."""
    decay, adaptation_decay, coupling, jump = parameters[:4]
    to_potential = torch.empty_like(slope)
    to_adaptation = None if adaptation_decay is None else torch.empty_like(slope)
    potential, adaptation, fed_back = (torch.zeros_like(slope[:, 0]) for _ in range(3))
    for n in reversed(range(slope.shape[1])):
        kept = decay * potential
        sent = gradient[:, n] + fed_back - kept
        if coupling is not None and jump is not None:
            sent = sent + jump * adaptation
            kept = kept + coupling * adaptation
        potential = slope[:, n] * sent + kept
        to_potential[:, n] = potential
        if adaptation_decay is not None and to_adaptation is not None:
            adaptation = adaptation_decay * adaptation - (1 - decay) * potential
            to_adaptation[:, n] = adaptation
        if parameters.recurrent is not None:
            fed_back = ((1 - decay) * potential) @ parameters.recurrent
    return to_potential, to_adaptation


def backward(
    gradient: Tensor, trace: Trace, state: State, parameters: Parameters, recursion: Callable = recursion
) -> tuple[Tensor | None, ...]:
    """Gradients of the drive and of the parameters in TRAINED; another backend passes its own recursion."""
    states, decay = trace.states, parameters.decay
    slope = parameters.derivative(states.potential - THRESHOLD)
    to_potential, to_adaptation = recursion(gradient, slope, parameters)
    potential, output = previous(states.potential, state.potential), previous(states.output, state.output)
    drive, inner = (1 - decay) * to_potential, trace.sums
    adaptation: tuple[Tensor | None, ...] = (None, None, None)
    if to_adaptation is not None:
        inner = inner - states.adaptation
        before = (previous(states.adaptation, state.adaptation), potential, output)
        adaptation = tuple(_total(to_adaptation, each) for each in before)
    to_decay = _total(to_potential, potential - output - inner)
    recurrent = None if parameters.recurrent is None else weight_gradient(drive, output)
    return drive, to_decay, *adaptation, recurrent


def _total(gradient: Tensor, factor: Tensor) -> Tensor:
    """Sum (H,) of the products (B, T, H). An unstable neuron's state overflows where its gradient is 0: 0 · ∞ is 0."""
    return torch.where(gradient == 0, 0.0, gradient * factor).sum((0, 1))
