"""The GRU that sends changes, in plain PyTorch (cells/delta_gru.py).

The backward walks the frames once more in reverse (g_x is the gradient with respect to x, "+" the next frame, "-" the
one before):

    g_ŷ = g_out + Uᵀ g_M+
    g_h = g_ŷ + z+ ⊙ g_h+                                        straight-through
    g_Dz = g_h ⊙ (h- - c) ⊙ z (1 - z),   g_Dc = g_h ⊙ (1 - z) ⊙ (1 - c²),   g_Dr = g_Dc ⊙ M_c ⊙ r (1 - r)
    g_M = (g_Dr, g_Dz, r ⊙ g_Dc)

The factors that do not depend on a gradient are computed for all frames at once, before the recursion.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snn_asr.network.cells import delta_gru
from snn_asr.network.cells.delta_gru import GATES, Parameters, State
from snn_asr.network.kernels import Trace
from snn_asr.network.kernels.reference import previous, walk, weight_gradient


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """The sums are what σ, σ and tanh are applied to."""
    states = walk(delta_gru, drive, state, parameters)
    reset, update, candidate = drive.chunk(GATES, dim=-1)
    to_reset, to_update, to_candidate = states.memory.chunk(GATES, dim=-1)
    reset = reset + to_reset
    candidate = candidate + torch.sigmoid(reset) * to_candidate
    return Trace(torch.cat([reset, update + to_update, candidate], dim=-1), states)


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> tuple[Tensor, Tensor]:
    """Gradients of the drive and of U."""
    reset, update, candidate = trace.sums.chunk(GATES, dim=-1)
    reset, update, candidate = torch.sigmoid(reset), torch.sigmoid(update), torch.tanh(candidate)
    memory = trace.states.memory.chunk(GATES, dim=-1)[-1]
    to_update = (previous(trace.states.hidden, state.hidden) - candidate) * update * (1 - update)
    to_candidate = (1 - update) * (1 - candidate**2)
    to_reset = to_candidate * memory * reset * (1 - reset)
    factors = torch.cat([to_reset, to_update, to_candidate], dim=-1)
    back = torch.cat([to_reset, to_update, to_candidate * reset], dim=-1)
    drive, feedback = torch.empty_like(factors), torch.empty_like(back)
    hidden, output = torch.zeros_like(gradient[:, 0]), torch.zeros_like(gradient[:, 0])
    for n in reversed(range(gradient.shape[1])):
        hidden = hidden + gradient[:, n] + output
        each = hidden.repeat(1, GATES)
        drive[:, n], feedback[:, n] = each * factors[:, n], each * back[:, n]
        hidden = hidden * update[:, n]
        output = feedback[:, n] @ parameters.recurrent
    return drive, weight_gradient(feedback, received(trace, state))


def received(trace: Trace, state: State) -> Tensor:
    """What the memories of this call have received at each frame (B, T, H): M[n] - M before it is U times this."""
    return previous(trace.states.output, state.output) - (state.output - state.change).unsqueeze(1)
