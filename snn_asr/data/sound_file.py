"""Sound files of every format libsndfile reads, decoded once from start to end and checked against their headers.

    with open_sound("talk.flac") as sound:
        for block in sound.blocks(160000): ...           # (n, channels) float32

Whatever goes wrong below, in a header, a codec or on the disk, is one DataError with the name of the file. No number of
a header makes anything be allocated.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import soundfile

from snn_asr.data.containers import Claim, read_claim
from snn_asr.data.patched_file import PatchedFile
from snn_asr.data.sample_rates import RECORDED
from snn_asr.errors import DataError
from snn_asr.interruption import uninterrupted

SoundSource: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO"

_BLOCK_VALUES = 1 << 22  # at most, of all channels together
_UNTOLD_SAMPLES = 1 << 62  # libsndfile has 2^63 - 1 for a length that is not told
_CODED_SAMPLES = 5760  # of a block of any lossy codec, by which its length may differ from what is told
_EXACT_SUBTYPES = ("PCM", "FLOAT", "DOUBLE", "ULAW", "ALAW")
_CODEC_ERRORS = (RuntimeError, TypeError, ValueError, OSError, MemoryError, AssertionError, OverflowError)
_CONVERT, _COPY_ANEW = "convert it to WAV or FLAC", "copy or convert it anew"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a file says; ``samples`` (of each channel) is None where it does not tell their number."""

    sample_rate: int
    channels: int
    samples: int | None
    format: str
    subtype: str


