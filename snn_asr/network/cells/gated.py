"""Gated spiking neurons, "improved inherent recurrence" v1 and v2 (Ponghiran & Roy, AAAI 2022, arXiv 2109.01905).

    F[n] = σ(D_f[n] + Uf Y[n-1])                     forget signal
    C[n] = φ(D_c[n] + Uc Y[n-1])                     candidate
    I[n] = F[n] ⊙ I[n-1] + (1 - F[n]) ⊙ C[n] ⊙ m     synaptic current
    V[n] = V[n-1] - Y[n-1] + I[n]                    membrane: integrate and fire without a leak
    Y[n] = Q(V[n])                                   output, a level of the coder (network/coder.py)

These are the equations of v2; v1 has no recurrent weights U. D = BN(W x) is the drive, which is computed for all frames
at once, and m a dropout mask, which is the same at all frames. φ is the ReLU of the paper, or a clamp to [0, 1], which
keeps the current bounded and suits a coder with a fixed range of 1. Without a coder Y[n] = I[n], and v2 is the Li-GRU
(Ravanelli et al. 2018): the same network without spikes.

While V lies within the range of the coder, no gradient runs from one membrane to the next: what is sent is subtracted,
and the two gradients cancel. All gradient through time runs along the gated current I, and through U.

Two extensions are not in the paper:

- With ``smoothing`` a above 0 a leaky integrator takes the place of the recurrent product U Y[n-1]: R[n] = a R[n-1] +
  (1 - a) U Y[n-1]. It averages the rounding noise of single events, and still multiplies only events.
- With ``shifting`` 1 - F is rounded to the nearest power of two, so that I + (1 - F) ⊙ (C ⊙ m - I) needs a shift in
  place of a product. The gradient of F stays that of σ, as if nothing had been rounded.
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
NEAREST = 4 / 3  # times this and rounded down, numbers below 3/2 of a power of two become that power
TRAINED = ("recurrent",)  # the fields of Parameters that learn


class State(NamedTuple):
    """``current`` I, ``membrane`` V and ``output`` Y (B, H each), and ``feedback``, the smoothed recurrent product R
    (B, 2H), which is (B, 0) without smoothing. All are zero at the start."""

    current: Tensor
    membrane: Tensor
    feedback: Tensor
    output: Tensor


class Parameters(NamedTuple):
    """``recurrent`` (2H, H) is U, or None in v1. ``mask`` (B, H) is the dropout mask m, or None without dropout.
    Without a ``coder`` (None) the current itself is sent. ``candidate``, one of CANDIDATES, names φ; ``smoothing`` is
    a, and ``shifting`` rounds 1 - F to powers of two."""

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
    """F (any shape) after 1 - F has been rounded to the nearest power of two; F = 1 stays. No gradient."""
    return 1 - power_below((1 - forget.detach()) * NEAREST)


def step(drive: Tensor, state: State, parameters: Parameters) -> tuple[Tensor, State]:
    """The output (B, H) and the new state of one frame, from its drive (B, 2H). Differentiable.

    All kernels of this cell are checked against this function.
    """
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
