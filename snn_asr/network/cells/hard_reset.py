"""Leaky integrate-and-fire with a hard reset: the neuron that other simulators and the NIR format have.

    u[n] = α u[n-1] (1 - s[n-1]) + (1 - α) (g D[n] + V s[n-1])      potential; after a spike it starts from 0
    s[n] = 1[u[n] > 1]                                              spike

D = BN(W x) is the drive, g a constant gain, and V are the recurrent weights, if there are any. Each neuron learns its
decay α. In continuous time the potential follows τ du/dt = -u + I with τ = dt / (1 - α), where dt is the time of a
frame (Pedersen et al. 2024, "Neuromorphic intermediate representation").

A spike has no derivative; a surrogate of u - 1 takes its place in the backward pass. As in
cells/leaky_integrate_and_fire.py, α is clamped to time constants of 5 to 25 frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from typing import NamedTuple

import torch
from torch import Tensor, nn

from snn_asr.errors import UsageError
from snn_asr.network import surrogates
from snn_asr.network.surrogates import Derivative, spike

GATES = 1
TRAINED = ("decay", "recurrent")  # the fields of Parameters that learn
NEURONS = ("decay",)  # the fields of Parameters with one value for each unit
BINARY = True
UNIT_PRODUCTS = 2  # multiplications of a unit at a frame: by α, and by 1 - α
DECAYS = (exp(-1 / 5), exp(-1 / 25))  # the interval of α
THRESHOLD = 1.0


class State(NamedTuple):
    """``potential`` u and ``output`` s, each (B, H) and zero at the start."""

    potential: Tensor
    output: Tensor


class Parameters(NamedTuple):
    """``decay`` (H,) is α, ``recurrent`` (H, H) is V or None, and ``gain`` is g. ``derivative`` is the surrogate
    derivative of the spike, a function of u - 1."""

    decay: Tensor
    recurrent: Tensor | None
    gain: float
    derivative: Derivative


@dataclass(frozen=True)
class Options:
    """``recurrent`` says whether there are recurrent weights. ``surrogate`` and ``surrogate_width`` choose the
    derivative of the spike (network/surrogates.py). ``drive_gain`` is g: with a gain of 1 a normalised drive would
    hardly reach the threshold."""

    recurrent: bool = True
    surrogate: str = "atan"
    surrogate_width: float = 0.5
    drive_gain: float = 4.0

    def __post_init__(self) -> None:
        surrogates.choose(self.surrogate, self.surrogate_width)
        if not self.drive_gain > 0:
            raise UsageError(f"drive_gain={self.drive_gain} must be positive", "drive_gain")


def starting_values(units: int, options: Options) -> dict[str, Tensor]:
    """What the cell learns, by name, as it is before training."""
    low, high = DECAYS
    values = {"decay": low + (high - low) * torch.rand(units)}
    if options.recurrent:
        values["recurrent"] = nn.init.orthogonal_(torch.empty(units, units))
    return values


def parameters(learned: Mapping[str, Tensor], options: Options) -> Parameters:
    """What ``step`` takes, from what has been learned so far."""
    derivative = surrogates.choose(options.surrogate, options.surrogate_width)
    return Parameters(learned["decay"].clamp(*DECAYS), learned.get("recurrent"), options.drive_gain, derivative)


def initial_state(batch: int, size: int, parameters: Parameters, like: Tensor) -> State:
    return State(*(like.new_zeros(batch, size) for _ in State._fields))


def step(drive: Tensor, state: State, parameters: Parameters) -> tuple[Tensor, State]:
    """The output (B, H) and the new state of one frame, from its drive (B, H). Differentiable."""
    current = parameters.gain * drive
    if parameters.recurrent is not None:
        current = current + state.output @ parameters.recurrent.T
    kept = state.potential * (1 - state.output)
    potential = parameters.decay * kept + (1 - parameters.decay) * current
    output = spike(potential - THRESHOLD, parameters.derivative)
    return output, State(potential, output)
