"""The multi-level coder: membrane potential to sparse multi-bit events (Ponghiran & Roy 2022).

    s = n (1 - 1e-4) / A,   n = 2^(bits - 1)
    q = trunc(s · clamp(V, -A, A)),   q = 0 where |q| <= threshold
    Y = q / s

A is the range of one layer (ranges.py). With ``levels="powers_of_two"`` q is rounded down to a power of two before it
is compared with the threshold, and s = n / A: the levels are A, A/2, A/4 and so on, and a product with one is a shift.
What is rounded away stays in the membrane. ShiftLIF (Tang et al. 2026, arXiv 2605.01866) has such levels for leaky
neurons in feed-forward networks.

The gradient is straight-through: dY/dV = 1 where |V| <= A, and 0 outside. No gradient reaches A.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snn_asr.network.coder_settings import CoderSettings
from snn_asr.network.lengths import Lengths
from snn_asr.network.ranges import SMALLEST_RANGE, RangeTracker


class MovingCoder(NamedTuple):
    """A ``Coder`` whose range stays on the device: its numbers are scalar tensors (), in the type of the membranes."""

    range: Tensor
    scale: Tensor
    unit: Tensor
    threshold: int
    powers: bool

    def inside(self, membranes: Tensor) -> Tensor:
        """Where membranes lie within the range."""
        return membranes.abs() <= self.range


@dataclass(frozen=True)
class Coder:
    """The coder at one moment: its settings and its range as plain numbers, so that every kernel rounds alike.

    ``scale`` is s and ``unit`` is 1/s: kernels multiply by it, because a multiplication rounds the same everywhere and
    a division need not. ``powers`` says whether the levels are powers of two.
    """

    range: float
    scale: float
    unit: float
    threshold: int
    powers: bool = False

    @classmethod
    def at(cls, settings: CoderSettings, range: float) -> Coder:
        """The coder of these settings with the range A = ``range``."""
        scale = settings.levels_per_range / range
        return cls(range, scale, 1.0 / scale, settings.threshold, settings.powers)

    def inside(self, membranes: Tensor) -> Tensor:
        """Where membranes (B, T, H) lie within the range."""
        return membranes.abs() <= self.range


class FrameCoder:
    """The coder of a training batch whose range moves at every frame. It goes through the frames of the batch once.

    The range of each frame stays on the device: nothing is read back.
    """

    def __init__(self, tracker: RangeTracker, lengths: Lengths) -> None:
        self.tracker, self.lengths = tracker, lengths
        self.ranges: list[Tensor] = []
        self._updates = tracker.known().updates

    @property
    def powers(self) -> bool:
        """Whether the levels are powers of two."""
        return self.tracker.settings.powers

    def next(self, membrane: Tensor) -> MovingCoder:
        """The coder for the next frame, after its range has moved towards that frame's membranes (B, H)."""
        frame, membrane = len(self.ranges), membrane.detach()
        if frame < self.lengths.longest:
            valid = self.lengths.mask[:, frame : frame + 1]
            lowest, highest = (torch.where(valid, membrane, far) for far in (torch.inf, -torch.inf))
            self.tracker.move(lowest.min(), highest.max())
            self._updates += 1
        coder = self._coder(membrane.dtype)
        self.ranges.append(coder.range)
        return coder

    def _coder(self, kind: torch.dtype) -> MovingCoder:
        tracker, settings = self.tracker, self.tracker.settings
        if self._updates:
            largest = torch.maximum(tracker.minimum.double().abs(), tracker.maximum.double().abs())
            found = (largest / tracker.correction(self._updates)).clamp(min=SMALLEST_RANGE)
        else:
            found = torch.full_like(tracker.minimum, settings.fixed_range, dtype=torch.float64)
        scale = settings.levels_per_range / found
        return MovingCoder(found.to(kind), scale.to(kind), (1.0 / scale).to(kind), settings.threshold, settings.powers)

    def inside(self, membranes: Tensor) -> Tensor:
        """Where membranes (B, T, H) lie within the range of their frame."""
        return membranes.abs() <= torch.stack(self.ranges).unsqueeze(1)


AnyCoder = Coder | FrameCoder


class _Encode(torch.autograd.Function):
    """Forward Q(V); backward the gradient unchanged within the range, and zero outside."""

    @staticmethod
    def forward(ctx: Any, membrane: Tensor, coder: Coder | MovingCoder) -> Tensor:
        ctx.save_for_backward(membrane)
        ctx.coder = coder
        level = torch.trunc(torch.clamp(membrane, -coder.range, coder.range) * coder.scale)  # type: ignore[arg-type]
        if coder.powers:
            level = power_below(level)
        level = torch.where(level.abs() <= coder.threshold, torch.zeros_like(level), level)
        return level * coder.unit

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (membrane,) = ctx.saved_tensors
        return gradient * ctx.coder.inside(membrane), None


def power_below(values: Tensor) -> Tensor:
    """Each value (float32 or float64) rounded towards zero to a power of two with its sign; 0 stays 0."""
    kind, mantissa = (torch.int32, 23) if values.dtype == torch.float32 else (torch.int64, 52)
    return (values.view(kind) & -(1 << mantissa)).view(values.dtype)


def with_straight_gradient(values: Tensor, replacement: Tensor) -> Tensor:
    """The ``replacement``; in the backward pass its gradient goes to ``values`` as if nothing had been replaced."""
    return _StraightGradient.apply(values, replacement)


class _StraightGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, replacement: Tensor) -> Tensor:
        return replacement.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def encode(membrane: Tensor, coder: AnyCoder) -> Tensor:
    """Q(V) of membranes of any shape; its gradient goes straight through the rounding (see the module)."""
    return _Encode.apply(membrane, coder.next(membrane) if isinstance(coder, FrameCoder) else coder)


def send(current: Tensor, membrane: Tensor, output: Tensor, coder: AnyCoder | None) -> tuple[Tensor, Tensor]:
    """One frame of integrate-and-fire without a leak: V[n] = V[n-1] - Y[n-1] + I[n], Y[n] = Q(V[n]).

    ``membrane`` and ``output`` are V[n-1] and Y[n-1]. Returns Y[n] and V[n]. Without a coder the current itself is
    sent: Y[n] = V[n] = I[n].
    """
    if coder is None:
        return current, current
    membrane = (membrane - output) + current
    return encode(membrane, coder), membrane
