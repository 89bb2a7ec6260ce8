"""The multi-level coder: membrane potential to sparse multi-bit events (Ponghiran & Roy 2022).

    s = n (1 - 1e-4) / A,   n = 2^(bits - 1)
    q = trunc(s · clamp(V, -A, A)),   q = 0 where |q| <= threshold
    Y = q / s

``A`` is the range of one layer. It is either fixed or follows the extremes of the membrane:
A = max(|average of min V|, |average of max V|), exponential averages with Adam's bias correction.
The averages move once a training batch, over valid frames; or, as the authors have it, at every frame
(``moving_average_per_frame``), which leaves the last frames of the last batch their mark on the final range.
The gradient is straight-through: dY/dV = 1 where |V| <= A, 0 outside; none runs into A.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snn_asr.errors import UsageError, unknown_name
from snn_asr.processes import extremes

RANGES = ("moving_average", "moving_average_per_frame", "fixed")
SMALLEST_RANGE = 1e-5  # a silent layer must not divide by zero


@dataclass(frozen=True)
class CoderSettings:
    """``bits`` includes the sign (6: levels up to ±31); levels at or below ``threshold`` are not sent.

    ``range`` is ``moving_average`` (updated once a training batch over valid frames, with ``momentum``),
    ``moving_average_per_frame`` (at each frame of training, before it is coded: the paper's) or ``fixed``
    (A = ``fixed_range``). 32 bits with threshold 0 stand for no rounding at all. Raises UsageError for impossible
    values.
    """

    bits: int = 6
    threshold: int = 3
    range: str = "moving_average"
    fixed_range: float = 1.0
    momentum: float = 0.1

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 32:
            raise UsageError(f"bits={self.bits} gives no usable level", "bits", "choose 2 (binary spikes) to 32")
        if not 0 <= self.threshold < self.highest_level:
            raise UsageError(
                f"threshold={self.threshold} silences every level up to {self.highest_level}",
                "threshold", f"choose 0 to {self.highest_level - 1}",
            )
        if self.range not in RANGES:
            raise unknown_name("range", self.range, RANGES)
        if not self.fixed_range > 0:
            raise UsageError(f"fixed_range={self.fixed_range} must be positive", "fixed_range")
        if not 0 < self.momentum <= 1:
            raise UsageError(f"momentum={self.momentum} must lie in (0, 1]", "momentum")

    @property
    def highest_level(self) -> int:
        return 2 ** (self.bits - 1) - 1


class RangeTracker(nn.Module):
    """The range A of one layer: fixed, or a bias-corrected moving average of the membrane's extremes.

    Before the first observation of a moving average A is ``fixed_range``. Frozen in evaluation.
    """

    def __init__(self, settings: CoderSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("minimum", torch.zeros(()))
        self.register_buffer("maximum", torch.zeros(()))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def extra_repr(self) -> str:
        return f"{self.settings}"

    @property
    def calibrated(self) -> bool:
        """False while a moving average has seen nothing."""
        return self.settings.range == "fixed" or int(self.updates) > 0

    def value(self) -> float:
        """A, a positive number."""
        if self.settings.range == "fixed" or int(self.updates) == 0:
            return self.settings.fixed_range
        correction = 1.0 - (1.0 - self.settings.momentum) ** int(self.updates)
        largest = max(abs(float(self.minimum)), abs(float(self.maximum))) / correction
        return max(largest, SMALLEST_RANGE)

    @torch.no_grad()
    def observe(self, values: Tensor) -> None:
        """Move the averages towards the extremes of one batch's values (any shape; of all processes' shares)."""
        found = None if self.settings.range == "fixed" else extremes(values)
        if found is not None:
            self.minimum.lerp_(found[0].to(self.minimum), self.settings.momentum)
            self.maximum.lerp_(found[1].to(self.maximum), self.settings.momentum)
            self.updates += 1


@dataclass(frozen=True)
class Coder:
    """The coder at one moment: settings and range as plain numbers, so that every kernel rounds alike.

    ``scale`` is s, ``unit`` is 1/s (a multiplication rounds the same everywhere, a division need not).
    """

    range: float
    scale: float
    unit: float
    threshold: int

    @classmethod
    def at(cls, settings: CoderSettings, range: float) -> Coder:
        scale = 2 ** (settings.bits - 1) * (1 - 1e-4) / range
        return cls(range, scale, 1.0 / scale, settings.threshold)

    def inside(self, membranes: Tensor) -> Tensor:
        """Where membranes (B, T, H) lie within the clamp."""
        return membranes.abs() <= self.range


class FrameCoder:
    """The coder of a training batch whose range moves at every frame; walks ``valid`` (B, T) once, frame by frame."""

    def __init__(self, tracker: RangeTracker, valid: Tensor) -> None:
        self.tracker, self.valid, self.ranges = tracker, valid, []

    def next(self, membrane: Tensor) -> Coder:
        """Observe the membrane (B, H) at the next frame; the coder for it."""
        self.tracker.observe(membrane.detach()[self.valid[:, len(self.ranges)]])
        coder = Coder.at(self.tracker.settings, self.tracker.value())
        self.ranges.append(coder.range)
        return coder

    def inside(self, membranes: Tensor) -> Tensor:
        """Where membranes (B, T, H) lie within the clamp of their frame."""
        return membranes.abs() <= membranes.new_tensor(self.ranges).unsqueeze(1)


AnyCoder = Coder | FrameCoder


class _Encode(torch.autograd.Function):
    """Forward Q(V); backward straight-through inside the clamp."""

    @staticmethod
    def forward(ctx, membrane: Tensor, coder: Coder) -> Tensor:
        ctx.save_for_backward(membrane)
        ctx.coder = coder
        level = torch.trunc(membrane.clamp(-coder.range, coder.range) * coder.scale)
        level = torch.where(level.abs() <= coder.threshold, torch.zeros_like(level), level)
        return level * coder.unit

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (membrane,) = ctx.saved_tensors
        return gradient * ctx.coder.inside(membrane), None


def encode(membrane: Tensor, coder: AnyCoder) -> Tensor:
    """Q(V), any shape, with the straight-through gradient."""
    return _Encode.apply(membrane, coder.next(membrane) if isinstance(coder, FrameCoder) else coder)


def send(current: Tensor, membrane: Tensor, output: Tensor, coder: AnyCoder | None) -> tuple[Tensor, Tensor]:
    """One frame of integrate-and-fire without a leak: V = V - Y + I, Y = Q(V); what was sent is subtracted.

    ``membrane`` and ``output`` are those of the frame before. Returns output and membrane; without a coder the
    current itself is sent.
    """
    if coder is None:
        return current, current
    membrane = (membrane - output) + current
    return encode(membrane, coder), membrane
