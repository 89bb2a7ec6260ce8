"""The coder: a membrane without leak that sends multi-level events and keeps the rounding residue.

    V[n] = V[n-1] + I[n] - Y[n-1]            Y[n] = Q(V[n])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor

from .scalars import Matrix, Sequences, Vector, number, plain, replaced


@dataclass
class Range:
    """The range A of the coder: given once for all, or the larger of two moving averages, of min V and of max V.

    The averages are kept as exact fractions, so a range has no rounding of its own:
    after k observations x1..xk the average is sum of 0.1 * 0.9^(k-i) * xi over 1 - 0.9^k (Adam's correction).
    """

    given: float | None = None
    average_of_minimum: Fraction = Fraction(0)
    average_of_maximum: Fraction = Fraction(0)
    observations: int = 0

    def observe(self, membranes: list[float]) -> None:
        """Take the smallest and the largest of the membranes in."""
        if self.given is not None or not membranes:
            return
        kept, new = Fraction(9, 10), Fraction(1, 10)
        self.average_of_minimum = kept * self.average_of_minimum + new * Fraction(min(membranes))
        self.average_of_maximum = kept * self.average_of_maximum + new * Fraction(max(membranes))
        self.observations += 1

    def value(self) -> float:
        """Give A: the equations leave open that it is 1 before all observations, and at least 1e-5."""
        if self.given is not None:
            return self.given
        if self.observations == 0:
            return 1.0
        correction = 1 - Fraction(9, 10) ** self.observations
        largest = max(abs(self.average_of_minimum), abs(self.average_of_maximum)) / correction
        return max(float(largest), 1e-5)


def level(membrane: float, magnitude: float, bits: int, threshold: int) -> tuple[int, float]:
    """Give the level q of a membrane, and the value Y it stands for."""
    scale = 2 ** (bits - 1) * (1 - 1e-4) / magnitude
    quantised = math.trunc(scale * min(max(membrane, -magnitude), magnitude))
    if abs(quantised) <= threshold:
        quantised = 0
    return quantised, quantised / scale


@dataclass
class Coder:
    """A layer's coder. ``watches`` says when a moving range takes membranes in: "never", "batch" or "frame".

    "frame" takes in each frame of training before it is coded; "batch" the whole batch, after it was coded. The
    equations leave open what codes the very first batch: its own currents, had no coder stood behind them.
    """

    bits: int
    threshold: int
    range: Range
    watches: str = "never"

    def send(self, membrane: Tensor, magnitude: float) -> Tensor:
        """Send the event of one membrane in the range given; the gradient passes through inside it only."""
        value = level(plain(membrane), magnitude, self.bits, self.threshold)[1]
        return replaced(membrane, value, 1.0 if abs(plain(membrane)) <= magnitude else 0.0)


@dataclass
class Membranes:
    """The membranes of one batch, and what they sent last: ``held[row][unit]``, ``sent[row][unit]``."""

    coder: Coder | None
    held: Matrix
    sent: Matrix
    seen: list[float]

    @staticmethod
    def at_rest(coder: Coder | None, rows: int, units: int) -> Membranes:
        """Start all at zero."""
        zeros = [[[number(0.0) for _ in range(units)] for _ in range(rows)] for _ in range(2)]
        return Membranes(coder, zeros[0], zeros[1], [])

    def step(self, currents: dict[int, list[Tensor]], training: bool) -> None:
        """Take one frame's currents of the rows that still run, and send; without a coder the currents themselves."""
        if self.coder is None:
            for row, current in currents.items():
                self.sent[row] = current
            return
        for row, current in currents.items():
            self.held[row] = [v + i - y for v, i, y in zip(self.held[row], current, self.sent[row], strict=True)]
        now = [plain(membrane) for row in currents for membrane in self.held[row]]
        self.seen += now
        if training and self.coder.watches == "frame":
            self.coder.range.observe(now)
        magnitude = self.coder.range.value()
        for row in currents:
            self.sent[row] = [self.coder.send(membrane, magnitude) for membrane in self.held[row]]


def run(
    current: Callable[[int, int, Vector, Vector], Vector], lengths: list[int], units: int, coder: Coder | None,
    training: bool,
) -> Sequences:
    """Run frame after frame, all rows of a frame before the next: a range that moves is shared by the rows.

    ``current(row, frame, last current, last sent)`` gives a frame's synaptic current.
    """
    watched = coder is not None and training and coder.watches == "batch"
    if watched and coder.range.observations == 0:
        uncoded = run(current, lengths, units, None, training)
        coder.range.observe([plain(value) for frames in uncoded for each in frames for value in each])
    currents = [[number(0.0) for _ in range(units)] for _ in lengths]
    membranes = Membranes.at_rest(coder, len(lengths), units)
    outputs: Sequences = [[] for _ in lengths]
    for frame in range(max(lengths)):
        running = [row for row, length in enumerate(lengths) if frame < length]
        for row in running:
            currents[row] = current(row, frame, currents[row], membranes.sent[row])
        membranes.step({row: currents[row] for row in running}, training)
        for row in running:
            outputs[row].append(membranes.sent[row])
    if watched:
        coder.range.observe(membranes.seen)
    return outputs


def coded_features(inputs: Sequences, lengths: list[int], coder: Coder, training: bool) -> Sequences:
    """Code features: they are the currents."""
    return run(lambda row, frame, last, sent: inputs[row][frame], lengths, len(inputs[0][0]), coder, training)
