"""The LSTM that Ponghiran & Roy (2022) compare their networks with.

    f, i, o = σ(D[n] + U h[n-1])              forget, input and output gate
    g = tanh(D_g[n] + Ug h[n-1]) ⊙ m          candidate
    c[n] = f ⊙ c[n-1] + i ⊙ g                 cell
    h[n] = o ⊙ tanh(c[n])                     output

D = BN(W x) is the drive, a batch-normalised product without a bias. Each gate's recurrent weights U start as an
orthogonal matrix. m is a dropout mask, which is the same at all frames. This is the LSTM of PyTorch-Kaldi (Ravanelli et
al. 2019).
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
UNIT_PRODUCTS = 3  # multiplications of a unit at a frame: f c, i g and o tanh(c)

__all__ = ["Options", "Parameters", "State", "initial_state", "parameters", "starting_values", "step"]


class State(NamedTuple):
    """``cell`` c and ``output`` h, each (B, H) and zero at the start."""

    cell: Tensor
    output: Tensor


def starting_values(units: int, options: Options) -> dict[str, Tensor]:
    """What the cell learns, by name, as it is before training."""
    return {"recurrent": orthogonal(GATES, units, options.recurrent_gain)}


def parameters(learned: Mapping[str, Tensor], options: Options) -> Parameters:
    """What ``step`` takes, from what has been learned so far."""
    return Parameters(learned["recurrent"])


def initial_state(batch: int, size: int, parameters: Parameters, like: Tensor) -> State:
    return State(like.new_zeros(batch, size), like.new_zeros(batch, size))


def step(drive: Tensor, state: State, parameters: Parameters) -> tuple[Tensor, State]:
    """The output (B, H) and the new state of one frame, from its drive (B, 4H). Differentiable."""
    forget, admit, emit, candidate = (drive + state.output @ parameters.recurrent.T).chunk(GATES, dim=-1)
    candidate = torch.tanh(candidate)
    if parameters.mask is not None:
        candidate = candidate * parameters.mask
    cell = torch.sigmoid(forget) * state.cell + torch.sigmoid(admit) * candidate
    output = torch.sigmoid(emit) * torch.tanh(cell)
    return output, State(cell, output)
