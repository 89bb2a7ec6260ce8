"""The LSTM that Ponghiran & Roy (2022) compare with: batch normalisation, orthogonal U, a mask on the candidate.

    f, i, o = σ(D[n] + U h[n-1])              forget, input and output gate
    g = tanh(D_g[n] + Ug h[n-1]) ⊙ m          candidate
    c[n] = f ⊙ c[n-1] + i ⊙ g                 cell
    h[n] = o ⊙ tanh(c[n])                     output

D = BN(W x) is the drive, without a bias; m is a dropout mask that is the same at all steps. It is PyTorch-Kaldi's LSTM
(Ravanelli et al. 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from snn_asr.network.cells.bn_gru import Options, Parameters, orthogonal

GATES = 4  # blocks of H rows in W and U: forget, input, output, candidate
TRAINED = ("recurrent",)  # the fields of Parameters that learn
BINARY, SENDS_EVENTS = False, False
UNIT_PRODUCTS = 3  # f c, i g, o tanh(c)

__all__ = ["Options", "Parameters", "State", "initial_state", "parameters", "starting_values", "step"]


class State(NamedTuple):
    """Each (B, H), zero at the start: c and h."""

    cell: Tensor
    output: Tensor


def starting_values(units: int, options: Options) -> dict[str, Tensor]:
    return {"recurrent": orthogonal(GATES, units, options.recurrent_gain)}


def parameters(learned: Mapping[str, Tensor], options: Options) -> Parameters:
    return Parameters(learned["recurrent"])


def initial_state(batch: int, size: int, parameters: Parameters, like: Tensor) -> State:
    return State(like.new_zeros(batch, size), like.new_zeros(batch, size))


def step(drive: Tensor, state: State, parameters: Parameters) -> tuple[Tensor, State]:
    """One frame: drive (B, 4H) to output (B, H). Differentiable."""
    forget, admit, emit, candidate = (drive + state.output @ parameters.recurrent.T).chunk(GATES, dim=-1)
    candidate = torch.tanh(candidate)
    if parameters.mask is not None:
        candidate = candidate * parameters.mask
    cell = torch.sigmoid(forget) * state.cell + torch.sigmoid(admit) * candidate
    output = torch.sigmoid(emit) * torch.tanh(cell)
    return output, State(cell, output)
