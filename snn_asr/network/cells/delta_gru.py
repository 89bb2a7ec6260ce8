"""The gated recurrent unit of a delta network, whose units send only changes (Neil et al. 2017, arXiv 1612.05571).

    M[n] = M[n-1] + U Δ[n-1]                          memory: the recurrent products of all three gates, summed up
    r[n] = σ(D_r[n] + M_r[n])                         reset gate
    z[n] = σ(D_z[n] + M_z[n])                         update gate
    c[n] = tanh(D_c[n] + r[n] ⊙ M_c[n])               candidate
    h[n] = z[n] ⊙ h[n-1] + (1 - z[n]) ⊙ c[n]
    ŷ[n] = h[n] where |h[n] - ŷ[n-1]| > Θ, else ŷ[n-1]
    Δ[n] = ŷ[n] - ŷ[n-1]                              what the next layer and the layer itself receive

ŷ is the held output: the value that the unit has told the others. It is set to h only when h has moved away from it by
more than the threshold Θ, and Δ is 0 at all other frames.

D = W x̂ + b, or BN(W x̂), is the drive. The inputs x̂ are held in the same way, by the layer below or by features that
are coded as changes (network/input_coding.py). The authors sum up W Δx̂ in the memories as well; that sum is W x̂.
With Θ = 0 this is torch's GRU, except that torch's candidate has a second bias, inside the product with r.

The threshold also applies in training. Its gradient is straight-through (network/changes.py): dŷ[n]/dh[n] = 1. Since
the changes Δ add up to ŷ again, the gradient of M[n] reaches ŷ[n-1] directly through Uᵀ, and no earlier frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from snn_asr.network.changes import hold

GATES = 3  # blocks of H rows in W and U: reset, update, candidate, in torch's order
TRAINED = ("recurrent",)  # the fields of Parameters that learn


class State(NamedTuple):
    """``memory`` M (B, 3H), ``hidden`` h, ``change`` Δ and ``output`` ŷ (B, H each). All are zero at the start."""

    memory: Tensor
    hidden: Tensor
    change: Tensor
    output: Tensor


class Parameters(NamedTuple):
    """``recurrent`` (3H, H) is U, and ``threshold`` is Θ."""

    recurrent: Tensor
    threshold: float


def initial_state(batch: int, size: int, parameters: Parameters, like: Tensor) -> State:
    zeros = like.new_zeros(batch, size)
    return State(like.new_zeros(batch, GATES * size), zeros, zeros, zeros)


def step(drive: Tensor, state: State, parameters: Parameters) -> tuple[Tensor, State]:
    """The output (B, H) and the new state of one frame, from its drive (B, 3H). Differentiable.

    All kernels of this cell are checked against this function.
    """
    memory = state.memory + state.change @ parameters.recurrent.T
    reset, update, candidate = drive.chunk(GATES, dim=-1)
    to_reset, to_update, to_candidate = memory.chunk(GATES, dim=-1)
    update = torch.sigmoid(update + to_update)
    candidate = torch.tanh(candidate + torch.sigmoid(reset + to_reset) * to_candidate)
    hidden = candidate + update * (state.hidden - candidate)
    output = hold(hidden, state.output, parameters.threshold)
    return output, State(memory, hidden, output - state.output, output)
