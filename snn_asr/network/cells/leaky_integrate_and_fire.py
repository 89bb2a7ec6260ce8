"""Leaky integrate-and-fire with adaptation and recurrence as flags (Bittar & Garner 2022; in speech arXiv 2212.01187).

    w[n] = β w[n-1] + a u[n-1] + b s[n-1]                                     adaptation
    u[n] = α (u[n-1] - s[n-1]) + (1 - α) (D[n] + V s[n-1] - w[n])             potential; what was sent is subtracted
    s[n] = 1[u[n] > 1]                                                        spike

LIF has neither w nor V, adLIF has w, RLIF has V, RadLIF both. D = BN(W x) is the drive; α, β, a and b are learned for
each neuron. The derivative of s is a surrogate in u - 1, and flows through the subtraction too.

Below the threshold (α, β, a) make a linear system whose eigenvalues have the product αβ and the sum α + β - (1 - α) a:
it is stable where a > -(1 - β), within the intervals of the paper, and runs away exponentially below that.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from snn_asr.network.surrogates import Derivative, spike

GATES = 1
TRAINED = ("decay", "adaptation_decay", "coupling", "jump", "recurrent")  # the fields of Parameters that learn
THRESHOLD = 1.0


class State(NamedTuple):
    """u, w and s, each (B, H), zero at the start; without adaptation w is (B, 0)."""

    potential: Tensor
    adaptation: Tensor
    output: Tensor


class Parameters(NamedTuple):
    """``decay`` α, ``adaptation_decay`` β, ``coupling`` a and ``jump`` b, each (H,), the last three None without
    adaptation; ``recurrent`` (H, H) is V, or None; ``derivative`` that of the spike, applied to u - 1."""

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
    """One frame: drive (B, H) to output (B, H). Differentiable; the specification of every kernel."""
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
