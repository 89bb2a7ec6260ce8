"""The multi-level coder: membrane potential to sparse multi-bit events (Ponghiran & Roy 2022).

    s = n (1 - 1e-4) / A,   n = 2^(bits - 1)
    q = trunc(s · clamp(V, -A, A)),   q = 0 where |q| <= threshold
    Y = q / s

With ``levels="powers_of_two"`` q is rounded down to a power of two before it is compared with the threshold, and
s = n / A, so that the levels are A, A/2, A/4 and so on: a product with one is a shift. What is rounded away stays in
the membrane. ShiftLIF (Tang et al. 2026, arXiv 2605.01866) has such levels for leaky neurons in feed-forward networks.

``A`` is the range of one layer. It is either fixed or follows the extremes of the membrane:
A = max(|average of min V|, |average of max V|), exponential averages with Adam's bias correction.
The averages move once a training batch, over valid frames; or, as the authors have it, at every frame
(``moving_average_per_frame``), which leaves the last frames of the last batch their mark on the final range.
The gradient is straight-through: dY/dV = 1 where |V| <= A, 0 outside; none runs into A.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snn_asr.errors import UsageError, unknown_name
from snn_asr.network.lengths import Lengths
from snn_asr.processes import extremes

LINEAR, POWERS_OF_TWO = LEVELS = ("linear", "powers_of_two")
RANGES = ("moving_average", "moving_average_per_frame", "fixed")
SMALLEST_RANGE = 1e-5  # a silent layer must not divide by zero


@dataclass(frozen=True)
class CoderSettings:
    """``bits`` includes the sign (6: levels up to ±31); levels at or below ``threshold`` are not sent.

    ``range`` is ``moving_average`` (updated once a training batch over valid frames, with ``momentum``),
    ``moving_average_per_frame`` (at each frame of training, before it is coded: the paper's) or ``fixed``
    (A = ``fixed_range``). 32 bits with threshold 0 stand for no rounding at all. Raises UsageError for impossible
    values. ``levels``: all whole multiples of the smallest (``linear``), or those alone that are powers of two of it.
    """

    bits: int = 6
    threshold: int = 3
    range: str = "moving_average"
    fixed_range: float = 1.0
    momentum: float = 0.1
    levels: str = LINEAR

    def __post_init__(self) -> None:
        if self.levels not in LEVELS:
            raise unknown_name("levels", self.levels, LEVELS)
        if not 2 <= self.bits <= 32:
            raise UsageError(f"bits={self.bits} gives no usable level", "bits", "choose 2 (binary spikes) to 32")
        if not 0 <= self.threshold < self.highest_level:
            raise UsageError(
                f"threshold={self.threshold} silences every level up to {self.highest_level}",
                "threshold", f"choose 0 to {self.highest_level - 1}",
            )
        if self.range not in RANGES:
            raise unknown_name("range", self.range, RANGES)
        if not 0 < self.fixed_range < math.inf:
            raise UsageError(f"fixed_range={self.fixed_range} must be positive and finite", "fixed_range")
        if not 0 < self.momentum <= 1:
            raise UsageError(f"momentum={self.momentum} must lie in (0, 1]", "momentum")

    @property
    def highest_level(self) -> int:
        return 2 ** (self.bits - 1) - (0 if self.powers else 1)

    @property
    def powers(self) -> bool:
        """Levels are powers of two."""
        return self.levels == POWERS_OF_TWO

    @property
    def additive(self) -> bool:
        """A product with a level is an addition, of something that is shifted where there are several levels."""
        return self.powers or self.bits == 2

    @property
    def unit_products(self) -> int:
        """Multiplications of a value by itself: to scale it to levels and back. Powers of two are found by comparison,
        and are values from a table."""
        return 0 if self.powers else 2

    @property
    def levels_per_range(self) -> float:
        """The scale s of a range of 1: n (1 - 1e-4), or n for powers of two, of which n is the highest."""
        return 2 ** (self.bits - 1) * (1.0 if self.powers else 1 - 1e-4)


class RangeTracker(nn.Module):
    """The range A of one layer: fixed, or a bias-corrected moving average of the membrane's extremes.

    Before the first observation of a moving average A is ``fixed_range``. Frozen in evaluation.

    The averages live where the membranes do. What has been read from there is remembered until they change, and
    ``read_together`` reads those of many layers at once.
    """

    minimum: Tensor
    maximum: Tensor
    updates: Tensor

    def __init__(self, settings: CoderSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("minimum", torch.zeros(()))
        self.register_buffer("maximum", torch.zeros(()))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._known: Known | None = None

    def extra_repr(self) -> str:
        return f"{self.settings}"

    @property
    def calibrated(self) -> bool:
        """False while a moving average has seen nothing."""
        return self.settings.range == "fixed" or self.known().updates > 0

    def value(self) -> float:
        """A, a positive number."""
        if self.settings.range == "fixed" or not self.calibrated:
            return self.settings.fixed_range
        known = self.known()
        largest = max(abs(known.minimum), abs(known.maximum)) / self.correction(known.updates)
        return max(largest, SMALLEST_RANGE)

    def correction(self, updates: int) -> float:
        """Adam's, after so many updates of averages that began at zero."""
        return 1.0 - (1.0 - self.settings.momentum) ** updates

    def observe(self, values: Tensor) -> None:
        """Move the averages towards the extremes of one batch's values (any shape; of all processes' shares)."""
        found = None if self.settings.range == "fixed" else extremes(values.detach())
        if found is not None:
            self.move(*found)

    @torch.no_grad()
    def move(self, lowest: Tensor, highest: Tensor) -> None:
        """Move the averages towards these extremes (), where they are."""
        self.minimum.lerp_(lowest.to(self.minimum), self.settings.momentum)
        self.maximum.lerp_(highest.to(self.maximum), self.settings.momentum)
        self.updates += 1

    def known(self) -> Known:
        """The averages as they are now, read from the device where they have changed."""
        read_together([self])
        assert self._known is not None
        return self._known

    def up_to_date(self) -> bool:
        """Whether the averages are known without asking the device."""
        return self._known is not None and self._known.holds_of((self.minimum, self.maximum, self.updates))


class Known(NamedTuple):
    """What was read of a tracker's buffers, and of which buffers in which version."""

    minimum: float
    maximum: float
    updates: int
    buffers: tuple[Tensor, ...]
    versions: tuple[int, ...]

    def holds_of(self, buffers: tuple[Tensor, ...]) -> bool:
        """Whether these are the buffers that were read, and nobody has written to them since."""
        same = all(mine is each for mine, each in zip(self.buffers, buffers, strict=True))
        return same and self.versions == _versions(buffers)


def _versions(buffers: tuple[Tensor, ...]) -> tuple[int, ...]:
    return tuple(each._version for each in buffers)


@torch.no_grad()
def read_together(trackers: Iterable[RangeTracker]) -> None:
    """Read all moving averages that have changed since they were read, in one go: the device is waited for once."""
    changed = [each for each in trackers if not each.up_to_date()]
    if not changed:
        return
    buffers = [(each.minimum, each.maximum, each.updates) for each in changed]
    numbers = torch.stack([each.double() for each in chain.from_iterable(buffers)]).tolist()
    for position, (tracker, three) in enumerate(zip(changed, buffers, strict=True)):
        minimum, maximum, updates = numbers[3 * position : 3 * position + 3]
        tracker._known = Known(minimum, maximum, int(updates), three, _versions(three))


class MovingCoder(NamedTuple):
    """A ``Coder`` whose range nobody has read: its numbers are tensors () on the device, in the membrane's type."""

    range: Tensor
    scale: Tensor
    unit: Tensor
    threshold: int
    powers: bool

    def inside(self, membranes: Tensor) -> Tensor:
        """Where membranes lie within the clamp."""
        return membranes.abs() <= self.range


@dataclass(frozen=True)
class Coder:
    """The coder at one moment: settings and range as plain numbers, so that every kernel rounds alike.

    ``scale`` is s, ``unit`` is 1/s (a multiplication rounds the same everywhere, a division need not); ``powers``:
    levels are powers of two.
    """

    range: float
    scale: float
    unit: float
    threshold: int
    powers: bool = False

    @classmethod
    def at(cls, settings: CoderSettings, range: float) -> Coder:
        scale = settings.levels_per_range / range
        return cls(range, scale, 1.0 / scale, settings.threshold, settings.powers)

    def inside(self, membranes: Tensor) -> Tensor:
        """Where membranes (B, T, H) lie within the clamp."""
        return membranes.abs() <= self.range


class FrameCoder:
    """The coder of a training batch whose range moves at every frame; walks the frames of the batch once.

    Nothing is read back from the device: the range of a frame stays there.
    """

    def __init__(self, tracker: RangeTracker, lengths: Lengths) -> None:
        self.tracker, self.lengths = tracker, lengths
        self.ranges: list[Tensor] = []
        self._updates = tracker.known().updates

    @property
    def powers(self) -> bool:
        return self.tracker.settings.powers

    def next(self, membrane: Tensor) -> MovingCoder:
        """Observe the membrane (B, H) at the next frame; the coder for it."""
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
        """Where membranes (B, T, H) lie within the clamp of their frame."""
        return membranes.abs() <= torch.stack(self.ranges).unsqueeze(1)


AnyCoder = Coder | FrameCoder


class _Encode(torch.autograd.Function):
    """Forward Q(V); backward straight-through inside the clamp."""

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


def straight_through(values: Tensor, sent: Tensor) -> Tensor:
    """``sent``, with the gradient as if it were ``values``."""
    return _StraightThrough.apply(values, sent)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, sent: Tensor) -> Tensor:
        return sent.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


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
