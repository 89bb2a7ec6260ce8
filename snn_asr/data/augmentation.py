"""Augmentation of training frames before they are normalised, drawn anew for every utterance of every batch.

A recipe lists them as ``frame_augmentations``. What drops or warps normalised frames is SpeechBrain's
(``spectrogram_drops``); speed is changed on the waveform (``speeds``).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from snn_asr.data.feature_settings import GLOBAL, FeatureSettings
from snn_asr.errors import UsageError

GAMMA_SHAPE = 4.0  # of the energies of noise in a band: some four independent bins of the spectrum


class FrameAugmentation(ABC):
    """Takes frames (B, T, F) and their lengths (B,), returns frames (B, T, F)."""

    @abstractmethod
    def __call__(self, frames: Tensor, lengths: Tensor) -> Tensor: ...

    def check(self, features: FeatureSettings) -> None:  # noqa: B027 - most work on any
        """Raise UsageError for features on which it cannot work."""


@dataclass(frozen=True)
class StackShift(FrameAugmentation):
    """Each utterance begins 0 to ``frames`` frames later, its first frame repeated: other frames are stacked together.

    With ``frames`` one below the recipe's ``stack`` every way to divide an utterance into stacks is as likely.
    """

    frames: int

    def __post_init__(self) -> None:
        if type(self.frames) is not int or self.frames < 0:
            raise UsageError(f"frames: {self.frames!r}", "StackShift", "must be a whole number from 0")

    def __call__(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, F), (B,) to (B, T, F); the last frames of a shifted utterance are dropped."""
        batch, time, size = frames.shape
        shift = torch.randint(0, self.frames + 1, (batch, 1), device=frames.device)
        source = (torch.arange(time, device=frames.device) - shift).clamp(min=0)
        return frames.gather(1, source[..., None].expand(batch, time, size))


@dataclass(frozen=True)
class FilterbankNoise(FrameAugmentation):
    """Noise added to log filterbank energies, as if it had been in the recording.

    With ``probability`` an utterance gets stationary noise at a ratio drawn from ``snr_low_db`` to ``snr_high_db``
    (mean energies of all bands), its spectrum tilted by up to ``tilt_db`` either way from the lowest to the highest
    band. Energies of independent sounds add up; those of noise in a band scatter as a gamma distribution.
    """

    snr_low_db: float
    snr_high_db: float
    probability: float = 0.5
    tilt_db: float = 20.0

    def __post_init__(self) -> None:
        if not self.snr_low_db <= self.snr_high_db:
            raise UsageError(f"snr_low_db: {self.snr_low_db!r}", "FilterbankNoise", "must be at most snr_high_db")
        if not 0 <= self.probability <= 1:
            raise UsageError(f"probability: {self.probability!r}", "FilterbankNoise", "must be from 0 to 1")

    def check(self, features: FeatureSettings) -> None:
        if features.kind != "fbank" or features.deltas or features.normalization != GLOBAL:
            raise UsageError(
                "noise is added to log filterbank energies alone", "frame_augmentations",
                "take FilterbankNoise out, or set kind=fbank deltas=false normalization=global",
            )

    def __call__(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, F) natural logarithms of energies, (B,) to (B, T, F); padding gets noise too."""
        batch, time, bands = frames.shape
        valid = torch.arange(time, device=frames.device) < lengths.to(frames.device)[:, None]
        masked = frames.masked_fill(~valid[..., None], -math.inf)
        level = masked.logsumexp(dim=(1, 2)) - torch.log(lengths.to(frames) * bands)
        nepers = math.log(10) / 10  # of a decibel of energy
        snr = self.snr_low_db + (self.snr_high_db - self.snr_low_db) * torch.rand(batch, device=frames.device)
        tilt = self.tilt_db * (2 * torch.rand(batch, 1, device=frames.device) - 1)
        slope = torch.linspace(-0.5, 0.5, bands, device=frames.device)
        spectrum = (level - snr * nepers)[:, None] + tilt * slope * nepers
        scatter = torch._standard_gamma(torch.full_like(frames, GAMMA_SHAPE)).div(GAMMA_SHAPE).log()
        noisy = torch.logaddexp(frames, spectrum[:, None] + scatter)
        chosen = torch.rand(batch, device=frames.device) < self.probability
        return torch.where(chosen[:, None, None], noisy, frames)
