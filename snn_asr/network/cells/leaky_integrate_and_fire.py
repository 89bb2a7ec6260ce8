"""Leaky integrate-and-fire neurons, with or without adaptation and recurrence (Bittar & Garner 2022; in speech
recognition arXiv 2212.01187).

    w[n] = β w[n-1] + a u[n-1] + b s[n-1]                                     adaptation
    u[n] = α (u[n-1] - s[n-1]) + (1 - α) (D[n] + V s[n-1] - w[n])             potential; what was sent is subtracted
    s[n] = 1[u[n] > 1]                                                        spike

LIF has neither the adaptation w nor the recurrent weights V. adLIF has w, RLIF has V, and RadLIF has both. D = BN(W x)
is the drive. Each neuron learns α, β, a and b. A spike has no derivative; a surrogate of u - 1 takes its place in the
backward pass, and its gradient also flows through the subtraction of s[n-1].

While no spike is sent, u and w form a linear system, whose eigenvalues have the product αβ and the sum
α + β - (1 - α) a. For α and β in the intervals of the paper it is stable if a > -(1 - β); for a smaller a, u and w grow
exponentially.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from snn_asr.network.surrogates import Derivative, spike

GATES = 1
TRAINED = ("decay", "adaptation_decay", "coupling", "jump", "recurrent")  # the fields of Parameters that learn
THRESHOLD = 1.0


class State(NamedTuple):
    """``potential`` u, ``adaptation`` w and ``output`` s, each (B, H) and zero at the start. Without adaptation w is
    (B, 0)."""

    potential: Tensor
    adaptation: Tensor
    output: Tensor


class Parameters(NamedTuple):
    """``decay`` α, ``adaptation_decay`` β, ``coupling`` a and ``jump`` b are (H,) each; the last three are None without
    adaptation. ``recurrent`` (H, H) is V, or None. ``derivative`` is the surrogate derivative of the spike, a function
    of u - 1."""

    decay: Tensor
    adaptation_decay: Tensor | None
    coupling: Tensor | None
    jump: Tensor | None
    recurrent: Tensor | None
    derivative: Derivative


def initial_state(batch: int, size: int, parameters: Parameters, like: Tensor) -> State:
    zeros = like.new_zeros(batch, size)
    return State(zeros, zeros[:, : size if parameters.adaptation_decay is not None else 0], zeros)


def step(drive: Tensor, state: State, parameters: Parameters) -> tuple[Tensor, State]:
    """The output (B, H) and the new state of one frame, from its drive (B, H). Differentiable.

    All kernels of this cell are checked against this function.
    """
    decay, adaptation = parameters.decay, state.adaptation
    if parameters.recurrent is not None:
        drive = drive + state.output @ parameters.recurrent.T
    if parameters.adaptation_decay is not None:
        assert parameters.coupling is not None and parameters.jump is not None
        adaptation = parameters.adaptation_decay * adaptation + parameters.coupling * state.potential
        adaptation = adaptation + parameters.jump * state.output
        drive = drive - adaptation
    potential = decay * (state.potential - state.output) + (1 - decay) * drive
    output = spike(potential - THRESHOLD, parameters.derivative)
    return output, State(potential, adaptation, output)
