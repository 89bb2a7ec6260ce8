"""Audio files to and from mono float32 waveforms in [-1, 1] (soundfile; torchaudio 2.11 has no working ``load``)."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy
import soundfile
import torch
import torchaudio.functional

from snn_asr.errors import DataError, UsageError
from snn_asr.files import atomic_path

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".sph", ".aif", ".aiff", ".au"})
_FULL_SCALE = 32768  # of a signed 16-bit sample
_WRITTEN_FORMATS = {".wav": "WAV", ".flac": "FLAC"}


def read_audio(path: str | Path, sample_rate: int = 16000) -> torch.Tensor:
    """Read a whole file as a waveform (samples,) float32 at ``sample_rate`` hertz; channels are averaged.

    The format is found from the content (WAV, FLAC, OGG, MP3, NIST SPHERE ...), not from the suffix.
    A file without samples gives an empty tensor. Raises DataError where the file is missing, unreadable,
    cut short, or holds a sample that is not finite.
    """
    with _open(path) as file:
        file_rate, declared = file.samplerate, file.frames
        try:
            channels = file.read(dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise DataError(f"cannot decode ({error.error_string})", path, "convert it to WAV or FLAC") from error
    if len(channels) < declared:
        raise DataError(f"cut short: {len(channels)} of {declared} samples", path, "copy or convert it anew")
    samples = channels.mean(axis=1, dtype=numpy.float32)
    _check_finite(samples, file_rate, path)
    return resample(torch.from_numpy(samples), file_rate, sample_rate)


def resample(samples: torch.Tensor, from_rate: int, to_rate: int) -> torch.Tensor:
    """Band-limited resampling of (..., samples) from ``from_rate`` to ``to_rate`` hertz."""
    if from_rate == to_rate or samples.shape[-1] == 0:
        return samples
    return torchaudio.functional.resample(samples, from_rate, to_rate)


def change_speed(samples: torch.Tensor, factor: float) -> torch.Tensor:
    """Play ``factor`` times as fast: the duration becomes 1 / factor and the pitch moves too (speed perturbation).

    ``factor`` is taken as a ratio of whole numbers up to 100. Raises UsageError unless it is in [0.1, 10].
    """
    if not 0.1 <= factor <= 10:
        raise UsageError(f"speed factor {factor}", todo="choose one from 0.1 to 10")
    ratio = speed_ratio(factor)
    return resample(samples, ratio.numerator, ratio.denominator)


def speed_ratio(factor: float) -> Fraction:
    """The ratio by which ``change_speed`` divides the number of samples (rounding up)."""
    return Fraction(factor).limit_denominator(100)


def write_audio(path: str | Path, samples: torch.Tensor, sample_rate: int) -> None:
    """Write a waveform (samples,) as 16-bit mono, WAV or FLAC by the suffix; what exceeds [-1, 1) is clipped.

    16-bit samples read by ``read_audio`` and written again are the same. Raises UsageError for another suffix,
    DataError for a FLAC file without samples (libsndfile would leave one that nothing reads).
    """
    path = Path(path)
    file_format = _WRITTEN_FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise UsageError(f"cannot write audio as '{path.suffix}'", path, "use .wav or .flac")
    if file_format == "FLAC" and len(samples) == 0:
        raise DataError("FLAC cannot hold a waveform without samples", path, "use .wav")
    # libsndfile scales floats by 32767 but reads by 32768; rounding here keeps a round trip exact.
    levels = (samples.double() * _FULL_SCALE).round().clamp(-_FULL_SCALE, _FULL_SCALE - 1)
    with atomic_path(path) as temporary:
        soundfile.write(temporary, levels.short().numpy(), sample_rate, subtype="PCM_16", format=file_format)


def duration_seconds(path: str | Path) -> float:
    """Duration from the file's header. Raises DataError where it is missing or unreadable."""
    with _open(path) as file:
        return file.frames / file.samplerate


def _open(path: str | Path) -> soundfile.SoundFile:
    if not Path(path).is_file():
        raise DataError("no such audio file", path, "check the path")
    try:
        return soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, OSError) as error:
        reason = getattr(error, "error_string", None) or str(error)
        raise DataError(f"not readable as audio ({reason.rstrip('.')})", path, "convert it to WAV or FLAC") from error


def _check_finite(samples: numpy.ndarray, sample_rate: int, path: str | Path) -> None:
    # The sum is not finite where any sample is not; it costs no temporary array.
    if math.isfinite(samples.sum(dtype=numpy.float64)):
        return
    index = int(numpy.flatnonzero(~numpy.isfinite(samples))[0])
    what = f"sample {index} (at {index / sample_rate:.3f} s) is {samples[index]}, not a finite number"
    raise DataError(what, path, "repair or leave out this file")
