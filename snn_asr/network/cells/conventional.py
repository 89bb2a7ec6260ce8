"""The conventional spiking neuron that Ponghiran & Roy compare with (AAAI 2022, arXiv 2109.01905).

    I[n] = τ ⊙ I[n-1] + D[n] ⊙ m          synaptic current
    Y[n] = Q(V[n])                        coder.py: V[n] = V[n-1] - Y[n-1] + I[n]

τ is learned per neuron, starts at 1 and is not bounded; no recurrent weights. D = BN(W x) is the drive, m a dropout
mask that is the same at all steps.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from snn_asr.network.coder import AnyCoder, send

GATES = 1
TRAINED = ("decay",)  # the fields of Parameters that learn


class State(NamedTuple):
    """Each (B, H); zero at the start."""

    current: Tensor
    membrane: Tensor
    output: Tensor


class Parameters(NamedTuple):
    """``decay`` (H,) is τ; ``mask`` (B, H) or None; ``coder`` None switches the coder off."""

    decay: Tensor
    mask: Tensor | None
    coder: AnyCoder | None


def initial_state(batch: int, size: int, parameters: Parameters, like: Tensor) -> State:
    return State(*(like.new_zeros(batch, size) for _ in State._fields))


def step(drive: Tensor, state: State, parameters: Parameters) -> tuple[Tensor, State]:
    """One frame: drive (B, H) to output (B, H). Differentiable; the specification of every kernel."""
    current = parameters.decay * state.current + (drive if parameters.mask is None else drive * parameters.mask)
    output, membrane = send(current, state.membrane, state.output, parameters.coder)
    return output, State(current, membrane, output)
