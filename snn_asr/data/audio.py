"""The one door for sound: files, their content, and samples in memory become mono float32 waveforms in [-1, 1].

    read_audio("a.flac", 16000)                          # also an open file, or the bytes of one
    read_audio(samples, 16000, source_rate=44100)        # a numpy array, a tensor, a list of numbers
    for block in read_blocks("talk.wav", 16000): ...     # the same waveform, in little memory

One rule for scaling: whole numbers are divided by the full scale of their type (int16: 32768; unsigned types have their
zero in the middle), floats are taken as they are. Channels are averaged. One rule for what is refused: samples that are
not finite or not numbers, other shapes than one waveform, channels that cancel each other out, rates no sound card has;
each with a DataError of one line.
(soundfile reads; torchaudio 2.11 has no working ``load``.)
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias, TypeGuard, cast

import numpy as np
import soundfile
import torch
from torch import Tensor

from snn_asr.data.resampling import Resampler
from snn_asr.data.sample_rates import RECORDED
from snn_asr.data.sound_file import SoundSource, open_sound
from snn_asr.errors import DataError, UsageError
from snn_asr.files import write_bytes
from snn_asr.interruption import uninterrupted

Samples: TypeAlias = "Tensor | np.ndarray | Sequence[float]"
AudioSource: TypeAlias = "SoundSource | Samples"

log = logging.getLogger(__name__)

BLOCK_SECONDS = 10.0
LONGEST_WHOLE_HOURS = 4  # of one waveform in memory: 0.9 GB at 16 kHz
MOST_CHANNELS = 64  # of samples in memory
_LARGEST_USUAL = 100.0  # a mixture of many voices stays below; beyond, a warning is due
_CANCELLED = 0.02  # of what an average of channels that have nothing in common keeps of their energy: 1 / channels
_HEARD = 1e-9  # mean square, -90 dB: quieter channels are silence
_LARGEST_SAMPLE = 1e12  # floats of other scales are legal; what is beyond is no sound
_FULL_SCALE = 32768  # of a signed 16-bit sample
_WRITTEN_FORMATS = {".wav": "WAV", ".flac": "FLAC"}


def is_samples(source: object) -> TypeGuard[Samples]:
    """Whether this is a waveform in memory, not a file: an array, a tensor, or a list that begins with a number."""
    if isinstance(source, (Tensor, np.ndarray)):
        return True
    return isinstance(source, (list, tuple)) and bool(source) and isinstance(source[0], (int, float, np.number))


def read_audio(source: AudioSource, sample_rate: int = 16000, source_rate: int | None = None) -> Tensor:
    """The whole waveform (samples,) float32 at ``sample_rate`` hertz.

    ``source_rate`` is the rate of samples in memory, ``sample_rate`` where it is not given; files tell their own, and
    their format is found from their content, not from their suffix. Without samples the tensor is empty.

    Raises DataError for what cannot be read, was cut short, is longer than four hours or holds a sample that is not
    finite, UsageError for a rate that cannot be.
    """
    blocks, samples = [], 0
    for block in read_blocks(source, sample_rate, source_rate=source_rate):
        blocks.append(block)
        samples += len(block)
        if samples > LONGEST_WHOLE_HOURS * 3600 * sample_rate:
            what = f"longer than {LONGEST_WHOLE_HOURS} hours: too long to be held in memory"
            raise DataError(what, _name(source), "cut it into shorter pieces")
    return torch.cat(blocks) if blocks else torch.empty(0, dtype=torch.float32)


def read_blocks(
    source: AudioSource, sample_rate: int, block_seconds: float = BLOCK_SECONDS, source_rate: int | None = None
) -> Iterator[Tensor]:
    """The waveform of ``read_audio``, the same bit for bit, piece by piece and in constant memory.

    Raises what ``read_audio`` raises as soon as it is seen, but sets no limit to the length.
    """
    if is_samples(source):
        source_rate = _check_rate(sample_rate if source_rate is None else source_rate)
        array = _channels_last(source)
        size = max(1, int(block_seconds * source_rate))
        pieces = (array[start : start + size] for start in range(0, len(array), size))
        yield from _resampled(pieces, source_rate, sample_rate, _name(source))
        return
    with open_sound(cast("SoundSource", source), _name(source)) as sound:
        rate = sound.info.sample_rate
        yield from _resampled(sound.blocks(int(block_seconds * rate)), rate, sample_rate, _name(source))


def waveform(samples: Samples) -> Tensor:
    """Samples in memory, such as those of a live source, as (samples,) float32, at the rate they have."""
    return torch.from_numpy(_mono(_channels_last(samples)))


class Downmix:
    """Blocks (n, channels) of one sound, which become one channel; ``name`` is what errors call it.

    Over all of the blocks it finds channels in opposite phase, whose average is silence.
    """

    def __init__(self, name: object = "samples") -> None:
        self._name = name
        self.samples = 0  # of each channel, so far
        self._energy = self._left = 0.0  # of a channel in the mean; what independent channels would have kept of it

    def accept(self, channels: np.ndarray, rate: int | None = None) -> np.ndarray:
        """The average (n,) of the channels, as float32."""
        mono = _mono(channels, self._name, self.samples, rate)
        if channels.shape[1] > 1 and len(channels):
            self._energy += _energy(channels)
            self._left += float(mono.var(dtype=np.float64)) * channels.size
        self.samples += len(channels)
        return mono

    def waveform(self, samples: Samples) -> Tensor:
        """``accept`` for samples in memory of any type."""
        return torch.from_numpy(self.accept(_channels_last(samples)))

    def require_sound(self) -> None:
        """Raise DataError if so far the channels were in opposite phase."""
        if self.samples and self._energy / self.samples > _HEARD and self._left < _CANCELLED * self._energy:
            what = "its channels are in opposite phase, and their average is nearly silence"
            raise DataError(what, self._name, "keep one channel of it (sox in.wav out.wav remix 1)")


def write_audio(path: str | Path, samples: Tensor, sample_rate: int) -> None:
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
    write_bytes(path, audio_bytes(samples, sample_rate, file_format))  # files/ tells a full disk from other faults


def audio_bytes(samples: Tensor, sample_rate: int, file_format: str) -> bytes:
    """The content of such a file, of the format WAV or FLAC."""
    # libsndfile scales floats by 32767 but reads by 32768; rounding here keeps a round trip exact.
    levels = (samples.double() * _FULL_SCALE).round().clamp(-_FULL_SCALE, _FULL_SCALE - 1)
    content = io.BytesIO()
    with uninterrupted():
        soundfile.write(content, levels.short().numpy(), sample_rate, subtype="PCM_16", format=file_format)
    return content.getvalue()


def _resampled(blocks: Iterable[np.ndarray], from_rate: int, to_rate: int, name: object) -> Iterator[Tensor]:
    """Blocks (n, channels) at one rate to (m,) at another."""
    resampler, downmix, loudest = Resampler(from_rate, to_rate), Downmix(name), 0.0
    for block in blocks:
        mono = downmix.accept(block, from_rate)
        loudest = max(loudest, float(np.abs(mono).max(initial=0)))
        yield resampler.accept(torch.from_numpy(mono))
    if loudest > _LARGEST_USUAL:
        what = "%s: floats up to %g, where full scale is 1, taken as they are; were whole numbers not divided by %d?"
        log.warning(what, name, loudest, _FULL_SCALE)
    downmix.require_sound()
    yield resampler.finish()


def _energy(channels: np.ndarray) -> float:
    """The mean energy of (n, channels), on the scale of ``_mono`` and without what is constant."""
    kind = channels.dtype
    scale = 2.0 ** (8 * kind.itemsize - 1) if kind.kind in "iu" else 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        return float(channels.var(axis=0, dtype=np.float64).mean()) * len(channels) / scale**2


def _mono(channels: np.ndarray, name: object = "samples", before: int = 0, rate: int | None = None) -> np.ndarray:
    """(n, channels) of any type of number to (n,) float32, scaled, averaged and finite."""
    kind = channels.dtype
    if kind.kind in "iu":
        full_scale = 2.0 ** (8 * kind.itemsize - 1)
        channels = channels.astype(np.float64) / full_scale - (1.0 if kind.kind == "u" else 0.0)
    precision = np.float32 if channels.dtype == np.float32 else np.float64
    with np.errstate(over="ignore", invalid="ignore"):
        mono = channels.mean(axis=1, dtype=precision).astype(np.float32) if channels.shape[1] > 1 else (
            channels[:, 0].astype(np.float32)
        )
    # Comparisons with what is not a number are false.
    if not len(mono) or (mono.max() <= _LARGEST_SAMPLE and mono.min() >= -_LARGEST_SAMPLE):
        return mono
    index = int(np.flatnonzero(~(np.abs(mono) <= _LARGEST_SAMPLE))[0])
    place = "" if rate is None else f" (at {(before + index) / rate:.3f} s)"
    value = f"{mono[index]:g}, no sound" if np.isfinite(mono[index]) else f"{mono[index]}, not a finite number"
    raise DataError(f"sample {before + index}{place} is {value}", name, "repair or leave out this sound")


def _channels_last(samples: Samples) -> np.ndarray:
    """(n, channels): of two dimensions the shorter one counts the channels, as no sound is shorter than that."""
    try:
        if isinstance(samples, Tensor):
            samples = samples.detach().cpu().resolve_conj().resolve_neg()
            samples = (samples.float() if samples.dtype == torch.bfloat16 else samples).numpy()
        array = np.asarray(samples)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError("samples must be numbers in one or two dimensions", type(samples).__name__) from error
    shape = f"{array.dtype} of shape {array.shape}"
    if array.ndim == 2 and array.size == 0 and 1 <= max(array.shape) <= MOST_CHANNELS:  # channels without a sample
        array = array.reshape(0, 1)
    elif array.ndim == 2 and array.shape[0] < array.shape[1]:
        array = array.T
    if array.ndim not in (1, 2) or (array.ndim == 2 and not 1 <= array.shape[1] <= MOST_CHANNELS):
        todo = f"give (samples,), or (samples, channels) of at most {MOST_CHANNELS} channels"
        raise DataError("samples must be one waveform", shape, todo)
    if array.dtype.kind not in "iuf" or (array.dtype.kind in "iu" and array.dtype.itemsize == 8):
        todo = "give floats in [-1, 1], or whole numbers of 8, 16 or 32 bits, whose full scale is known"
        raise DataError("samples must be numbers of a known scale", shape, todo)
    return array if array.ndim == 2 else array[:, None]


def _check_rate(rate: int) -> int:
    number = isinstance(rate, (int, float, np.number)) and not isinstance(rate, bool)
    if not number or not RECORDED.allow(rate) or rate != int(rate):
        raise UsageError(f"a sample rate of {rate} Hz", "sample_rate", f"give whole hertz from {RECORDED}")
    return int(rate)


def _name(source: AudioSource) -> object:
    """How a source is named in errors."""
    if isinstance(source, (str, os.PathLike)):
        return source
    return "samples" if is_samples(source) else getattr(source, "name", "audio in memory")
