"""The conventional layer in plain PyTorch (cells/conventional.py).

Its backward pass is the recursion of the gated layers (gated.py) with F = τ and without gates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snn_asr.network.cells import conventional
from snn_asr.network.cells.conventional import Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.reference import gated, previous, walk


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The states after every frame. The drive (B, T, H) itself is the sums, as there is no recurrent product."""
    return Trace(drive, walk(conventional, drive, state, parameters))


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor, Tensor]:
    """The gradients of the drive, g_D = g_I ⊙ m (B, T, H), and of the decay, g_τ = Σ g_I ⊙ I- (H,)."""
    decay = parameters.decay.expand_as(gradient)
    factors = gated.Factors(torch.ones_like(gradient), decay, gated.inside(trace, parameters))
    grad_current, _ = gated.recursion(gradient, factors, None, 0.0)
    grad_decay = (grad_current * previous(trace.states.current, state.current)).sum((0, 1))
    grad_drive = grad_current if parameters.mask is None else grad_current * parameters.mask.unsqueeze(1)
    return grad_drive, grad_decay
