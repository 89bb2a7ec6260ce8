"""The three gated networks and their coder-less relative, the Li-GRU.

    conventional:  I[n] = tau * I[n-1] + BN(W x[n])
    v1:            F = sigmoid(BN(Wf x[n]));              C = relu(BN(Wc x[n]));              I[n] = F I[n-1] + (1-F) C
    v2:            F = sigmoid(BN(Wf x[n]) + Uf Y[n-1]);  C = relu(BN(Wc x[n]) + Uc Y[n-1]);  I[n] as in v1
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .coder import Coder, run
from .scalars import Matrix, Sequences, Vector, number, plain, product

EPSILON = 1e-5
MOMENTUM = 0.1


@dataclass
class Normalisation:
    """Batch normalisation of one input term over the valid frames of a batch; one weight and one bias a unit."""

    weight: Vector
    bias: Vector
    running_mean: list[float] = field(default_factory=list)
    running_variance: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.running_mean = self.running_mean or [0.0] * len(self.weight)
        self.running_variance = self.running_variance or [1.0] * len(self.weight)

    def apply(self, terms: Sequences, training: bool) -> Sequences:
        """Normalise each unit by the batch's own statistics in training, by the running ones in evaluation."""
        normalised: Sequences = [[[] for _ in row] for row in terms]
        for unit in range(len(self.weight)):
            mean, variance = self._statistics(terms, unit, training)
            scale = self.weight[unit] / torch.sqrt(variance + EPSILON)
            for row, frames in enumerate(terms):
                for frame, units in enumerate(frames):
                    normalised[row][frame].append((units[unit] - mean) * scale + self.bias[unit])
        return normalised

    def _statistics(self, terms: Sequences, unit: int, training: bool) -> tuple[Tensor, Tensor]:
        if not training:
            return number(self.running_mean[unit]), number(self.running_variance[unit])
        values = [units[unit] for frames in terms for units in frames]
        mean = sum(values, number(0.0)) / len(values)
        squares = sum(((value - mean) ** 2 for value in values), number(0.0))
        self.running_mean[unit] += MOMENTUM * (plain(mean) - self.running_mean[unit])
        if len(values) > 1:
            unbiased = plain(squares) / (len(values) - 1)
            self.running_variance[unit] += MOMENTUM * (unbiased - self.running_variance[unit])
        return mean, squares / len(values)


def valid(inputs: Sequences, lengths: list[int]) -> Sequences:
    """Drop the padding."""
    return [frames[:length] for frames, length in zip(inputs, lengths, strict=True)]


def through(weights: Matrix, inputs: Sequences) -> Sequences:
    """Multiply every frame of every row by a matrix."""
    return [[[product(row, units) for row in weights] for units in frames] for frames in inputs]


def relu(value: Tensor) -> Tensor:
    """Give max(0, value), with the gradient 0 at 0."""
    return value if plain(value) > 0.0 else value * 0.0


def clamp(value: Tensor) -> Tensor:
    """Hold a value in [0, 1]; the gradient passes inside and at both ends."""
    if 0.0 <= plain(value) <= 1.0:
        return value
    return value * 0.0 + (1.0 if plain(value) > 1.0 else 0.0)


CANDIDATES: dict[str, Callable[[Tensor], Tensor]] = {"relu": relu, "clamp": clamp}


@dataclass
class Gate:
    """One of the two signals of v1 and v2: its input weights, its normalisation, and v2's recurrent weights."""

    weights: Matrix
    normalisation: Normalisation
    recurrent: Matrix | None = None

    def term(self, inputs: Sequences, training: bool) -> Sequences:
        """Give the normalised input term of all frames."""
        return self.normalisation.apply(through(self.weights, inputs), training)

    def at(self, term: Vector, before: Vector) -> Vector:
        """Add the recurrent term of one row's frame."""
        if self.recurrent is None:
            return term
        return [value + product(row, before) for value, row in zip(term, self.recurrent, strict=True)]


def conventional(
    inputs: Sequences, lengths: list[int], gate: Gate, decay: Vector, coder: Coder | None, training: bool
) -> Sequences:
    """Run the conventional network; one decay tau a unit."""
    terms = gate.term(valid(inputs, lengths), training)

    def current(row: int, frame: int, last: Vector, before: Vector) -> Vector:
        return [tau * old + new for tau, old, new in zip(decay, last, terms[row][frame], strict=True)]

    return run(current, lengths, len(decay), coder, training)


def gated(
    inputs: Sequences, lengths: list[int], forget: Gate, candidate: Gate, shape: str, coder: Coder | None,
    training: bool,
) -> Sequences:
    """Run v1, or v2 where the gates have recurrent weights; ``shape`` names the candidate's function."""
    frames = valid(inputs, lengths)
    forget_terms, candidate_terms = forget.term(frames, training), candidate.term(frames, training)

    def current(row: int, frame: int, last: Vector, before: Vector) -> Vector:
        kept = [torch.sigmoid(value) for value in forget.at(forget_terms[row][frame], before)]
        new = [CANDIDATES[shape](value) for value in candidate.at(candidate_terms[row][frame], before)]
        return [f * i + (1 - f) * c for f, i, c in zip(kept, last, new, strict=True)]

    return run(current, lengths, len(forget.weights), coder, training)


def li_gru(inputs: Sequences, lengths: list[int], update: Gate, candidate: Gate, training: bool) -> Sequences:
    """Run a Li-GRU: z = sigmoid(BN(Wz x) + Uz h), c = relu(BN(Wc x) + Uc h), h = z h + (1-z) c."""
    frames = valid(inputs, lengths)
    updates, candidates = update.term(frames, training), candidate.term(frames, training)
    outputs: Sequences = []
    for row, length in enumerate(lengths):
        hidden = [number(0.0) for _ in update.weights]
        outputs.append([])
        for frame in range(length):
            following = []
            for unit, old in enumerate(hidden):
                z = torch.sigmoid(updates[row][frame][unit] + product(update.recurrent[unit], hidden))
                c = relu(candidates[row][frame][unit] + product(candidate.recurrent[unit], hidden))
                following.append(z * old + (1 - z) * c)
            hidden = following
            outputs[row].append(hidden)
    return outputs
