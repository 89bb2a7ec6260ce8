"""The synaptic currents once more, in exact fractions: for sums that must come out even."""

from __future__ import annotations

from fractions import Fraction

from torch import Tensor


def exact(values: Tensor) -> list[Fraction]:
    """Give the numbers of a tensor, none of them rounded."""
    return [Fraction(each) for each in values.flatten().tolist()]


def total_conventional(drives: list[Fraction], decay: Fraction) -> Fraction:
    """Sum the currents I[n] = tau I[n-1] + drive of one neuron."""
    current = total = Fraction(0)
    for drive in drives:
        current = decay * current + drive
        total += current
    return total


def total_gated(
    kept: list[Fraction], drives: list[Fraction], sent: list[list[Fraction]], weights: list[Fraction]
) -> Fraction:
    """Sum the currents I[n] = F I[n-1] + (1 - F) relu(drive + Uc Y[n-1]) of one neuron.

    ``kept`` is F at each frame, ``sent[frame]`` what all neurons sent, ``weights`` this neuron's row of Uc.
    """
    current = total = Fraction(0)
    before = [Fraction(0)] * len(weights)
    for forget, drive, following in zip(kept, drives, sent, strict=True):
        candidate = max(drive + sum(w * y for w, y in zip(weights, before, strict=True)), Fraction(0))
        current = forget * current + (1 - forget) * candidate
        total += current
        before = following
    return total
