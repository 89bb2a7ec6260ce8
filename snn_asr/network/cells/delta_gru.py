"""The gated recurrent unit of a delta network (Neil et al. 2017, arXiv 1612.05571): units send changes alone.

    M[n] = M[n-1] + U Δ[n-1]                          memory of the recurrent products, all three gates
    r[n] = σ(D_r[n] + M_r[n])                         reset gate
    z[n] = σ(D_z[n] + M_z[n])                         update gate
    c[n] = tanh(D_c[n] + r[n] ⊙ M_c[n])               candidate
    h[n] = z[n] ⊙ h[n-1] + (1 - z[n]) ⊙ c[n]
    ŷ[n] = h[n] where |h[n] - ŷ[n-1]| > Θ, else ŷ[n-1]
    Δ[n] = ŷ[n] - ŷ[n-1]                              what is sent, up and back: 0 where little has changed

D = W x̂ + b, or BN(W x̂), is the drive, of inputs that are held as the outputs ŷ are; a layer below, and features that
are coded as changes (input_coding.py), hold theirs. The authors accumulate W Δx̂ in the memories too; that sum is W x̂.
With Θ = 0 it is torch's GRU whose new gate has no bias of its own behind U.

The threshold is there in training, and its gradient is straight-through (changes.py): dŷ[n]/dh[n] = 1. All gradients
through Δ then telescope: those of M[n] reach ŷ[n-1] through Uᵀ alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from snn_asr.network.changes import hold

GATES = 3  # blocks of H rows in W and U: reset, update, candidate, in torch's order
TRAINED = ("recurrent",)  # the fields of Parameters that learn


class State(NamedTuple):
    """M (B, 3H), h, Δ and ŷ, each (B, H); zero at the start."""

    memory: Tensor
    hidden: Tensor
    change: Tensor
    output: Tensor


class Parameters(NamedTuple):
    """``recurrent`` (3H, H) is U, ``threshold`` Θ."""

    recurrent: Tensor
    threshold: float


def initial_state(batch: int, size: int, parameters: Parameters, like: Tensor) -> State:
    zeros = like.new_zeros(batch, size)
    return State(like.new_zeros(batch, GATES * size), zeros, zeros, zeros)


def step(drive: Tensor, state: State, parameters: Parameters) -> tuple[Tensor, State]:
    """One frame: drive (B, 3H) to output (B, H). Differentiable; the specification of every kernel."""
    memory = state.memory + state.change @ parameters.recurrent.T
    reset, update, candidate = drive.chunk(GATES, dim=-1)
    to_reset, to_update, to_candidate = memory.chunk(GATES, dim=-1)
    update = torch.sigmoid(update + to_update)
    candidate = torch.tanh(candidate + torch.sigmoid(reset + to_reset) * to_candidate)
    hidden = candidate + update * (state.hidden - candidate)
    output = hold(hidden, state.output, parameters.threshold)
    return output, State(memory, hidden, output - state.output, output)
