"""Normalisation of features by mean and deviation, of all training frames or of a single utterance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from snn_asr.errors import DataError

_DEVIATION_FLOOR = 0.01


@dataclass(frozen=True, eq=False)
class Normalization:
    """The mean and the standard deviation (F,) float32 of every feature; ``apply`` gives (frames - mean) /
    deviation."""

    mean: torch.Tensor
    deviation: torch.Tensor
    _copies: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict, init=False, repr=False)

    def apply(self, frames: torch.Tensor) -> torch.Tensor:
        """The normalised frames (..., F). Mean and deviation are copied once to each device."""
        device = frames.device
        if device not in self._copies:
            self._copies[device] = self.mean.to(device), self.deviation.to(device)
        mean, deviation = self._copies[device]
        return (frames - mean) / deviation

    def to_dict(self) -> dict[str, list[float]]:
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Normalization:
        """The inverse of ``to_dict``, exact through JSON. Raises DataError for values of another form."""
        try:
            mean, deviation = (torch.tensor(values[name], dtype=torch.float32) for name in ("mean", "deviation"))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError("normalisation needs lists of numbers 'mean' and 'deviation'") from error
        whole = mean.dim() == 1 and mean.shape == deviation.shape
        if not whole or not torch.isfinite(mean).all() or not ((deviation > 0) & torch.isfinite(deviation)).all():
            raise DataError("normalisation needs finite means and as many positive deviations")
        return cls(mean, deviation)


class NormalizationAccumulator:
    """Computes, in float64, the mean and the standard deviation of all frames of many utterances."""

    def __init__(self) -> None:
        self._count: int = 0
        self._sum = self._squares = torch.zeros((), dtype=torch.float64)

    def update(self, frames: torch.Tensor) -> None:
        """Add the frames (T, F) of one utterance."""
        frames = frames.double()
        self._count += len(frames)
        self._sum = self._sum + frames.sum(dim=0)
        self._squares = self._squares + frames.square().sum(dim=0)

    def finish(self) -> Normalization:
        """The normalisation by all frames. Deviations below 0.01 (of constant features) become 0.01.

        Raises DataError if there were no frames.
        """
        if self._count == 0:
            raise DataError("no frames to normalise with", todo="check that the training audio is not empty")
        mean = self._sum / self._count
        variance = (self._squares / self._count - mean.square()).clamp(min=_DEVIATION_FLOOR**2)
        return Normalization(mean.float(), variance.sqrt().float())


def normalize_alone(frames: torch.Tensor) -> torch.Tensor:
    """The frames (T, F) of an utterance, normalised by its own mean and deviation."""
    if not len(frames):
        return frames
    accumulator = NormalizationAccumulator()
    accumulator.update(frames)
    return accumulator.finish().apply(frames)
