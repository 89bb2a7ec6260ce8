"""Sound from a pipe as it arrives: raw 16-bit samples, or a WAV file of such samples."""

from __future__ import annotations

import logging
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from torch import Tensor

from snn_asr.data.audio import waveform
from snn_asr.data.containers import UNKNOWN_LENGTH_FROM
from snn_asr.data.mpeg_frames import frame_bytes
from snn_asr.data.resampling import Resampler
from snn_asr.data.sample_rates import LIVE
from snn_asr.errors import DataError

_INPUT = "standard input"
_READ_BYTES = 1 << 16  # at most; a pipe gives what there is
_PCM, _EXTENSIBLE = 1, 0xFFFE  # tags of plain samples, and of a longer header that tells what they are
_FORMAT_BYTES = 1 << 10  # longer than any format chunk of plain samples
_REMEDY = "send raw 16-bit mono samples: ffmpeg -i - -f s16le -ac 1 -ar 16000 - | snn-asr stream MODEL"
# Marks of formats that would otherwise be taken for samples, with their position in the file.
_FORMATS = {
    (0, b"fLaC"): "FLAC", (0, b"OggS"): "OGG", (0, b"ID3"): "MP3", (0, b"NIST_1A"): "NIST SPHERE", (0, b".snd"): "AU",
    (0, b"dns."): "AU", (0, b"FORM"): "AIFF", (0, b"caff"): "CAF", (0, b"riff"): "W64", (0, b"RF64"): "RF64",
    (0, b"RIFX"): "RIFX", (0, b"RIFF"): "RIFF", (0, b"Creative Voi"): "VOC", (0, b"\x1aE\xdf\xa3"): "Matroska or WebM",
    (4, b"ftyp"): "MP4", (0, b"0&\xb2u\x8ef\xcf\x11"): "ASF", (0, b"#!AMR"): "AMR", (0, b"wvpk"): "WavPack",
    (0, b"MAC "): "Monkey's Audio", **{(0, bytes([0x64, 0xA3, version, 0])): "IRCAM" for version in range(1, 5)},
    (0, b"PAF "): "PAF", (0, b" paf"): "PAF", (0, b"\x1f\x8b\x08"): "gzip", (0, b"PK\x03\x04"): "ZIP",
    (0, b"PVF1"): "PVF", (0, b"2BIT"): "AVR", (0, b"FLV\x01"): "FLV", (0, b".RMF"): "RealMedia",
}
_TEXT = re.compile(rb"[\t\n\r -~]*")
_TEXT_BYTES = 64  # no sound begins with so many bytes of printable text
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Wav:
    """The content of a WAV header; ``data_bytes`` is None if it does not tell how much follows."""

    sample_rate: int
    data_bytes: int | None


def raw_blocks(pipe: BinaryIO, from_rate: int, to_rate: int) -> Iterator[Tensor]:
    """Blocks (n,) float32 at ``to_rate`` hertz of the signed 16-bit little-endian mono samples that a pipe brings.

    A WAV header, as ``arecord`` writes one, replaces ``from_rate`` and, if it tells the number of samples, ends the
    sound there. Raises DataError for a WAV file of other samples, and for other formats of sound.
    """
    start = pipe.read(12)
    wav = _read_header(pipe) if start[:4] == b"RIFF" and start[8:] == b"WAVE" else None
    rest = start if wav is None else b""
    if wav is None:
        rest += _refuse_formats(start, pipe)
    resampler = Resampler(from_rate if wav is None else wav.sample_rate, to_rate)
    left = None if wav is None else wav.data_bytes
    while True:
        wanted = rest if left is None else rest[:left]
        whole = len(wanted) - len(wanted) % 2
        if whole:
            yield resampler.accept(waveform(np.frombuffer(wanted[:whole], "<i2").astype(np.int16)))
            left = None if left is None else left - whole
        data = pipe.read1(_READ_BYTES)  # type: ignore[attr-defined]
        if not data:
            break
        rest = wanted[whole:] + data
    if left is not None and left > 1:
        log.warning("%s: the WAV was cut short, %d bytes of its samples did not come", _INPUT, left)
    yield resampler.finish()


def _read_header(pipe: BinaryIO) -> _Wav:
    """Read the header of a WAV file up to its samples."""
    rate = None
    while len(head := pipe.read(8)) == 8:
        name, size = head[:4], struct.unpack("<I", head[4:])[0]
        if name == b"data":
            if rate is None:
                raise DataError("a WAV header without a format", _INPUT, _REMEDY)
            return _Wav(rate, None if size == 0 or size >= UNKNOWN_LENGTH_FROM else size)
        if name == b"fmt ":
            rate = _checked_rate(pipe.read(min(size + size % 2, _FORMAT_BYTES)), size)
        else:
            _skip(pipe, size + size % 2)
    raise DataError("a WAV header that was cut short", _INPUT, _REMEDY)


def _checked_rate(content: bytes, size: int) -> int:
    """The sample rate in a format chunk. Raises DataError unless that describes 16-bit mono samples."""
    if not 16 <= size <= _FORMAT_BYTES or len(content) < size:
        raise DataError("a WAV header whose format is damaged", _INPUT, _REMEDY)
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
    if tag == _EXTENSIBLE and size >= 26:
        (tag,) = struct.unpack("<H", content[24:26])
    if tag != _PCM or channels != 1 or bits != 16:
        what = f"WAV of {channels} channels, {bits} bits, format {tag}"
        raise DataError(what, _INPUT, "send 16-bit mono samples (arecord -f S16_LE -c 1)")
    if not LIVE.allow(rate):
        what = f"a WAV header that tells of {rate} Hz, not of {LIVE}"
        raise DataError(what, _INPUT, "repair the sample rate in its header")
    return int(rate)


def _skip(pipe: BinaryIO, count: int) -> None:
    while count and (data := pipe.read(min(count, _READ_BYTES))):
        count -= len(data)


def _refuse_formats(start: bytes, pipe: BinaryIO) -> bytes:
    """Raise DataError if the first bytes are those of a format, and return the further bytes that were read to tell."""
    for (place, mark), name in _FORMATS.items():
        if start[place : place + len(mark)] == mark:
            raise _refused(name)
    if _TEXT.fullmatch(start) and start:
        more = pipe.read(_TEXT_BYTES - len(start))
        if _TEXT.fullmatch(more):
            raise _refused("text")
        return more
    frame = frame_bytes(start)
    if not frame:
        return b""
    more = pipe.read(frame + 4 - len(start))
    following = (start + more)[frame:]
    if frame_bytes(following) and following[1] == start[1]:
        raise _refused("MP3")
    return more


def _refused(name: str) -> DataError:
    return DataError(f"{name}, not raw samples", _INPUT, f"name a file instead of -, or {_REMEDY}")
