"""The GRU that sends changes, in plain PyTorch (cells/delta_gru.py).

The backward pass goes through the frames in reverse (reference/__init__.py explains the signs):

    g_ŷ = g_out + Uᵀ g_M+
    g_h = g_ŷ + z+ ⊙ g_h+                                        straight through the threshold
    g_Dz = g_h ⊙ (h- - c) ⊙ z (1 - z),   g_Dc = g_h ⊙ (1 - z) ⊙ (1 - c²),   g_Dr = g_Dc ⊙ M_c ⊙ r (1 - r)
    g_M = (g_Dr, g_Dz, r ⊙ g_Dc)

Factors that do not depend on a gradient are computed for all frames at once, before the recursion.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snn_asr.network.cells import delta_gru
from snn_asr.network.cells.delta_gru import GATES, Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.reference import previous, walk, weight_gradient


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The states after every frame, and as sums (B, T, 3H) the arguments of the functions σ, σ and tanh of the gates.
    """
    states = walk(delta_gru, drive, state, parameters)
    reset, update, candidate = drive.chunk(GATES, dim=-1)
    to_reset, to_update, to_candidate = states.memory.chunk(GATES, dim=-1)
    reset = reset + to_reset
    candidate = candidate + torch.sigmoid(reset) * to_candidate
    return Trace(torch.cat([reset, update + to_update, candidate], dim=-1), states)


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor, Tensor]:
    """The gradients of the drive, g_D (B, T, 3H), and of U (3H, H)."""
    reset, update, candidate = trace.sums.chunk(GATES, dim=-1)
    reset, update, candidate = torch.sigmoid(reset), torch.sigmoid(update), torch.tanh(candidate)
    memory = trace.states.memory.chunk(GATES, dim=-1)[-1]
    update_factor = (previous(trace.states.hidden, state.hidden) - candidate) * update * (1 - update)
    candidate_factor = (1 - update) * (1 - candidate**2)
    reset_factor = candidate_factor * memory * reset * (1 - reset)
    drive_factors = torch.cat([reset_factor, update_factor, candidate_factor], dim=-1)
    memory_factors = torch.cat([reset_factor, update_factor, candidate_factor * reset], dim=-1)
    grad_drive, grad_memory = torch.empty_like(drive_factors), torch.empty_like(memory_factors)
    grad_hidden, fed_back = torch.zeros_like(gradient[:, 0]), torch.zeros_like(gradient[:, 0])
    for n in reversed(range(gradient.shape[1])):
        grad_hidden = grad_hidden + gradient[:, n] + fed_back
        of_each_gate = grad_hidden.repeat(1, GATES)
        grad_drive[:, n], grad_memory[:, n] = of_each_gate * drive_factors[:, n], of_each_gate * memory_factors[:, n]
        grad_hidden = grad_hidden * update[:, n]
        fed_back = grad_memory[:, n] @ parameters.recurrent
    return grad_drive, weight_gradient(grad_memory, received(trace, state))


def received(trace: Trace, state: State) -> Tensor:
    """What the memories of this call have received up to each frame (B, T, H): U times it is the M that was added."""
    return previous(trace.states.output, state.output) - (state.output - state.change).unsqueeze(1)
