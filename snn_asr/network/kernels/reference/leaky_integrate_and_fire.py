"""The leaky integrate-and-fire layers in plain PyTorch (cells/leaky_integrate_and_fire.py).

The backward pass goes through the frames in reverse (reference/__init__.py explains the signs); h is the surrogate
derivative at u - 1:

    g_s = g_out + Vᵀ g_D+ - α g_u+ + b g_w+
    g_u = h ⊙ g_s + α g_u+ + a g_w+
    g_w = β g_w+ - (1 - α) g_u
    g_D = (1 - α) g_u

The gradients of the parameters are sums over rows and frames:

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
    """The states after every frame, and as sums (B, T, H) the drive plus the recurrent product."""
    states = walk(leaky_integrate_and_fire, drive, state, parameters)
    if parameters.recurrent is None:
        return Trace(drive, states)
    return Trace(drive + previous(states.output, state.output) @ parameters.recurrent.T, states)


def recursion(gradient: Tensor, slope: Tensor, parameters: Parameters) -> tuple[Tensor, Tensor | None]:
    """g_u and g_w (B, T, H) from the ``gradient`` of the outputs and the ``slope`` h, both (B, T, H).

    Without adaptation g_w is None.
    """
    decay, adaptation_decay, coupling, jump = parameters[:4]
    grad_potentials = torch.empty_like(slope)
    grad_adaptations = None if adaptation_decay is None else torch.empty_like(slope)
    grad_potential, grad_adaptation, fed_back = (torch.zeros_like(slope[:, 0]) for _ in range(3))
    for n in reversed(range(slope.shape[1])):
        kept = decay * grad_potential
        grad_spike = gradient[:, n] + fed_back - kept
        if coupling is not None and jump is not None:
            grad_spike = grad_spike + jump * grad_adaptation
            kept = kept + coupling * grad_adaptation
        grad_potential = slope[:, n] * grad_spike + kept
        grad_potentials[:, n] = grad_potential
        if adaptation_decay is not None and grad_adaptations is not None:
            grad_adaptation = adaptation_decay * grad_adaptation - (1 - decay) * grad_potential
            grad_adaptations[:, n] = grad_adaptation
        if parameters.recurrent is not None:
            fed_back = ((1 - decay) * grad_potential) @ parameters.recurrent
    return grad_potentials, grad_adaptations


def backward(
    gradient: Tensor, trace: Trace, state: State, parameters: Parameters, recursion: Callable = recursion
) -> tuple[Tensor | None, ...]:
    """The gradients of the drive, g_D (B, T, H), and of the parameters in TRAINED, None for those that are None.

    Another backend can give its own ``recursion``.
    """
    states, decay = trace.states, parameters.decay
    slope = parameters.derivative(states.potential - THRESHOLD)
    grad_potential, grad_adaptation = recursion(gradient, slope, parameters)
    potential, output = previous(states.potential, state.potential), previous(states.output, state.output)
    grad_drive, inner = (1 - decay) * grad_potential, trace.sums
    of_adaptation: tuple[Tensor | None, ...] = (None, None, None)
    if grad_adaptation is not None:
        inner = inner - states.adaptation
        before = (previous(states.adaptation, state.adaptation), potential, output)
        of_adaptation = tuple(_total(grad_adaptation, each) for each in before)
    grad_decay = _total(grad_potential, potential - output - inner)
    grad_recurrent = None if parameters.recurrent is None else weight_gradient(grad_drive, output)
    return grad_drive, grad_decay, *of_adaptation, grad_recurrent


def _total(gradient: Tensor, factor: Tensor) -> Tensor:
    """The sum (H,) over rows and frames of the products of both (B, T, H).

    The state of an unstable neuron overflows. Where its gradient is 0, the product 0 · ∞ counts as 0 and not as NaN.
    """
    return torch.where(gradient == 0, 0.0, gradient * factor).sum((0, 1))
