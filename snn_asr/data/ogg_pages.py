"""The pages of OGG, in which Vorbis and Opus lie: whether all are there, whole, and of one recording.

    page     "OggS", flags, a place in time, a stream's number, the page's number in it, a checksum, then up to 65,025
             bytes of sound, whose lengths a list of up to 255 bytes tells

libogg passes over a page that is damaged, and over a gap between two pages, without a word: some tenths of a second
of the sound would be missing from what is read.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

_MARK = b"OggS"
_HEADER_BYTES, _LONGEST_LIST = 27, 255
_FIRST, _LAST = 2, 4  # flags of a stream's pages
_SEARCHED_BYTES = 1 << 17  # a page has at most 65,307
_ALL_ONES = 0xFFFFFFFF
_REVERSED_BITS = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@dataclass(frozen=True)
class Pages:
    """``end`` is where the last page ends: behind the file's own end where that page was cut.

    ``several`` tells that other recordings follow in the file, ``unended`` that the last page is not the last of its
    stream, and ``damaged_at`` is the place of a page that is damaged or missing.
    """

    end: int
    several: bool = False
    unended: bool = False
    damaged_at: int | None = None


def read_pages(file: BinaryIO, size: int) -> Pages:
    """All pages of a file of so many bytes, which begins with one."""
    place, last, begun = 0, 0, False
    numbers: dict[bytes, int] = {}
    while place < size:
        file.seek(place)
        header = file.read(_HEADER_BYTES + _LONGEST_LIST)
        if header[: len(_MARK)] != _MARK[: len(header)]:
            return Pages(place, damaged_at=place) if _more_pages(file, place) else _ended(place, last)
        length = _page_bytes(header)
        if length == 0 or place + length > size:
            return Pages(place + max(length, _HEADER_BYTES), unended=True)
        first, stream = bool(header[5] & _FIRST), header[14:18]
        if first and begun:
            return Pages(place, several=True)
        number = struct.unpack("<I", header[18:22])[0]
        file.seek(place)
        if number != numbers.get(stream, number - 1) + 1 or not _is_whole(file.read(length)):
            return Pages(place, damaged_at=place)
        numbers[stream], begun, last = number, begun or not first, header[5]
        place += length
    return _ended(place, last)


def _ended(place: int, last_flags: int) -> Pages:
    return Pages(place, unended=not last_flags & _LAST)


def _page_bytes(header: bytes) -> int:
    """The length of the page that begins so; 0 where the header itself was cut."""
    if len(header) < _HEADER_BYTES or len(header) < _HEADER_BYTES + header[26]:
        return 0
    return _HEADER_BYTES + header[26] + sum(header[_HEADER_BYTES : _HEADER_BYTES + header[26]])


def _more_pages(file: BinaryIO, place: int) -> bool:
    file.seek(place)
    return _MARK in file.read(_SEARCHED_BYTES)


def _is_whole(page: bytes) -> bool:
    """Whether the page has its checksum: a CRC of zlib's polynomial, over bits in the other order, which begins at 0
    and is taken with zeros in its own place."""
    without = page[:22] + bytes(4) + page[26:]
    found = zlib.crc32(without.translate(_REVERSED_BITS), _ALL_ONES) ^ _ALL_ONES
    return int(f"{found:032b}"[::-1], 2) == struct.unpack("<I", page[22:26])[0]
