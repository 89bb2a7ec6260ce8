"""Log-mel or MFCC frames, their deltas, averages over segments, normalisation and frame stacking.

A frame is the same number bit for bit whether its utterance is computed whole or in chunks of any size (spectra.py).
Segments divide an utterance that is known to its end: they exist whole only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
from torch.nn import functional
from torchaudio.functional import compute_deltas

from snn_asr.data.spectra import Spectra
from snn_asr.errors import DataError, UsageError, unknown_name

DELTA_WINDOW_FRAMES = 5
DELTA_LOOK_AHEAD_FRAMES = 4  # two orders of deltas, each looking half a window ahead
_DEVIATION_FLOOR = 0.01
GLOBAL, SPEAKER, UTTERANCE = NORMALIZATIONS = ("global", "speaker", "utterance")


@dataclass(frozen=True)
class FeatureSettings:
    """What a frame is. Raises UsageError for a value that cannot work.

    ``high_hz`` None or 0 means the Nyquist frequency; ``coefficients`` counts for ``kind`` "mfcc" alone; ``stack``
    neighbouring frames make one input of the encoder. ``segments`` above 0 gives every utterance, whatever its length,
    so many frames: the averages of what ``average_segments`` says. Normalisation then counts these, not the short-time
    frames below them; stacking and live streams cannot be had together with it.

    ``normalization`` says whose mean and deviation the frames are given: ``global`` those of all training frames (the
    model's ``Normalization``, which is applied in any case), ``speaker`` first those of all utterances of their
    speaker, ``utterance`` first their own. Speakers are known in training and in its evaluation only: a file that is
    decoded is all there is of its speaker, so ``speaker`` normalises it by itself, as Kaldi does with an unknown
    speaker. Live streams can be had with ``global`` alone.
    """

    kind: str = "fbank"
    sample_rate: int = 16000
    mels: int = 40
    coefficients: int = 13
    deltas: bool = False
    window_milliseconds: float = 25
    hop_milliseconds: float = 10
    low_hz: float = 20
    high_hz: float | None = None
    stack: int = 3
    segments: int = 0
    normalization: str = GLOBAL

    def __post_init__(self) -> None:
        if self.kind not in ("fbank", "mfcc"):
            raise unknown_name("kind of features", str(self.kind), ("fbank", "mfcc"))
        if self.normalization not in NORMALIZATIONS:
            raise unknown_name("normalization", str(self.normalization), NORMALIZATIONS, "features")
        for name in ("sample_rate", "mels", "coefficients", "stack", "segments"):
            if type(getattr(self, name)) is not int:
                raise _invalid(name, getattr(self, name), "a whole number")
        for name in ("window_milliseconds", "hop_milliseconds", "low_hz", "high_hz"):
            missing = name == "high_hz" and self.high_hz is None
            if not missing and not isinstance(getattr(self, name), (int, float)):
                raise _invalid(name, getattr(self, name), "a number")
        self._check_ranges()

    def _check_ranges(self) -> None:
        nyquist_hz = self.sample_rate / 2
        rules = (
            ("deltas", isinstance(self.deltas, bool), "true or false"),
            ("sample_rate", self.sample_rate >= 4000, "4000 or more"),
            ("mels", self.mels >= 4, "4 or more"),
            ("coefficients", 1 <= self.coefficients <= self.mels or self.kind != "mfcc", f"1 to {self.mels} (mels)"),
            ("window_milliseconds", 5 <= self.window_milliseconds <= 1000, "5 to 1000"),
            ("hop_milliseconds", 1 <= self.hop_milliseconds <= self.window_milliseconds, "1 to window_milliseconds"),
            ("low_hz", 0 <= self.low_hz < nyquist_hz, f"0 to {nyquist_hz:g}"),
            ("high_hz", self.low_hz < (self.high_hz or nyquist_hz) <= nyquist_hz, f"low_hz to {nyquist_hz:g}"),
            ("stack", self.stack >= 1, "1 or more"),
            ("segments", self.segments >= 0, "0 (off) or more"),
            ("stack", self.stack == 1 or not self.segments, "1 where there are segments"),
        )
        for name, valid, expected in rules:
            if not valid:
                raise _invalid(name, getattr(self, name), expected)

    @property
    def window_samples(self) -> int:
        return int(self.sample_rate * self.window_milliseconds / 1000)

    @property
    def hop_samples(self) -> int:
        return int(self.sample_rate * self.hop_milliseconds / 1000)

    @property
    def base_size(self) -> int:
        """Features of a frame without deltas."""
        return self.mels if self.kind == "fbank" else self.coefficients

    @property
    def size(self) -> int:
        """Features of a frame, F."""
        return self.base_size * (3 if self.deltas else 1)

    @property
    def stacked_size(self) -> int:
        """Features of a stacked frame: the encoder's input size."""
        return self.size * self.stack

    @property
    def stacked_seconds(self) -> float:
        """Time from one stacked frame to the next."""
        return self.stack * self.hop_samples / self.sample_rate

    def step_seconds(self, duration_seconds: float) -> float:
        """Time from one input of the encoder to the next, in an utterance of that duration."""
        return duration_seconds / self.segments if self.segments else self.stacked_seconds

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> FeatureSettings:
        """Raises UsageError for an unknown key or an invalid value."""
        valid = [field.name for field in fields(cls)]
        for name in values:
            if name not in valid:
                raise unknown_name("key", name, valid, "features")
        return cls(**values)


class FeatureExtractor:
    """Frames of a waveform: ``extractor(samples (N,)) -> (T, F) float32``, not stacked.

    They are not normalised either, unless the settings say by speaker or utterance: then by themselves. T is
    ``settings.segments`` where that is not 0 and there is a window at all.

    The numbers are those of Kaldi's ``compute-fbank-feats`` and ``compute-mfcc-feats`` (Povey window, DC offset
    removed, pre-emphasis 0.97, ``snip_edges``, no dither) for samples in [-1, 1]. torchaudio computes the same in
    float64, but a frame that comes alone costs a live stream a hundred times as much there.
    """

    def __init__(self, settings: FeatureSettings) -> None:
        self.settings = settings
        self._spectra = Spectra(settings)

    def __call__(self, samples: torch.Tensor) -> torch.Tensor:
        frames = self.plain_frames(samples)
        return frames if self.settings.normalization == GLOBAL else normalize_alone(frames)

    def plain_frames(self, samples: torch.Tensor) -> torch.Tensor:
        """(N,) to (T, F), not normalised whatever the settings say."""
        frames = self.base_frames(samples)
        frames = add_deltas(frames) if self.settings.deltas else frames
        return average_segments(frames, self.settings.segments) if self.settings.segments else frames

    def frame_count(self, samples: int) -> int:
        """Frames that so many samples give: 0 where there is less than a window."""
        windows = self.window_count(samples)
        return self.settings.segments if windows and self.settings.segments else windows

    def window_count(self, samples: int) -> int:
        """Whole windows that fit in so many samples."""
        return max(0, 1 + (samples - self.settings.window_samples) // self.settings.hop_samples)

    def base_frames(self, samples: torch.Tensor) -> torch.Tensor:
        """(N,) to (windows, base size) float32, without deltas and not averaged."""
        return torch.from_numpy(self._spectra(samples.contiguous().numpy(), self.window_count(len(samples))))


class FeatureStream:
    """Frames of a waveform that arrives in chunks; together they equal ``extractor(whole waveform)`` exactly.

    Raises UsageError for features with segments, or normalised by anything but the training data.
    """

    def __init__(self, extractor: FeatureExtractor) -> None:
        if extractor.settings.segments:
            what = f"segments: {extractor.settings.segments}: they divide a whole utterance, which a stream is not"
            raise UsageError(what, "features", "decode whole files, or train a model without segments")
        if extractor.settings.normalization != GLOBAL:
            what = f"normalization: {extractor.settings.normalization}: by whole utterances, which a stream is not"
            raise UsageError(what, "features", "decode whole files, or train a model with normalization=global")
        self._extractor = extractor
        self._reset()

    def accept(self, samples: torch.Tensor) -> torch.Tensor:
        """Take samples (n,), return the frames (t, F) that have become final (with deltas, 4 frames late)."""
        waiting = np.concatenate((self._samples, samples.numpy()))
        frames = self._extractor.base_frames(torch.from_numpy(waiting))
        self._samples = waiting[len(frames) * self._extractor.settings.hop_samples :]
        return self._finished_frames(frames, DELTA_LOOK_AHEAD_FRAMES)

    def finish(self) -> torch.Tensor:
        """The last frames (t, F) of the waveform; the stream is then ready for another."""
        frames = self._finished_frames(torch.empty(0, self._extractor.settings.base_size), 0)
        self._reset()
        return frames

    def _reset(self) -> None:
        self._samples = np.empty(0, np.float32)  # from the start of the next frame
        self._context = torch.empty(0, self._extractor.settings.base_size)  # frames the deltas still need
        self._past = 0  # frames at the start of the context whose deltas were returned

    def _finished_frames(self, frames: torch.Tensor, look_ahead_frames: int) -> torch.Tensor:
        if not self._extractor.settings.deltas:
            return frames
        self._context = torch.cat((self._context, frames))
        end = max(self._past, len(self._context) - look_ahead_frames)
        if end == self._past:
            return torch.empty(0, self._extractor.settings.size)
        finished = add_deltas(self._context)[self._past : end]
        keep = max(0, end - DELTA_LOOK_AHEAD_FRAMES)
        self._context, self._past = self._context[keep:], end - keep
        return finished


def add_deltas(frames: torch.Tensor) -> torch.Tensor:
    """(T, F) to (T, 3F): the frames, their slopes over 5 frames, and the slopes of these; edges are repeated."""
    orders = [frames]
    for _ in range(2):
        if len(frames):
            # Sums of small multiples of float32 numbers are exact in float64, whatever the length of the sequence.
            frames = compute_deltas(frames.double().T, DELTA_WINDOW_FRAMES, mode="replicate").T.float()
        orders.append(frames)
    return torch.cat(orders, dim=1)


def average_segments(frames: torch.Tensor, segments: int) -> torch.Tensor:
    """(T, F) to (segments, F): means over ``segments`` equal parts of the utterance; (0, F) where T is 0.

    Part i covers frames floor(i T / segments) to ceil((i + 1) T / segments), the last excluded: a frame on a border
    counts on both sides, and where there are fewer frames than segments frames are repeated.
    """
    if not len(frames):
        return frames
    # Contiguous, as frames on disk are: sums over them are then taken in one order.
    return functional.adaptive_avg_pool1d(frames.double().T, segments).T.float().contiguous()


@dataclass(frozen=True, eq=False)
class Normalization:
    """Mean and standard deviation of every feature, (F,) float32: ``apply`` gives (frames - mean) / deviation."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def apply(self, frames: torch.Tensor) -> torch.Tensor:
        """(..., F) to (..., F)."""
        return (frames - self.mean.to(frames.device)) / self.deviation.to(frames.device)

    def to_dict(self) -> dict:
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    @classmethod
    def from_dict(cls, values: dict) -> Normalization:
        """The inverse of ``to_dict``, exact through JSON. Raises DataError where the values cannot be that."""
        try:
            mean, deviation = (torch.tensor(values[name], dtype=torch.float32) for name in ("mean", "deviation"))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError("normalisation needs lists of numbers 'mean' and 'deviation'") from error
        whole = mean.dim() == 1 and mean.shape == deviation.shape
        if not whole or not torch.isfinite(mean).all() or not ((deviation > 0) & torch.isfinite(deviation)).all():
            raise DataError("normalisation needs finite means and as many positive deviations")
        return cls(mean, deviation)


class NormalizationAccumulator:
    """Gathers, in float64, the mean and the standard deviation of all frames of many utterances."""

    def __init__(self) -> None:
        self._count: int = 0
        self._sum: torch.Tensor | float = 0.0
        self._squares: torch.Tensor | float = 0.0

    def update(self, frames: torch.Tensor) -> None:
        """Add the frames (T, F) of one utterance."""
        frames = frames.double()
        self._count += len(frames)
        self._sum = self._sum + frames.sum(dim=0)
        self._squares = self._squares + frames.square().sum(dim=0)

    def finish(self) -> Normalization:
        """Raises DataError where there was no frame at all. Deviations under 0.01 (a constant feature) become 0.01."""
        if self._count == 0:
            raise DataError("no frames to normalise with", todo="check that the training audio is not empty")
        mean = self._sum / self._count
        variance = (self._squares / self._count - mean.square()).clamp(min=_DEVIATION_FLOOR**2)
        return Normalization(mean.float(), variance.sqrt().float())


def normalize_alone(frames: torch.Tensor) -> torch.Tensor:
    """(T, F) to (T, F): an utterance with its own mean and deviation; without frames it stays as it is."""
    if not len(frames):
        return frames
    accumulator = NormalizationAccumulator()
    accumulator.update(frames)
    return accumulator.finish().apply(frames)


def stack_frames(frames: torch.Tensor, stack: int) -> torch.Tensor:
    """(..., T, F) to (..., T // stack, stack * F): neighbours side by side; an incomplete last group is dropped."""
    count = stacked_length(frames.shape[-2], stack)
    return frames[..., : count * stack, :].reshape(*frames.shape[:-2], count, stack * frames.shape[-1])


def stacked_length(lengths: int | torch.Tensor, stack: int) -> int | torch.Tensor:
    """Frames left by ``stack_frames`` of so many frames (a number or a tensor of numbers)."""
    return lengths // stack


def _invalid(name: str, value: object, expected: str) -> UsageError:
    return UsageError(f"{name}: {value!r}", "features", f"must be {expected}")
