"""The GRU that Ponghiran & Roy (2022) compare their networks with.

    z[n] = σ(D_z[n] + Uz h[n-1])                   update gate
    r[n] = σ(D_r[n] + Ur h[n-1])                   reset gate
    c[n] = tanh(D_c[n] + Uc (r[n] ⊙ h[n-1])) ⊙ m   candidate
    h[n] = z[n] ⊙ h[n-1] + (1 - z[n]) ⊙ c[n]

D = BN(W x) is the drive, a batch-normalised product without a bias. Each gate's recurrent weights U start as an
orthogonal matrix. m is a dropout mask, which is the same at all frames.

This is the GRU of PyTorch-Kaldi (Ravanelli et al. 2019). Unlike in torch's GRU, the reset gate acts on the old output
before it is multiplied by Uc, and not on the product. As in torch's, the update gate z keeps the old state.
PyTorch-Kaldi scales the candidate down in evaluation, to make up for the units that the mask drops in training; here
the mask scales it up in training instead. The product in the next layer is the same.
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
UNIT_PRODUCTS = 2  # multiplications of a unit at a frame: r h and z (h - c)


class State(NamedTuple):
    """The output h (B, H), which is zero at the start."""

    output: Tensor


class Parameters(NamedTuple):
    """``recurrent`` (3H, H) is U. ``mask`` (B, H) is the dropout mask m, or None without dropout."""

    recurrent: Tensor
    mask: Tensor | None = None


@dataclass(frozen=True)
class Options:
    """``recurrent_gain`` scales the orthogonal matrix that each gate's U starts with. PyTorch-Kaldi's gain is 1."""

    recurrent_gain: float = 1.0

    def __post_init__(self) -> None:
        if not self.recurrent_gain >= 0:
            raise UsageError(f"recurrent_gain={self.recurrent_gain} must not be negative", "recurrent_gain")


def starting_values(units: int, options: Options) -> dict[str, Tensor]:
    """What the cell learns, by name, as it is before training."""
    return {"recurrent": orthogonal(GATES, units, options.recurrent_gain)}


def orthogonal(gates: int, units: int, gain: float) -> Tensor:
    """Recurrent weights (gates · H, H): for each gate a random orthogonal matrix, times ``gain``."""
    matrices = torch.empty(gates * units, units)
    for each in matrices.chunk(gates):
        nn.init.orthogonal_(each, gain)
    return matrices


def parameters(learned: Mapping[str, Tensor], options: Options) -> Parameters:
    """What ``step`` takes, from what has been learned so far."""
    return Parameters(learned["recurrent"])


def initial_state(batch: int, size: int, parameters: Parameters, like: Tensor) -> State:
    return State(like.new_zeros(batch, size))


def step(drive: Tensor, state: State, parameters: Parameters) -> tuple[Tensor, State]:
    """The output (B, H) and the new state of one frame, from its drive (B, 3H). Differentiable."""
    (before,), size = state, state.output.shape[-1]
    gates, candidate = drive[..., : 2 * size], drive[..., 2 * size :]
    update, reset = torch.sigmoid(gates + before @ parameters.recurrent[: 2 * size].T).chunk(2, dim=-1)
    candidate = torch.tanh(candidate + (reset * before) @ parameters.recurrent[2 * size :].T)
    if parameters.mask is not None:
        candidate = candidate * parameters.mask
    output = update * before + (1 - update) * candidate
    return output, State(output)
