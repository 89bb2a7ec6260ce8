"""The spiking LSTM (Lotfi Rezaabad & Vishwanath, ICONS 2020).

    f, i, o, g = 1[W x + U h[n-1] + b > theta]        theta = 0.1
    a = f c[n-1] + i g;    c = 1[a > theta], or c = a;    h = o c

The derivative of each threshold is a Gaussian of the distance from theta: one for f, i, o, one for g, one for the
cell, called G here. Where the cell has a threshold, three backwards are told apart by what G stands on:

                   the way from c to f, i, g      from c to c[n-1]      from h to c
    straight       G                              -                     -
    surrogate      G                              G                     -
    speech         G                              -                     G
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from .gated import Normalisation, through, valid
from .scalars import Matrix, Sequences, Vector, number, plain, product, replaced

THETA = 0.1
Slope = Callable[[float], float]


def gaussian(alpha: float) -> Slope:
    """Give G(u) = exp(-u^2 / alpha) / sqrt(pi alpha)."""
    return lambda u: math.exp(-u * u / alpha) / math.sqrt(math.pi * alpha)


def wide_gaussian(u: float) -> float:
    """Give exp(-u^2) / sqrt(0.3 pi), the image models' slope for the candidate and the cell."""
    return math.exp(-u * u) / math.sqrt(0.3 * math.pi)


@dataclass(frozen=True)
class Slopes:
    """The slopes standing in for the thresholds' derivatives: of f, i, o; of g; and of the cell."""

    gates: Slope
    candidate: Slope
    cell: Slope


SLOPES = {
    "speech": Slopes(gaussian(4.0), gaussian(0.3), gaussian(4.0)),
    "characters": Slopes(gaussian(4.0), gaussian(0.3), gaussian(4.0)),
    "images": Slopes(gaussian(0.3), wide_gaussian, wide_gaussian),
}


@dataclass(frozen=True)
class Backward:
    """Whether G stands on the way along the memory, and on the way in from the output."""

    memory: bool
    output: bool


BACKWARDS = {
    "straight": Backward(memory=False, output=False),
    "surrogate": Backward(memory=True, output=False),
    "speech": Backward(memory=False, output=True),
}


@dataclass
class SpikingGate:
    """One of the four signals: input weights, recurrent weights, and one bias a unit or a normalisation of W x."""

    weights: Matrix
    recurrent: Matrix
    bias: Vector | None
    normalisation: Normalisation | None

    def terms(self, inputs: Sequences, training: bool) -> Sequences:
        """Give the input term of all frames."""
        terms = through(self.weights, inputs)
        if self.bias is None:
            return self.normalisation.apply(terms, training)
        return [[[a + b for a, b in zip(units, self.bias, strict=True)] for units in frames] for frames in terms]

    def spikes(self, term: Vector, before: Vector, slope: Slope) -> Vector:
        """Fire, for one row's frame."""
        fired = []
        for value, recurrent in zip(term, self.recurrent, strict=True):
            drive = value + product(recurrent, before)
            above = plain(drive) - THETA
            fired.append(replaced(drive, 1.0 if above > 0.0 else 0.0, slope(above)))
        return fired


def next_cell(
    f: Tensor, i: Tensor, g: Tensor, cell: Tensor, slopes: Slopes, backward: Backward | None
) -> tuple[Tensor, Tensor]:
    """Give c and what the output gate lets through, which is c too; without a backward c is a itself."""
    if backward is None:
        summed = f * cell + i * g
        return summed, summed
    summed = f * plain(cell) + i * g
    above = plain(summed) - THETA
    slope = slopes.cell(above)
    fired = replaced(summed, 1.0 if above > 0.0 else 0.0, slope)
    fired = fired + replaced(cell, 0.0, plain(f) * (slope if backward.memory else 1.0))
    return fired, replaced(fired, plain(fired), slope if backward.output else 1.0)


def spiking_lstm(
    inputs: Sequences, lengths: list[int], gates: dict[str, SpikingGate], slopes: Slopes, backward: Backward | None,
    training: bool,
) -> Sequences:
    """Run the layer and give h; ``gates`` holds f, i, o and g."""
    frames = valid(inputs, lengths)
    terms = {name: gate.terms(frames, training) for name, gate in gates.items()}
    slope_of = dict.fromkeys("fio", slopes.gates) | {"g": slopes.candidate}
    outputs: Sequences = []
    for row, length in enumerate(lengths):
        hidden, cells = ([number(0.0) for _ in gates["f"].weights] for _ in range(2))
        outputs.append([])
        for frame in range(length):
            fired = {name: gates[name].spikes(terms[name][row][frame], hidden, slope_of[name]) for name in "fiog"}
            now = [
                next_cell(fired["f"][k], fired["i"][k], fired["g"][k], cell, slopes, backward)
                for k, cell in enumerate(cells)
            ]
            cells = [cell for cell, _ in now]
            hidden = [o * sent for o, (_, sent) in zip(fired["o"], now, strict=True)]
            outputs[row].append(hidden)
    return outputs
