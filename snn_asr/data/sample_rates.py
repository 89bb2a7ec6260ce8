"""The sample rates, in hertz, that recordings, live sound and features may have."""

from __future__ import annotations

from typing import NamedTuple


class RateLimits(NamedTuple):
    """All rates from the ``lowest`` to the ``highest``. In an error they read ``1000 to 768000``."""

    lowest: int
    highest: int

    def allow(self, rate: float) -> bool:
        """Whether the rate is neither too low nor too high."""
        return self.lowest <= rate <= self.highest

    def __str__(self) -> str:
        return f"{self.lowest} to {self.highest}"


RECORDED = RateLimits(1000, 768_000)  # of files, and of samples in memory
LIVE = RateLimits(4000, 384_000)  # of samples that come through a pipe
OF_FEATURES = RateLimits(4000, 768_000)
