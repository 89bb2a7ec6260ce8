"""What the header of a sound file claims about its length, against the bytes that are there.

libsndfile silently takes what it finds of a file that was cut short, and nothing of a WAV file whose recorder was
killed before it wrote the length. The length of the sound stands in the headers of the RIFF family (WAV, RF64), W64,
AIFF, CAF, AU, NIST SPHERE and MP3; in OGG the last page tells how long it is. FLAC can be checked by decoding it alone.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

_UNKNOWN_FROM = 0x7FFF0000  # programs that write into a pipe put something from here on for the length
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_MOST_CHUNKS = 1000
_NIST_COUNT = re.compile(rb"(sample_count|sample_n_bytes|channel_count) -i (\d+)")
_NIST_COMPRESSED = re.compile(rb"sample_coding -s\d+ [^\n]*,")
_OGG_TAIL_BYTES = 1 << 17  # a page has at most 65,307


@dataclass(frozen=True)
class Claim:
    """``claimed`` bytes (None: not told) and the ``present`` ones, as far as the file goes.

    ``samples`` is the number of a FLAC header, 0 where it does not tell. ``patches`` are bytes to be read in place of
    those in the file, by their place, so that libsndfile reads to the end.
    """

    claimed: int | None = None
    present: int = 0
    samples: int | None = None
    patches: dict[int, bytes] = field(default_factory=dict)

    @property
    def cut_short(self) -> bool:
        """Whether bytes are missing; one may be, with which some programs fill up an odd number."""
        return self.claimed is not None and self.present + 1 < self.claimed


def read_claim(file: BinaryIO) -> Claim:
    """What the header of ``file`` (seekable) claims; of nothing where the format is another, or damaged."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(4096)
    try:
        if start[:4] in (b"RIFF", b"RF64", b"RIFX"):
            return _riff(file, ">" if start[:4] == b"RIFX" else "<", size)
        if start[:4] == b"riff" and start[24:28] == b"wave":
            return _chunks(file, size, 40, _w64_chunk)
        if start[:4] == b"FORM" and start[8:12] in (b"AIFF", b"AIFC"):
            return _chunks(file, size, 12, _aiff_chunk)
        if start[:4] == b"caff":
            return _chunks(file, size, 8, _caf_chunk)
        if start[:4] in (b".snd", b"dns."):
            offset, length = struct.unpack(">II" if start[:1] == b"." else "<II", start[4:12])
            return Claim(None if length >= _UNKNOWN_FROM else length, size - offset)
        if start[:8] == b"NIST_1A\n":
            return _nist(start, size)
        if start[:4] == b"OggS":
            return _ogg(file, size)
        if start[:4] == b"fLaC":
            return _flac(start)
        return _mp3(start, size)
    except (struct.error, ValueError):  # a header that ends early, or no number: libsndfile says what is wrong with it
        return Claim()


class PatchedFile(io.RawIOBase):
    """A file with some bytes replaced, to be read only.

    What goes wrong while libsndfile reads is kept in ``error``: an exception could not pass through it.
    """

    def __init__(self, file: BinaryIO, patches: dict[int, bytes]) -> None:
        self._file, self._patches = file, patches
        self.error: Exception | None = None
        file.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError) as error:  # such as a place before the start
            self.error = error
            return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        try:
            start = self._file.tell()
            content = bytearray(self._file.read(len(view)))
        except (OSError, ValueError) as error:
            self.error = error
            return 0
        for place, patch in self._patches.items():
            for index, value in enumerate(patch, place - start):
                if 0 <= index < len(content):
                    content[index] = value
        view[: len(content)] = content
        return len(content)


