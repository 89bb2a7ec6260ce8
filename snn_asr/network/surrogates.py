"""Spikes, and surrogate gradients: the derivatives that the backward takes in place of that of the step function.

    s = 1[u > 0],   ds/du := derivative(u)

Each derivative is that of a smooth (or piecewise linear) step, named in its docstring. u has any shape; it is the
distance of a membrane, or of a pre-activation, from its threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from snn_asr.errors import UsageError, unknown_name

Derivative = Callable[[Tensor], Tensor]


def straight_through(u: Tensor, width: float) -> Tensor:
    """1 everywhere, whatever the width: the derivative of u itself (Bengio et al. 2013)."""
    return torch.ones_like(u)


def gaussian(u: Tensor, width: float, area_width: float | None = None) -> Tensor:
    """exp(-u²/α)/√(πα), α = ``width``: of (1 + erf(u/√α))/2 (Lotfi Rezaabad & Vishwanath 2020).

    ``area_width`` replaces α under the root, which scales the whole by √(α/area_width).
    """
    return torch.exp(-(u**2) / width) / math.sqrt(math.pi * (area_width or width))


def boxcar(u: Tensor, width: float) -> Tensor:
    """1 where |u| <= ``width``: of u clamped to ±width (Bittar & Garner 2022, with width 0.5)."""
    return (u.abs() <= width).to(u)


def atan(u: Tensor, width: float) -> Tensor:
    """(α/2) / (1 + (παu/2)²), α = 1/``width``: of atan(παu/2)/π + 1/2 (Fang et al. 2021, with α = 2)."""
    slope = 1 / width
    return slope / 2 / (1 + (math.pi * slope * u / 2) ** 2)


def fast_sigmoid(u: Tensor, width: float) -> Tensor:
    """1 / (1 + |u|/width)²: of u / (1 + |u|/width) (Zenke & Ganguli 2018)."""
    return 1 / (1 + u.abs() / width) ** 2


SURROGATES: dict[str, Callable[..., Tensor]] = {
    each.__name__: each for each in (straight_through, gaussian, boxcar, atan, fast_sigmoid)
}


def choose(name: str, width: float, **options: float) -> Derivative:
    """The derivative ``name`` with its width. Raises UsageError for an unknown name or a width that is not positive."""
    if name not in SURROGATES:
        raise unknown_name("surrogate", name, SURROGATES)
    if not width > 0:
        raise UsageError(f"width {width} of the surrogate must be positive", name)
    return partial(SURROGATES[name], width=width, **options)


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, derivative: Derivative) -> Tensor:
        ctx.save_for_backward(u)
        ctx.derivative = derivative
        return (u > 0).to(u)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return gradient * ctx.derivative(u), None


def spike(u: Tensor, derivative: Derivative) -> Tensor:
    """1 where u > 0, else 0, with ``derivative(u)`` as its derivative."""
    return _Spike.apply(u, derivative)
