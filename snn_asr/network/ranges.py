"""The range of a layer's coder: fixed, or following the extremes of the layer's membranes in training.

    A = max(|average of min V|, |average of max V|)

with exponential averages that have Adam's bias correction. They move once a training batch, over its valid frames; or,
as in the authors' code, at every frame (``moving_average_per_frame``), so that the last frames of the last batch leave
their mark on the final range.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor, nn

from snn_asr.network.coder_settings import CoderSettings
from snn_asr.processes import extremes

SMALLEST_RANGE = 1e-5  # a silent layer must not divide by zero


class RangeTracker(nn.Module):
    """The range A of one layer: fixed, or a bias-corrected moving average of the membrane's extremes.

    Until a moving average has seen its first batch, A is ``fixed_range``. In evaluation nobody calls ``observe``, so
    that A stays as it is.

    The averages are buffers on the device of the membranes. Their values are remembered on the host until they change,
    and ``read_together`` reads those of many layers at once.
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
        """Whether A is known: False while a moving average has seen no batch."""
        return not self.settings.follows_membranes or self.known().updates > 0

    def value(self) -> float:
        """The range A, a positive number."""
        if not self.settings.follows_membranes or not self.calibrated:
            return self.settings.fixed_range
        known = self.known()
        largest = max(abs(known.minimum), abs(known.maximum)) / self.correction(known.updates)
        return max(largest, SMALLEST_RANGE)

    def correction(self, updates: int) -> float:
        """Adam's bias correction of averages that began at zero, after so many ``updates``."""
        return 1.0 - (1.0 - self.settings.momentum) ** updates

    def observe(self, values: Tensor) -> None:
        """Move the averages towards the extremes of a batch's ``values`` (any shape), the shares of all processes."""
        found = extremes(values.detach()) if self.settings.follows_membranes else None
        if found is not None:
            self.move(*found)

    @torch.no_grad()
    def move(self, lowest: Tensor, highest: Tensor) -> None:
        """Move the averages towards these extremes, scalars () on any device."""
        self.minimum.lerp_(lowest.to(self.minimum), self.settings.momentum)
        self.maximum.lerp_(highest.to(self.maximum), self.settings.momentum)
        self.updates += 1

    def known(self) -> Known:
        """The averages as they are now; the device is asked only if they have changed."""
        read_together([self])
        assert self._known is not None
        return self._known

    def up_to_date(self) -> bool:
        """Whether the averages are known without asking the device."""
        return self._known is not None and self._known.holds_of((self.minimum, self.maximum, self.updates))


class Known(NamedTuple):
    """The averages of one tracker as plain numbers, with the buffers (and their versions) that they were read from."""

    minimum: float
    maximum: float
    updates: int
    buffers: tuple[Tensor, ...]
    versions: tuple[int, ...]

    def holds_of(self, buffers: tuple[Tensor, ...]) -> bool:
        """Whether these numbers were read from ``buffers``, and nobody has written to them since."""
        same = all(mine is each for mine, each in zip(self.buffers, buffers, strict=True))
        return same and self.versions == _versions(buffers)


def _versions(buffers: tuple[Tensor, ...]) -> tuple[int, ...]:
    return tuple(each._version for each in buffers)


@torch.no_grad()
def read_together(trackers: Iterable[RangeTracker]) -> None:
    """Read the averages of all trackers that have changed, so that the host waits for the device once for all."""
    changed = [each for each in trackers if not each.up_to_date()]
    if not changed:
        return
    buffers = [(each.minimum, each.maximum, each.updates) for each in changed]
    numbers = torch.stack([each.double() for each in chain.from_iterable(buffers)]).tolist()
    for position, (tracker, three) in enumerate(zip(changed, buffers, strict=True)):
        minimum, maximum, updates = numbers[3 * position : 3 * position + 3]
        tracker._known = Known(minimum, maximum, int(updates), three, _versions(three))
