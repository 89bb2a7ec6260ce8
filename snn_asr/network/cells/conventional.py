"""The conventional spiking neuron that Ponghiran & Roy compare theirs with (AAAI 2022, arXiv 2109.01905).

    I[n] = τ ⊙ I[n-1] + D[n] ⊙ m          synaptic current
    V[n] = V[n-1] - Y[n-1] + I[n]         membrane: integrate and fire without a leak
    Y[n] = Q(V[n])                        output, a level of the coder (network/coder.py)

D = BN(W x) is the drive and m a dropout mask, which is the same at all frames. Each neuron learns its decay τ, which
starts at 1 and is not bounded. There are no recurrent weights.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from snn_asr.network.coder import AnyCoder, send

GATES = 1
TRAINED = ("decay",)  # the fields of Parameters that learn


class State(NamedTuple):
    """``current`` I, ``membrane`` V and ``output`` Y, each (B, H) and zero at the start."""

    current: Tensor
    membrane: Tensor
    output: Tensor


class Parameters(NamedTuple):
    """``decay`` (H,) is τ. ``mask`` (B, H) is the dropout mask m, or None without dropout. Without a ``coder`` (None)
    the current itself is sent."""

    decay: Tensor
    mask: Tensor | None
    coder: AnyCoder | None


def initial_state(batch: int, size: int, parameters: Parameters, like: Tensor) -> State:
    return State(*(like.new_zeros(batch, size) for _ in State._fields))


def step(drive: Tensor, state: State, parameters: Parameters) -> tuple[Tensor, State]:
    """The output (B, H) and the new state of one frame, from its drive (B, H). Differentiable.

    All kernels of this cell are checked against this function.
    """
    current = parameters.decay * state.current + (drive if parameters.mask is None else drive * parameters.mask)
    output, membrane = send(current, state.membrane, state.output, parameters.coder)
    return output, State(current, membrane, output)
