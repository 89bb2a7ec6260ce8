"""Gated spiking neuron with recurrent weights: "improved v2" of Ponghiran & Roy (AAAI 2022, arXiv 2109.01905).

    F[n] = σ(D_f[n] + Uf Y[n-1])                     forget signal
    C[n] = φ(D_c[n] + Uc Y[n-1])                     candidate
    I[n] = F[n] ⊙ I[n-1] + (1 - F[n]) ⊙ C[n] ⊙ m     synaptic current
    V[n] = V[n-1] - Y[n-1] + I[n]                    membrane: what was sent is subtracted, no leak
    Y[n] = Q(V[n])                                   multi-level output (coders.py)

D = BN(W x) is the drive, all frames at once; m a dropout mask that is the same at all steps.
φ is the paper's ReLU, or a clamp to [0, 1] that keeps the current bounded and goes with a fixed range of 1.
Without a coder Y[n] = I[n]: the Li-GRU (Ravanelli et al. 2018), the non-spiking ablation.
Inside the clamp no gradient runs along V; all temporal gradient runs along the gated I (and U).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from snn_asr.coders import Coder, encode

GATES = 2  # blocks of H rows in W and U: forget, candidate
CANDIDATES = ("relu", "clamp")


class State(NamedTuple):
    """Each (B, H); zero at the start."""

    current: Tensor
    membrane: Tensor
    output: Tensor


class Parameters(NamedTuple):
    """``recurrent`` (2H, H) is U; ``mask`` (B, H) or None; ``coder`` None switches the coder off."""

    recurrent: Tensor
    mask: Tensor | None
    coder: Coder | None
    candidate: str


def initial_state(batch: int, size: int, like: Tensor) -> State:
    return State(*(like.new_zeros(batch, size) for _ in State._fields))


def step(drive: Tensor, state: State, parameters: Parameters) -> tuple[Tensor, State]:
    """One frame: drive (B, 2H) to output (B, H). Differentiable; the specification of every kernel."""
    forget, candidate = (drive + state.output @ parameters.recurrent.T).chunk(GATES, dim=-1)
    forget = torch.sigmoid(forget)
    if parameters.candidate == "clamp":
        candidate = functional.hardtanh(candidate, 0.0, 1.0)
    else:
        candidate = torch.relu(candidate)
    if parameters.mask is not None:
        candidate = candidate * parameters.mask
    current = forget * state.current + (1 - forget) * candidate
    if parameters.coder is None:
        return current, State(current, current, current)
    membrane = (state.membrane - state.output) + current
    output = encode(membrane, parameters.coder)
    return output, State(current, membrane, output)
