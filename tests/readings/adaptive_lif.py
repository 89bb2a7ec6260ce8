"""The adaptive leaky integrate-and-fire family (Bittar & Garner 2022): LIF, adLIF, RLIF and RadLIF.

    w[n] = beta w[n-1] + a u[n-1] + b s[n-1]
    u[n] = alpha (u[n-1] - s[n-1]) + (1 - alpha) (BN(W x[n]) + V s[n-1] - w[n])
    s[n] = 1[u[n] > 1]                       slope 1 where |u - 1| <= 0.5, else 0
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from .gated import Gate, valid
from .scalars import Matrix, Sequences, Vector, number, plain, replaced

LOWEST_ALPHA, HIGHEST_ALPHA = math.exp(-1 / 5), math.exp(-1 / 25)
LOWEST_BETA, HIGHEST_BETA = math.exp(-1 / 30), math.exp(-1 / 120)


def held(value: Tensor, lowest: float, highest: float) -> Tensor:
    """Hold a parameter within its limits; the gradient passes inside and at both ends."""
    if lowest <= plain(value) <= highest:
        return value
    return value * 0.0 + min(max(plain(value), lowest), highest)


def spike(membrane: Tensor) -> Tensor:
    """Fire above 1, with a boxcar for a slope."""
    value = plain(membrane)
    return replaced(membrane, 1.0 if value > 1.0 else 0.0, 1.0 if abs(value - 1.0) <= 0.5 else 0.0)


@dataclass
class Neurons:
    """The neurons' own parameters, one each a unit; ``beta``, ``a`` and ``b`` adapt and are None where nothing does.

    ``recurrent[to][from]`` is V; its diagonal is never used. ``stable`` is not of the paper: it raises the
    lower limit of a to beta - 1, below which the membrane runs away; no gradient reaches beta that way.
    """

    alpha: Vector
    beta: Vector | None = None
    a: Vector | None = None
    b: Vector | None = None
    recurrent: Matrix | None = None
    stable: bool = False


def adaptive_lif(inputs: Sequences, lengths: list[int], gate: Gate, neurons: Neurons, training: bool) -> Sequences:
    """Run the layer and give its spikes."""
    terms = gate.term(valid(inputs, lengths), training)
    outputs: Sequences = []
    for row, length in enumerate(lengths):
        membranes, adaptations, spikes = ([number(0.0) for _ in neurons.alpha] for _ in range(3))
        outputs.append([])
        for frame in range(length):
            adaptations = [_adapted(neurons, k, adaptations[k], membranes[k], spikes[k]) for k in range(len(spikes))]
            following = []
            for unit in range(len(spikes)):
                alpha = held(neurons.alpha[unit], LOWEST_ALPHA, HIGHEST_ALPHA)
                drive = terms[row][frame][unit] + _from_others(neurons, unit, spikes) - adaptations[unit]
                following.append(alpha * (membranes[unit] - spikes[unit]) + (1 - alpha) * drive)
            membranes = following
            spikes = [spike(membrane) for membrane in membranes]
            outputs[row].append(spikes)
    return outputs


def _adapted(neurons: Neurons, unit: int, adaptation: Tensor, membrane: Tensor, fired: Tensor) -> Tensor:
    if neurons.beta is None:
        return number(0.0)
    beta = held(neurons.beta[unit], LOWEST_BETA, HIGHEST_BETA)
    a = held(neurons.a[unit], plain(beta) - 1.0 if neurons.stable else -1.0, 1.0)
    b = held(neurons.b[unit], 0.0, 2.0)
    return beta * adaptation + a * membrane + b * fired


def _from_others(neurons: Neurons, unit: int, spikes: Vector) -> Tensor:
    total = number(0.0)
    if neurons.recurrent is None:
        return total
    for other, fired in enumerate(spikes):
        if other != unit:
            total = total + neurons.recurrent[unit][other] * fired
    return total
