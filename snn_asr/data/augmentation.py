"""Augmentation of training frames before they are normalised, drawn anew for every utterance of every batch.

A recipe names them as ``frame_augmentations``. Its ``spectrogram_drops`` are stretches that are set to zero after the
normalisation, and speed is changed on the waveform (``speeds``).
"""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from snn_asr.data.feature_settings import GLOBAL, FeatureSettings
from snn_asr.devices import send
from snn_asr.errors import UsageError, unknown_name

MOST_SHIFTED = 10_000  # frames
LOUDEST_DB = 1000  # or, below 0, softest
GAMMA_SHAPE = 4.0  # of the energies of noise in a band, which has some four independent bins of the spectrum
BENT = 0.6  # share of the highest frequency from which a warp bends towards it: 4800 of 8000 Hz, as in the paper


class FrameAugmentation(ABC):
    """Called with frames (B, T, F) and their lengths (B,), it returns changed frames (B, T, F)."""

    @abstractmethod
    def __call__(self, frames: Tensor, lengths: Tensor) -> Tensor: ...

    def fit(self, features: FeatureSettings) -> FrameAugmentation:
        """The augmentation for frames of these features: itself, unless it has to know them. Raises UsageError for
        features that it cannot work on."""
        return self


@dataclass(frozen=True)
class StackShift(FrameAugmentation):
    """Each utterance begins 0 to ``frames`` frames later, so that other frames are stacked together.

    The first frame is repeated. If ``frames`` is the recipe's ``stack`` - 1, all ways to divide an utterance into
    stacks are equally likely.
    """

    frames: int

    def __post_init__(self) -> None:
        if type(self.frames) is not int or not 0 <= self.frames <= MOST_SHIFTED:
            todo = f"must be a whole number from 0 to {MOST_SHIFTED}"
            raise UsageError(f"frames: {self.frames!r}", "StackShift", todo)

    def __call__(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """The shifted frames (B, T, F). The last frames of a shifted utterance are dropped."""
        batch, time, size = frames.shape
        shift = torch.randint(0, self.frames + 1, (batch, 1), device=frames.device)
        source = (torch.arange(time, device=frames.device) - shift).clamp(min=0)
        return frames.gather(1, source[..., None].expand(batch, time, size))


@dataclass(frozen=True)
class FilterbankNoise(FrameAugmentation):
    """Noise added to log filterbank energies, as if it had been in the recording.

    With ``probability`` an utterance gets stationary noise at a signal-to-noise ratio drawn from ``snr_low_db`` to
    ``snr_high_db`` (of the mean energies of all bands). The spectrum of the noise is tilted by up to ``tilt_db`` either
    way from the lowest to the highest band. Energies of independent sounds add up, and those of noise in a band have a
    gamma distribution.
    """

    snr_low_db: float
    snr_high_db: float
    probability: float = 0.5
    tilt_db: float = 20.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= LOUDEST_DB:
                todo = f"must be a number, at most {LOUDEST_DB}"
                raise UsageError(f"{each.name}: {value!r}", "FilterbankNoise", todo)
        if not self.snr_low_db <= self.snr_high_db:
            raise UsageError(f"snr_low_db: {self.snr_low_db!r}", "FilterbankNoise", "must be at most snr_high_db")
        if not 0 <= self.probability <= 1:
            raise UsageError(f"probability: {self.probability!r}", "FilterbankNoise", "must be from 0 to 1")

    def fit(self, features: FeatureSettings) -> FilterbankNoise:
        """Itself. Raises UsageError for features that are not log energies of bands."""
        _require_log_energies(features, "filterbank_noise")
        return self

    def __call__(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """The natural logarithms (B, T, F) of the energies with noise; padding gets noise too."""
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


@dataclass(frozen=True)
class FrequencyWarp(FrameAugmentation):
    """Vocal tract length perturbation (Jaitly & Hinton 2013): each utterance as if its speaker were larger or smaller.

    A factor drawn from ``low`` to ``high`` stretches the frequencies of an utterance: the energy at f becomes the one
    at the factor times f, up to ``BENT`` of the highest frequency. From there a line leads on to the highest, which
    stays. Log energies are interpolated between the centres of neighbouring bands, and are constant beyond the
    outermost. ``features``, which ``fit`` sets, says where the bands lie.
    """

    low: float
    high: float
    features: FeatureSettings = field(default=FeatureSettings(), kw_only=True)

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0.5 <= value <= 2:
                raise UsageError(f"{name}: {value!r}", "FrequencyWarp", "must be a factor from 0.5 to 2")
        if self.low > self.high:
            raise UsageError(f"low: {self.low!r}", "FrequencyWarp", "must be at most high")

    def fit(self, features: FeatureSettings) -> FrequencyWarp:
        """The same warp for the bands of these features. Raises UsageError for features that are not log energies."""
        _require_log_energies(features, "frequency_warp")
        return replace(self, features=features)

    def __call__(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """The warped log energies (B, T, F)."""
        factors = self.low + (self.high - self.low) * torch.rand(len(frames), 1, device=frames.device)
        source = self._sources(factors).to(frames.dtype)
        below = source.floor().clamp(max=frames.shape[2] - 2)
        at = below.long()[:, None].expand_as(frames)
        return torch.lerp(frames.gather(2, at), frames.gather(2, at + 1), (source - below)[:, None])

    def _sources(self, factors: Tensor) -> Tensor:
        """The positions (B, mels), from 0 to mels - 1, of the bands that each band is taken from, for factors (B,
        1)."""
        features = self.features
        highest = float(features.high_hz or features.sample_rate / 2)
        (first, last), bands = _to_mels(torch.tensor([float(features.low_hz), highest])), features.mels
        step = (last - first) / (bands + 1)
        centres = 700 * (((first + step * torch.arange(1, bands + 1)) / 1127).exp() - 1).to(factors)
        knee = BENT * highest * factors.clamp(max=1)  # as a source; it lies at knee / factors
        slope = (highest - knee) / (highest - knee / factors)
        source = torch.where(centres <= knee / factors, factors * centres, highest - slope * (highest - centres))
        return ((_to_mels(source) - first.to(factors)) / step.to(factors) - 1).clamp(0, bands - 1)


def _to_mels(hertz: Tensor) -> Tensor:
    return 1127 * torch.log1p(hertz / 700)


def _require_log_energies(features: FeatureSettings, name: str) -> None:
    if features.kind != "fbank" or features.deltas or features.normalization != GLOBAL:
        raise UsageError(
            f"{name} works on log filterbank energies alone", "frame_augmentations",
            f"take {name} out, or set features=fbank deltas=false normalization=global",
        )


@dataclass(frozen=True)
class FrameDrops:
    """Stretches of normalised frames that are set to zero, as in SpecAugment.

    It draws the same numbers and gives the same results as SpeechBrain's ``SpectrogramDrop``. Along "time" the
    stretches are frames, along "frequency" bands. Their number, the same for a batch, is drawn from the first of
    ``counts`` to the second. The length of each, drawn for every utterance, is from the first of ``lengths`` to below
    the second.
    """

    along: str
    lengths: tuple[int, int]
    counts: tuple[int, int]

    def __post_init__(self) -> None:
        if self.along not in DIMENSIONS:
            raise unknown_name("drops", str(self.along), DIMENSIONS, "spectrogram_drops")
        for name in ("lengths", "counts"):
            value = getattr(self, name)
            pair = isinstance(value, (list, tuple)) and len(value) == 2
            if not pair or not all(type(each) is int and each >= 0 for each in value) or value[0] > value[1]:
                what = f"{name}: {value!r}"
                raise UsageError(what, f"spectrogram_drops: {self.along}", "must be two whole numbers, the lower first")
            object.__setattr__(self, name, tuple(value))  # YAML gives lists
        if self.lengths[0] == self.lengths[1]:
            what = f"lengths: {list(self.lengths)!r} holds no length, the second number being left out"
            raise UsageError(what, f"spectrogram_drops: {self.along}", "make the second larger")

    def __call__(self, frames: Tensor) -> Tensor:
        """The frames (B, T, F) with stretches of zeros.

        The numbers are drawn on the host, in SpeechBrain's order. SpeechBrain's own module draws on a GPU, and waits
        for it four times.
        """
        (count,) = torch.randint(self.counts[0], self.counts[1] + 1, (1,)).tolist()
        if not count:
            return frames
        dimension = DIMENSIONS[self.along]
        size = frames.shape[dimension]
        length = torch.randint(*self.lengths, (len(frames), count, 1))
        start = torch.randint(0, max(size, 1), (len(frames), count, 1))
        place = torch.arange(size)
        dropped = ((start <= place) & (place < start + length)).any(dim=1)
        return frames.masked_fill(send(dropped, frames.device).unsqueeze(3 - dimension), 0.0)


DIMENSIONS = {"time": 1, "frequency": 2}  # of frames (B, T, F)
_DRAWN = ("length", "count")
FRAME_AUGMENTATIONS: dict[str, Callable[..., FrameAugmentation]] = {
    "stack_shift": StackShift,
    "filterbank_noise": FilterbankNoise,
    "frequency_warp": FrequencyWarp,
}


def named(value: object) -> FrameAugmentation:
    """The augmentation for an entry of ``frame_augmentations``, which is ``{name: its arguments}`` or an object.

    Raises UsageError for an unknown name or argument, ValueError for an entry of another form.
    """
    if isinstance(value, FrameAugmentation):
        return value
    name, arguments = _named_arguments(value)
    if name not in FRAME_AUGMENTATIONS:
        raise unknown_name("augmentation", name, FRAME_AUGMENTATIONS, "frame_augmentations")
    return _made(FRAME_AUGMENTATIONS[name], name, arguments, "frame_augmentations")


def named_drops(value: Any) -> FrameDrops | Callable[[Tensor], Tensor]:
    """The drops for an entry of ``spectrogram_drops``, which is ``{time or frequency: arguments}`` or a callable.

    Raises UsageError for an unknown name or argument, ValueError for an entry of another form.
    """
    if callable(value):
        return _of_speechbrain(value) or value
    name, arguments = _named_arguments(value)
    return _made(FrameDrops, name, {"along": name, **arguments}, "spectrogram_drops")


def _of_speechbrain(value: Any) -> FrameDrops | None:
    """The drops equal to a module of SpeechBrain's, or None for a module that does not set stretches to zero."""
    module = sys.modules.get("speechbrain.augment.freq_domain")  # not imported for this: it takes seconds
    if module is None or type(value) is not module.SpectrogramDrop or value.replace != "zeros":
        return None
    lengths, counts = ((getattr(value, f"drop_{each}_low"), getattr(value, f"drop_{each}_high")) for each in _DRAWN)
    return FrameDrops("time" if value.dim == 1 else "frequency", lengths, counts)


def _named_arguments(value: object) -> tuple[str, dict[str, Any]]:
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ValueError("not one name with its arguments")
    ((name, arguments),) = value.items()
    if not isinstance(name, str) or not isinstance(arguments, Mapping):
        raise ValueError("not one name with its arguments")
    return name, dict(arguments)


def _made(make: Callable[..., Any], name: str, arguments: dict[str, Any], where: str) -> Any:
    valid = {each.name for each in fields(make) if not each.kw_only}  # type: ignore[arg-type]
    for argument in arguments:
        if argument not in valid:
            raise unknown_name(f"argument of {name}", str(argument), valid, where)
    try:
        return make(**arguments)
    except TypeError as error:
        raise UsageError(f"{name}: {arguments}", where, f"needs {', '.join(sorted(valid - {'along'}))}") from error
