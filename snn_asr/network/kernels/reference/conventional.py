"""The conventional layer in plain PyTorch: the recursion of gated.py with F = τ, no gates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from snn_asr.network.cells import conventional
from snn_asr.network.cells.conventional import Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.reference import gated, previous, walk


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    return Trace(drive, walk(conventional, drive, state, parameters))


def backward(
    gradient: Tensor, trace: Trace, state: State, parameters: Parameters, recursion: Callable = gated.recursion
) -> tuple[Tensor, Tensor]:
    """Gradients of the drive, g_I m, and of τ, the sum of g_I ⊙ I[n-1]; another backend passes its own recursion."""
    decay = parameters.decay.expand_as(gradient)
    given = gated.Factors(torch.ones_like(gradient), decay, gated.inside(trace, parameters))
    current, _ = recursion(gradient, given, None, 0.0)
    to_decay = (current * previous(trace.states.current, state.current)).sum((0, 1))
    return (current if parameters.mask is None else current * parameters.mask.unsqueeze(1)), to_decay
