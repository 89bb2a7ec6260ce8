"""The GRU that Ponghiran & Roy (2022) compare with: batch normalisation, orthogonal U, a mask on the candidate.

    z[n] = σ(D_z[n] + Uz h[n-1])                   update gate
    r[n] = σ(D_r[n] + Ur h[n-1])                   reset gate
    c[n] = tanh(D_c[n] + Uc (r[n] ⊙ h[n-1])) ⊙ m   candidate
    h[n] = z[n] ⊙ h[n-1] + (1 - z[n]) ⊙ c[n]

D = BN(W x) is the drive, without a bias; m is a dropout mask that is the same at all steps. It is PyTorch-Kaldi's GRU
(Ravanelli et al. 2019): unlike torch's it resets what the candidate hears, not the product, and z keeps the old state.
Theirs scales down in evaluation what the mask leaves, ours scales up in training: the next product is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from snn_asr.errors import UsageError

GATES = 3  # blocks of H rows in W and U: update, reset, candidate
TRAINED = ("recurrent",)  # the fields of Parameters that learn
BINARY, SENDS_EVENTS = False, False
UNIT_PRODUCTS = 3  # r h, z h, (1 - z) c


class State(NamedTuple):
    """h (B, H), zero at the start."""

    output: Tensor


class Parameters(NamedTuple):
    """``recurrent`` (3H, H) is U; ``mask`` (B, H) is m, or None."""

    recurrent: Tensor
    mask: Tensor | None = None


@dataclass(frozen=True)
class Options:
    """``recurrent_gain`` scales the orthogonal initialisation of each gate's U; theirs is 1."""

    recurrent_gain: float = 1.0

    def __post_init__(self) -> None:
        if not self.recurrent_gain >= 0:
            raise UsageError(f"recurrent_gain={self.recurrent_gain} must not be negative", "recurrent_gain")


def starting_values(units: int, options: Options) -> dict[str, Tensor]:
    return {"recurrent": orthogonal(GATES, units, options.recurrent_gain)}


def orthogonal(gates: int, units: int, gain: float) -> Tensor:
    """U (gates · H, H): an orthogonal matrix for each gate, times ``gain``."""
    matrices = torch.empty(gates * units, units)
    for each in matrices.chunk(gates):
        nn.init.orthogonal_(each, gain)
    return matrices


def parameters(learned: Mapping[str, Tensor], options: Options) -> Parameters:
    return Parameters(learned["recurrent"])


def initial_state(batch: int, size: int, parameters: Parameters, like: Tensor) -> State:
    return State(like.new_zeros(batch, size))


def step(drive: Tensor, state: State, parameters: Parameters) -> tuple[Tensor, State]:
    """One frame: drive (B, 3H) to output (B, H). Differentiable."""
    (before,), size = state, state.output.shape[-1]
    gates, candidate = drive[..., : 2 * size], drive[..., 2 * size :]
    update, reset = torch.sigmoid(gates + before @ parameters.recurrent[: 2 * size].T).chunk(2, dim=-1)
    candidate = torch.tanh(candidate + (reset * before) @ parameters.recurrent[2 * size :].T)
    if parameters.mask is not None:
        candidate = candidate * parameters.mask
    output = update * before + (1 - update) * candidate
    return output, State(output)
