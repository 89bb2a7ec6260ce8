"""The options of the multi-level coder (coder.py has its equations)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from snn_asr.errors import UsageError, unknown_name

LINEAR, POWERS_OF_TWO = LEVELS = ("linear", "powers_of_two")
MOVING_AVERAGE, MOVING_AVERAGE_PER_FRAME, FIXED = RANGES = ("moving_average", "moving_average_per_frame", "fixed")


@dataclass(frozen=True)
class CoderSettings:
    """The options of a layer's coder. Raises UsageError for values that cannot work.

    ``bits`` includes the sign: 6 bits give levels up to ±31, and 32 bits with threshold 0 stand for no rounding at all.
    Levels of a magnitude up to ``threshold`` are not sent. ``levels`` are all whole multiples of the smallest level
    (``linear``), or only those that are powers of two (``powers_of_two``).

    ``range`` says where the range A comes from: ``fixed`` (A = ``fixed_range``), ``moving_average`` (an average with
    ``momentum`` that moves once a training batch, over the valid frames) or ``moving_average_per_frame`` (it moves at
    each frame of training, before that frame is coded, as in the paper).
    """

    bits: int = 6
    threshold: int = 3
    range: str = MOVING_AVERAGE
    fixed_range: float = 1.0
    momentum: float = 0.1
    levels: str = LINEAR

    def __post_init__(self) -> None:
        if self.levels not in LEVELS:
            raise unknown_name("levels", self.levels, LEVELS)
        if not 2 <= self.bits <= 32:
            raise UsageError(f"bits={self.bits} gives no usable level", "bits", "choose 2 (binary spikes) to 32")
        if not self.threshold >= 0:
            raise UsageError(f"threshold={self.threshold} is no level", "threshold", "give 0 (all levels) or more")
        if self.threshold >= self.highest_level:
            what = f"{self.threshold} silences every level: with bits={self.bits} they end at {self.highest_level}"
            more = f" to {self.highest_level - 1}" if self.highest_level > 1 else ""
            raise UsageError(what, "threshold", f"give threshold=0{more}, or more bits")
        if self.range not in RANGES:
            raise unknown_name("range", self.range, RANGES)
        if not 0 < self.fixed_range < math.inf:
            raise UsageError(f"fixed_range={self.fixed_range} must be positive and finite", "fixed_range")
        if not 0 < self.momentum <= 1:
            raise UsageError(f"momentum={self.momentum} must lie in (0, 1]", "momentum")

    @property
    def highest_level(self) -> int:
        """The largest level, as a whole number."""
        return 2 ** (self.bits - 1) - (0 if self.powers else 1)

    @property
    def follows_membranes(self) -> bool:
        """Whether the range moves in training, with the extremes of the membranes."""
        return self.range != FIXED

    @property
    def follows_every_frame(self) -> bool:
        """Whether the range moves at every frame of training, and not once a batch."""
        return self.range == MOVING_AVERAGE_PER_FRAME

    @property
    def powers(self) -> bool:
        """Whether the levels are powers of two."""
        return self.levels == POWERS_OF_TWO

    @property
    def additive(self) -> bool:
        """Whether a product with a level needs no multiplication: it is an addition, of a weight that is shifted first
        if there are several levels."""
        return self.powers or self.bits == 2

    @property
    def unit_products(self) -> int:
        """Multiplications that coding one value takes: one to scale it to levels, one to scale it back. Powers of two
        take none: they are found by comparison and looked up in a table."""
        return 0 if self.powers else 2

    @property
    def levels_per_range(self) -> float:
        """The scale s for a range of 1: n (1 - 1e-4), or n for powers of two, whose highest level n is."""
        return 2 ** (self.bits - 1) * (1.0 if self.powers else 1 - 1e-4)