class SoundFile:
    """An open file; ``name`` is what errors call it. Its blocks can be read once."""

    def __init__(self, content: BinaryIO, claim: Claim, name: object) -> None:
        self._content, self._name = PatchedFile(content, claim), name
        try:
            with uninterrupted():
                self._file = _ForwardFile(self._content)
        except _CODEC_ERRORS as error:
            raise self._fault("not readable as audio", error) from error
        told = int(self._file.frames) if claim.samples is None else claim.samples
        samples = None if told >= _UNTOLD_SAMPLES or claim.samples == 0 else told
        file = self._file
        self.info = AudioInfo(file.samplerate, file.channels, samples, file.format, file.subtype)

    def blocks(self, samples: int) -> Iterator[np.ndarray]:
        """Blocks (n, channels) float32 of about so many samples, to the end, which must be where the header says."""
        size, done, told = max(1, min(samples, _BLOCK_VALUES // self.info.channels)), 0, self.info.samples
        count = size
        while count == size:
            try:
                with uninterrupted():
                    channels = self._file.read(size, dtype="float32", always_2d=True)
            except _CODEC_ERRORS as error:
                raise self._fault("cannot decode", error) from error
            count = len(channels)
            done += count
            if count:
                yield channels
        if self._content.error is not None:
            raise self._fault("cannot read", self._content.error)
        exact = self.info.format == "FLAC" or self.info.subtype.startswith(_EXACT_SUBTYPES)
        if told is not None and done < told - (0 if exact else _CODED_SAMPLES):
            raise DataError(f"cut short: {done} of {told} samples", self._name, _COPY_ANEW)
        if told is not None and done > told:
            log.warning("%s: %d samples are there, its header tells of %d; all are taken", self._name, done, told)

    def close(self) -> None:
        self._file.close()

    def _fault(self, what: str, error: Exception) -> DataError:
        return DataError(f"{what} ({reason(self._content.error or error)})", self._name, _CONVERT)


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read once, from start to end.

    soundfile seeks behind each block to where it is anyhow: GSM 6.10 cannot, and MP3 may then lose samples.
    """

    def seekable(self) -> bool:
        return False


@contextmanager
def open_sound(source: SoundSource, name: object) -> Iterator[SoundFile]:
    """The sound of a path, an open file or the content of one; a file that was given open stays open.

    Raises DataError where it is missing, unreadable, cut short as far as its header tells, or of an absurd rate.
    """
    with _binary(source, name) as content:
        try:
            claim = read_claim(content)
        except OSError as error:
            raise DataError(f"cannot read ({reason(error)})", name, "check the disk") from error
        if claim.cut_short:
            raise DataError(f"cut short: {claim.present} of {claim.claimed} bytes", name, _COPY_ANEW)
        if claim.several:
            raise DataError("several recordings in one file, of which only the first would be read", name, _CONVERT)
        if claim.damaged_at is not None:
            raise DataError(f"damaged: what belongs at byte {claim.damaged_at} is not there", name, _COPY_ANEW)
        if claim.unended:
            log.warning("%s: its last part is missing, as of a recorder that was killed; what is there is taken", name)
        if claim.left_out:
            log.warning("%s: %d bytes behind its samples are no part of it, and are left out", name, claim.left_out)
        sound = SoundFile(content, claim, name)
        try:
            if not RECORDED.allow(sound.info.sample_rate):
                what = f"its header tells of {sound.info.sample_rate} Hz, not of {RECORDED}"
                raise DataError(what, name, "repair the sample rate in its header")
            yield sound
        finally:
            sound.close()


def describe(path: str | os.PathLike[str]) -> AudioInfo:
    """What a file's header says. Raises DataError where it is missing, unreadable or cut short.

    Of FLAC, which does not tell its number of bytes, the last sample is looked for.
    """
    with open_sound(path, path) as sound:
        info = sound.info
    if info.format == "FLAC" and info.samples:
        with _binary(path, path) as content, _last_sample(content, path) as file:
            with uninterrupted():
                file.seek(info.samples - 1)
                last = file.read(1, always_2d=True)
            if not len(last):
                raise DataError(f"cut short: not all of {info.samples} samples are there", path, _COPY_ANEW)
    return info


def duration_seconds(path: str | os.PathLike[str]) -> float:
    """Duration by the file's header, or by reading it where the header does not tell. Raises what ``describe`` does."""
    info = describe(path)
    samples = info.samples
    if samples is None:
        with open_sound(path, path) as sound:
            samples = sum(len(each) for each in sound.blocks(_BLOCK_VALUES))
    return samples / info.sample_rate


@contextmanager
def _last_sample(content: BinaryIO, name: object) -> Iterator[soundfile.SoundFile]:
    """A file to seek in; where that fails there is less of it than its header tells."""
    try:
        claim = read_claim(content)
        tags = Claim(skipped=claim.skipped, end=claim.end)
        with soundfile.SoundFile(PatchedFile(content, tags)) as file:
            yield file
    except _CODEC_ERRORS as error:
        raise DataError(f"cut short or damaged ({reason(error)})", name, _COPY_ANEW) from error


@contextmanager
def _binary(source: SoundSource, name: object) -> Iterator[BinaryIO]:
    """What can be read and sought in; only what is opened here is closed."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source)
    elif isinstance(source, (str, os.PathLike)):
        with _open_path(Path(source)) as file:
            yield file
    elif not hasattr(source, "read"):
        what = f"{type(source).__name__} is neither a file nor samples"
        raise DataError(what, name, "give a path, an open file, its bytes, an array, a tensor or a list of numbers")
    else:
        _require_bytes(source, name)
        yield source if source.seekable() else io.BytesIO(source.read())


def _require_bytes(file: BinaryIO, name: object) -> None:
    """Raise DataError for an open file that gives text, or nothing at all."""
    try:
        found: object = file.read(0)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read ({reason(error)})", name, "open it for reading, with mode 'rb'") from error
    if not isinstance(found, bytes):
        raise DataError("open as text, not as bytes", name, "open it with mode 'rb'")


def _open_path(path: Path) -> BinaryIO:
    try:
        if path.is_dir():
            raise DataError("a folder, not an audio file", path, "check the path")
        if not path.exists():
            link = f" (a link to {os.readlink(path)})" if path.is_symlink() else ""
            raise DataError(f"no such audio file{link}", path, "check the path")
        if not path.is_file():
            raise DataError("no regular file", path, "write what it gives into a file")
        return open(path, "rb")
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read ({reason(error)})", path, "check the path and its permissions") from error


def reason(error: BaseException) -> str:
    """What a library says, without its full stop and in one line."""
    found = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return str(found or type(error).__name__).strip().rstrip(".").replace("\n", " ")
