"""Audio in blocks, in constant memory: long files, and samples that arrive at another rate than the model's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy
import soundfile
import torch
from torch import Tensor

from snn_asr.data.audio import duration_seconds, resample
from snn_asr.errors import DataError

BLOCK_SECONDS = 10.0
FILTER_WIDTH, ROLLOFF = 6, 0.99  # torchaudio's resampling: zero crossings of the filter, and its cut-off


def read_blocks(path: str | Path, sample_rate: int, block_seconds: float = BLOCK_SECONDS) -> Iterator[Tensor]:
    """The waveform of ``audio.read_audio`` piece by piece, each (samples,) float32.

    Raises DataError, as soon as it is seen, where the file is missing, unreadable, cut short, or holds a sample that is
    not finite.
    """
    duration_seconds(path)  # says what is wrong with a file that cannot be opened
    with soundfile.SoundFile(path) as file:
        resampler = Resampler(file.samplerate, sample_rate)
        done = 0
        while done < file.frames:
            channels = _read(file, max(1, int(block_seconds * file.samplerate)), path)
            if not len(channels):
                raise DataError(f"cut short: {done} of {file.frames} samples", path, "copy or convert it anew")
            if not math.isfinite(channels.sum(dtype=numpy.float64)):
                seconds = done / file.samplerate
                what = f"a sample after {seconds:.1f} s is not a finite number"
                raise DataError(what, path, "repair or leave out this file")
            done += len(channels)
            yield resampler.accept(torch.from_numpy(channels.mean(axis=1, dtype=numpy.float32)))
        yield resampler.finish()


def _read(file: soundfile.SoundFile, samples: int, path: str | Path) -> numpy.ndarray:
    try:
        return file.read(samples, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise DataError(f"cannot decode ({error.error_string})", path, "convert it to WAV or FLAC") from error


class Resampler:
    """``audio.resample`` of a waveform that arrives in chunks, to the rounding of float32.

    The filter of one output reaches so far to both sides: that many samples of the past are kept, and outputs wait
    until so many of the future are there. At equal rates chunks pass through.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._rates = from_rate, to_rate
        divisor = math.gcd(from_rate, to_rate)
        self._from, self._to = from_rate // divisor, to_rate // divisor
        self._reach = math.ceil(FILTER_WIDTH * self._from / (min(self._from, self._to) * ROLLOFF))
        self._reset()

    @property
    def latency_seconds(self) -> float:
        return 0.0 if self._from == self._to else (self._reach + self._from) / self._rates[0]

    def accept(self, samples: Tensor) -> Tensor:
        """Take samples (n,), return those that are ready at the other rate."""
        if self._from == self._to:
            return samples
        self._samples = torch.cat((self._samples, samples))
        ready = max(0, (len(self._samples) - self._reach) // self._from)  # groups of self._from inputs
        return self._give(ready) if ready > self._past else samples[:0]

    def finish(self) -> Tensor:
        """The last samples; the resampler is then ready for another waveform."""
        rest = resample(self._samples, *self._rates)[self._past * self._to :]
        self._reset()
        return rest

    def _give(self, ready: int) -> Tensor:
        """Outputs of the groups up to ``ready``; as many groups as the filter reaches back stay as the past."""
        result = resample(self._samples, *self._rates)[self._past * self._to : ready * self._to]
        keep = max(0, ready - math.ceil(self._reach / self._from))
        self._samples, self._past = self._samples[keep * self._from :], ready - keep
        return result

    def _reset(self) -> None:
        self._samples = torch.empty(0)  # from a multiple of self._from samples of the waveform on
        self._past = 0  # groups at its start whose outputs were returned