def _riff(file: BinaryIO, order: str, size: int) -> Claim:
    """WAV: chunks of a name, a length and so many bytes; RF64 has the length of its samples in a chunk ds64."""
    large: int | None = None
    place = 12
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        if name == b"ds64":
            large = struct.unpack("<QQ", file.read(16))[1]
        if name == b"data":
            present = size - place - 8
            if length == 0xFFFFFFFF and large:
                return Claim(large, present)
            if length == 0 and present and not _are_chunks(file, order, place + 8, size):
                patches = {4: min(size - 8, _UNKNOWN_FROM), place + 4: min(present, _UNKNOWN_FROM)}
                return Claim(patches={at: struct.pack(f"{order}I", number) for at, number in patches.items()})
            return Claim(None if length >= _UNKNOWN_FROM else length, present)
        place += 8 + length + length % 2
    return Claim()


def _are_chunks(file: BinaryIO, order: str, place: int, size: int) -> bool:
    """Whether from ``place`` to the end of the file there are chunks: names of printable characters, with lengths."""
    while place + 8 <= size:
        file.seek(place)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        if not all(32 <= each < 127 for each in name):
            return False
        place += 8 + length + length % 2
    return place <= size + 1


def _chunks(file: BinaryIO, size: int, place: int, read_chunk: Callable[[bytes], tuple[bool, int, int]]) -> Claim:
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        found, header, length = read_chunk(file.read(24))
        if found:
            return Claim(None if length < 0 else length, size - place - header)
        place += header + max(0, length)
    return Claim()


def _w64_chunk(head: bytes) -> tuple[bool, int, int]:
    """Whether these are the samples, bytes of the chunk's header, and bytes behind it, up to the next chunk."""
    length = max(0, struct.unpack("<Q", head[16:24])[0] - 24)
    return head[:16] == _W64_DATA, 24, length if head[:16] == _W64_DATA else length + -length % 8


def _aiff_chunk(head: bytes) -> tuple[bool, int, int]:
    name, length = struct.unpack(">4sI", head[:8])
    return name == b"SSND", 8, length if name == b"SSND" else length + length % 2


def _caf_chunk(head: bytes) -> tuple[bool, int, int]:
    """The samples may have the length -1: to the end of the file."""
    name, length = struct.unpack(">4sq", head[:12])
    return name == b"data", 12, length


def _nist(start: bytes, size: int) -> Claim:
    """NIST SPHERE has lines of text; those of a compressed file tell the length of what it becomes."""
    counts = {name: int(number) for name, number in _NIST_COUNT.findall(start)}
    if len(counts) < 3 or _NIST_COMPRESSED.search(start):
        return Claim()
    claimed = counts[b"sample_count"] * counts[b"sample_n_bytes"] * counts[b"channel_count"]
    return Claim(claimed, size - int(start[8:16]))


def _ogg(file: BinaryIO, size: int) -> Claim:
    file.seek(max(0, size - _OGG_TAIL_BYTES))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return Claim(size + 27, size)
    return Claim(size - len(page) + 27 + page[26] + sum(page[27 : 27 + page[26]]), size)


def _flac(start: bytes) -> Claim:
    """The header has 36 bits for the number of samples: "unknown" in their place makes libsndfile read to the end."""
    first, rest = struct.unpack(">BI", start[21:26])
    return Claim(samples=(first & 0x0F) << 32 | rest, patches={21: bytes([first & 0xF0]) + bytes(4)})


def _mp3(start: bytes, size: int) -> Claim:
    """The first frame of a file may hold its number of bytes, in the place where sound begins."""
    begin = 0
    if start[:3] == b"ID3":
        begin = 10 + (start[6] << 21 | start[7] << 14 | start[8] << 7 | start[9])
    mark = max(start.find(b"Xing", begin, begin + 64), start.find(b"Info", begin, begin + 64))
    if mark < 0 or start[begin] != 0xFF:
        return Claim()
    flags = struct.unpack(">I", start[mark + 4 : mark + 8])[0]
    if not flags & 2:
        return Claim()
    at = mark + 8 + (4 if flags & 1 else 0)
    return Claim(struct.unpack(">I", start[at : at + 4])[0] or None, size - begin)
