"""The settings of features: the kind, size, window and hop of a frame, and its normalisation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from snn_asr.data.sample_rates import OF_FEATURES
from snn_asr.errors import UsageError, unknown_name

GLOBAL, SPEAKER, UTTERANCE = NORMALIZATIONS = ("global", "speaker", "utterance")


@dataclass(frozen=True)
class FeatureSettings:
    """What a frame is. Raises UsageError for a value that cannot work.

    ``high_hz`` None or 0 means the Nyquist frequency. ``coefficients`` matters only for ``kind`` "mfcc". ``stack``
    neighbouring frames make one input of the encoder. ``segments`` above 0 divides every utterance, whatever its
    length, into so many parts, whose averages are its frames (``average_segments``). Normalisation then applies to
    these averages, and neither stacking nor live streams are possible.

    ``normalization`` says by which statistics frames are normalised. ``global`` means those of all training frames (the
    model's ``Normalization``), which are always applied; before that, ``speaker`` applies those of all utterances of
    the speaker, and ``utterance`` those of the utterance. Speakers are known only in training and its evaluation.
    ``decode`` normalises each file by itself, as Kaldi does with an unknown speaker. Live streams need ``global``.
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
            ("sample_rate", OF_FEATURES.allow(self.sample_rate), str(OF_FEATURES)),
            ("mels", 4 <= self.mels <= 4096, "4 to 4096"),
            ("coefficients", 1 <= self.coefficients <= self.mels or self.kind != "mfcc", f"1 to {self.mels} (mels)"),
            ("window_milliseconds", 5 <= self.window_milliseconds <= 1000, "5 to 1000"),
            ("hop_milliseconds", 1 <= self.hop_milliseconds <= self.window_milliseconds, "1 to window_milliseconds"),
            ("low_hz", 0 <= self.low_hz < nyquist_hz, f"0 to {nyquist_hz:g}"),
            ("high_hz", self.low_hz < (self.high_hz or nyquist_hz) <= nyquist_hz, f"low_hz to {nyquist_hz:g}"),
            ("stack", self.stack >= 1, "1 or more"),
            ("segments", 0 <= self.segments <= 10_000, "0 (off) to 10000"),
            ("stack", self.stack == 1 or not self.segments, "1 where there are segments"),
        )
        for name, valid, expected in rules:
            if not valid:
                raise _invalid(name, getattr(self, name), expected)

    @property
    def window_samples(self) -> int:
        """The number of samples in a frame."""
        return int(self.sample_rate * self.window_milliseconds / 1000)

    @property
    def hop_samples(self) -> int:
        """The number of samples from one frame to the next."""
        return int(self.sample_rate * self.hop_milliseconds / 1000)

    @property
    def base_size(self) -> int:
        """The number of features in a frame without deltas."""
        return self.mels if self.kind == "fbank" else self.coefficients

    @property
    def size(self) -> int:
        """The number of features in a frame, F."""
        return self.base_size * (3 if self.deltas else 1)

    @property
    def stacked_size(self) -> int:
        """The number of features in a stack of frames, which is the encoder's input size."""
        return self.size * self.stack

    @property
    def stacked_seconds(self) -> float:
        """The time from one stack of frames to the next."""
        return self.stack * self.hop_samples / self.sample_rate

    def step_seconds(self, duration_seconds: float) -> float:
        """The time from one input of the encoder to the next, in an utterance of this duration."""
        return duration_seconds / self.segments if self.segments else self.stacked_seconds

    def require_streaming(self) -> None:
        """Raise UsageError for features that need whole utterances, which a live stream does not have."""
        todo = "decode whole files, or train a model "
        if self.segments:
            what = f"segments: {self.segments}: they divide a whole utterance, which a stream is not"
            raise UsageError(what, "features", f"{todo}without segments")
        if self.normalization != GLOBAL:
            what = f"normalization: {self.normalization}: by whole utterances, which a stream is not"
            raise UsageError(what, "features", f"{todo}with normalization=global")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FeatureSettings:
        """Raises UsageError for an unknown key or an invalid value."""
        require_fields(cls, values, "features")
        return cls(**values)


def require_fields(settings: type[Any], values: Iterable[str], where: str) -> None:
    """Raise UsageError for a key that is no field of a dataclass of settings."""
    valid = [field.name for field in fields(settings)]
    for name in values:
        if name not in valid:
            raise unknown_name("key", name, valid, where)


def _invalid(name: str, value: object, expected: str) -> UsageError:
    return UsageError(f"{name}: {value!r}", "features", f"must be {expected}")
