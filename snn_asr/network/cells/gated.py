"""Gated spiking neurons, "improved inherent recurrence" v1 and v2 (Ponghiran & Roy, AAAI 2022, arXiv 2109.01905).

    F[n] = σ(D_f[n] + Uf Y[n-1])                     forget signal
    C[n] = φ(D_c[n] + Uc Y[n-1])                     candidate
    I[n] = F[n] ⊙ I[n-1] + (1 - F[n]) ⊙ C[n] ⊙ m     synaptic current
    Y[n] = Q(V[n])                                   coder.py: V[n] = V[n-1] - Y[n-1] + I[n]

v2 is as written; v1 has no recurrent weights U. D = BN(W x) is the drive, all frames at once; m a dropout mask that is
the same at all steps. φ is the paper's ReLU, or a clamp to [0, 1] that keeps the current bounded and goes with a fixed
range of 1. Without a coder Y[n] = I[n]: the Li-GRU (Ravanelli et al. 2018), the non-spiking ablation of v2.
Inside the coder's clamp no gradient runs along V; all temporal gradient runs along the gated I (and U).

With ``smoothing`` a above 0 the recurrent product passes through a leaky integrator, R[n] = a R[n-1] + (1 - a) U Y[n-1]
in place of U Y[n-1]: still event-driven, and the rounding noise of single events is averaged. Not in the paper.

With ``shifting`` 1 - F is the power of two nearest to σ(-D_f - Uf Y), so that I + (1 - F) ⊙ (C ⊙ m - I) takes a shift
and no product; the gradient is that of σ, straight through the rounding. Not in the paper either.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from snn_asr.network.coder import AnyCoder, power_below, send, with_straight_gradient
from snn_asr.network.coder_settings import POWERS_OF_TWO

GATES = 2  # blocks of H rows in W and U: forget, candidate
CANDIDATES = ("relu", "clamp")
GATE_LEVELS = ("smooth", POWERS_OF_TWO)
NEAREST = 4 / 3  # times this, numbers up to 3/2 of a power of two lie below the next one
TRAINED = ("recurrent",)  # the fields of Parameters that learn


class State(NamedTuple):
    """Each (B, H), zero at the start; ``feedback`` R is (B, 2H), or (B, 0) where no product is smoothed."""

    current: Tensor
    membrane: Tensor
    feedback: Tensor
    output: Tensor


class Parameters(NamedTuple):
    """``recurrent`` (2H, H) is U, None in v1; ``mask`` (B, H) or None; ``coder`` None switches the coder off."""

    recurrent: Tensor | None
    mask: Tensor | None
    coder: AnyCoder | None
    candidate: str
    smoothing: float = 0.0
    shifting: bool = False


def initial_state(batch: int, size: int, parameters: Parameters, like: Tensor) -> State:
    zeros = like.new_zeros(batch, size)
    return State(zeros, zeros, like.new_zeros(batch, GATES * size if parameters.smoothing else 0), zeros)


def to_shifts(forget: Tensor) -> Tensor:
    """F whose 1 - F is the nearest power of two, without gradient; F = 1 stays."""
    return 1 - power_below((1 - forget.detach()) * NEAREST)


def step(drive: Tensor, state: State, parameters: Parameters) -> tuple[Tensor, State]:
    """One frame: drive (B, 2H) to output (B, H). Differentiable; the specification of every kernel."""
    feedback = state.feedback
    if parameters.recurrent is not None:
        product = state.output @ parameters.recurrent.T
        if parameters.smoothing:
            product = feedback = torch.lerp(product, feedback, parameters.smoothing)
        drive = drive + product
    forget, candidate = drive.chunk(GATES, dim=-1)
    forget = torch.sigmoid(forget)
    if parameters.shifting:
        forget = with_straight_gradient(forget, to_shifts(forget))
    candidate = functional.hardtanh(candidate, 0.0, 1.0) if parameters.candidate == "clamp" else torch.relu(candidate)
    if parameters.mask is not None:
        candidate = candidate * parameters.mask
    current = forget * state.current + (1 - forget) * candidate
    output, membrane = send(current, state.membrane, state.output, parameters.coder)
    return output, State(current, membrane, feedback, output)
