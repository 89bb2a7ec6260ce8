"""What the header of a sound file claims about its length, against the bytes that are there.

libsndfile silently takes what it finds of a file that was cut short, and nothing of one whose recorder was killed
before it wrote the length. The length of the sound stands in the headers of the RIFF family (WAV, RF64), W64, AIFF,
CAF, AU, VOC, AVR, 8SVX, WVE, NIST SPHERE and MP3; OGG is a chain of pages. FLAC can be checked by decoding it alone. Of
W64, VOC and NIST SPHERE libsndfile takes whatever stands behind the sound for sound, too.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from snn_asr.data import mpeg_frames, ogg_pages

UNKNOWN_LENGTH_FROM = 0x7FFF0000  # programs that write into a pipe put 0 or a number from here on for the length
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_MOST_CHUNKS = 1000
_NIST_COUNT = re.compile(rb"(sample_count|sample_n_bytes|channel_count) -(?:i|s\d+) (\d+)")
_NIST_COMPRESSED = re.compile(rb"sample_coding -s\d+ [^\n]*,")
_LONGEST_PADDING = 7  # bytes to a multiple of 8
_UNCOUNTED_FRAMES = 2  # of MP3: the one that tells the number, and one more of some encoders
_TAG_BEHIND_BYTES = 128  # ID3's first version, at the end of a file


@dataclass(frozen=True)
class Claim:
    """``claimed`` bytes (None: not told) and the ``present`` ones, as far as the file goes.

    ``samples`` is the number of a FLAC header, or that of the frames counted in MP3; 0 where it is not told.
    ``left_out`` counts bytes behind the sound that belong to nothing, ``several`` tells that other recordings
    follow in the same file, which libsndfile would not read, and ``unended`` that the last part of OGG is not there.
    ``damaged_at`` is the place of a part that has another content than was written there, or that is missing.
    ``filled`` bytes may be missing at the end, as some programs count the one that fills up an odd number.

    So that libsndfile reads all of the sound and no more, it is to be given the file without its first ``skipped``
    bytes and with ``beginning`` before them, up to ``end``; ``patches`` are bytes to be read in place of those in the
    file, by their place in it.
    """

    claimed: int | None = None
    present: int = 0
    samples: int | None = None
    left_out: int = 0
    several: bool = False
    unended: bool = False
    damaged_at: int | None = None
    filled: int = 0
    skipped: int = 0
    beginning: bytes = b""
    end: int | None = None
    patches: dict[int, bytes] = field(default_factory=dict)

    @property
    def cut_short(self) -> bool:
        """Whether bytes of the sound are missing."""
        return self.claimed is not None and self.present + self.filled < self.claimed


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
        if start[:4] == b"FORM" and start[8:12] in (b"8SVX", b"16SV"):
            return _chunks(file, size, 12, _svx_chunk)
        if start[:4] in (b".snd", b"dns."):
            return _au(start, size)
        if start[:4] == b"2BIT":
            return _avr(start, size)
        if start[:16] == b"ALawSoundFile**\0":
            return _of_one_piece(32, struct.unpack(">I", start[18:22])[0], size)
        if start[:19] == b"Creative Voice File":
            return _voc(file, start, size)
        if start[:8] == b"NIST_1A\n":
            return _nist(start, size)
        if start[:4] == b"OggS":
            return _ogg(file, size)
        begin = _behind_tag(start)
        file.seek(begin)
        start = file.read(4096)
        if begin and (padding := len(start) - len(start.lstrip(b"\0"))):
            file.seek(begin := begin + padding)
            start = file.read(4096)
        read = _flac if start[:4] == b"fLaC" else _mp3
        return read(file, start, begin, size)
    except (struct.error, ValueError):  # a header that ends early, or no number: libsndfile says what is wrong with it
        return Claim()


def _riff(file: BinaryIO, order: str, size: int) -> Claim:
    """WAV: chunks of a name, a length and so many bytes; RF64 has the length of its samples in a chunk ds64."""
    read_chunk = _riff_chunk if order == "<" else _aiff_chunk  # which differ in the order of bytes alone
    large, large_at, filled = None, 0, 0
    place = 12
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        if name == b"ds64":
            large, large_at = struct.unpack("<QQ", file.read(16))[1], place + 16
        if name == b"fmt ":
            filled = struct.unpack(f"{order}H", file.read(14)[12:])[0] % 2  # of the bytes of one sample of all channels
        if name == b"data":
            present = size - place - 8
            if length == 0xFFFFFFFF and large == 0:
                return Claim(patches={large_at: struct.pack("<Q", present)})
            if length == 0xFFFFFFFF and large is not None:
                behind = place + 8 + large + large % 2
                return Claim(large, present, left_out=_left_out(file, behind, size, read_chunk), filled=filled)
            if length == 0 and present and _left_out(file, place + 8, size, read_chunk):
                patches = {4: min(size - 8, UNKNOWN_LENGTH_FROM), place + 4: min(present, UNKNOWN_LENGTH_FROM)}
                return Claim(patches={at: struct.pack(f"{order}I", number) for at, number in patches.items()})
            if length >= UNKNOWN_LENGTH_FROM:
                return Claim()
            behind = place + 8 + length + length % 2
            return Claim(length, present, left_out=_left_out(file, behind, size, read_chunk), filled=filled)
        place += 8 + length + length % 2
    return Claim()


def _chunks(file: BinaryIO, size: int, place: int, read_chunk: Callable[[bytes], _Chunk]) -> Claim:
    """Chunks up to that of the samples; where it tells of none, and they are there, the real length is put in."""
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        chunk = read_chunk(file.read(24))
        present = size - place - chunk.header
        if chunk.is_sound and chunk.length <= chunk.fewest and present > chunk.fewest:
            following = place + chunk.header + max(0, chunk.length)
            if chunk.length < 0 or _left_out(file, following, size, read_chunk):
                return Claim(patches={place + 4: struct.pack(chunk.form, present)} if chunk.form else {})
        if chunk.is_sound and chunk.length < 0:
            return Claim()
        if chunk.is_sound:
            end = place + chunk.header + chunk.length
            left_out = _left_out(file, end + -end % chunk.even, size, read_chunk)
            return Claim(chunk.length, present, left_out=left_out, end=end if left_out else None)
        place += chunk.header + max(0, chunk.length)
    return Claim()


def _left_out(file: BinaryIO, begin: int, size: int, read_chunk: Callable[[bytes], _Chunk]) -> int:
    """How many bytes there are from ``begin`` to the end of the file; 0 where these are chunks, whose names are
    printable, or too few for one."""
    place = begin
    while place + 8 <= size:
        file.seek(place)
        head = file.read(24)
        try:
            chunk = read_chunk(head)
        except struct.error:
            return size - begin
        if not all(32 <= each < 127 for each in head[:4]):
            return size - begin
        place += chunk.header + max(0, chunk.length)
    return size - begin if place > size + _LONGEST_PADDING else 0


@dataclass(frozen=True)
class _Chunk:
    """Whether it holds the samples, bytes of its header, and bytes behind that up to the next chunk (-1: to the end).

    ``fewest`` bytes are there without any sample. ``form`` is how struct writes the length, behind the chunk's name of
    four bytes, where libsndfile needs a true one. The next chunk begins at a multiple of ``even`` bytes.
    """

    is_sound: bool
    header: int
    length: int
    fewest: int = 0
    form: str = ""
    even: int = 2


def _riff_chunk(head: bytes) -> _Chunk:
    name, length = struct.unpack("<4sI", head[:8])
    return _Chunk(name == b"data", 8, length + length % 2)


def _w64_chunk(head: bytes) -> _Chunk:
    length = max(0, struct.unpack("<Q", head[16:24])[0] - 24)
    return _Chunk(head[:16] == _W64_DATA, 24, length if head[:16] == _W64_DATA else length + -length % 8, even=8)


def _aiff_chunk(head: bytes) -> _Chunk:
    name, length = struct.unpack(">4sI", head[:8])
    return _Chunk(name == b"SSND", 8, length if name == b"SSND" else length + length % 2, 8, ">I")


def _svx_chunk(head: bytes) -> _Chunk:
    name, length = struct.unpack(">4sI", head[:8])
    return _Chunk(name == b"BODY", 8, length if name == b"BODY" else length + length % 2)


def _caf_chunk(head: bytes) -> _Chunk:
    name, length = struct.unpack(">4sq", head[:12])
    return _Chunk(name == b"data", 12, length, 4, ">q", even=1)


def _au(start: bytes, size: int) -> Claim:
    """AU has the length in its header; programs that write into a pipe put all ones there, or 0."""
    order = ">" if start[:1] == b"." else "<"
    offset, length = struct.unpack(f"{order}II", start[4:12])
    present = max(0, size - offset)
    if length == 0 and present:
        return Claim(patches={8: struct.pack(f"{order}I", min(present, UNKNOWN_LENGTH_FROM))})
    return Claim() if length >= UNKNOWN_LENGTH_FROM else _of_one_piece(offset, length, size)


def _of_one_piece(begin: int, length: int, size: int) -> Claim:
    """Of a format that has nothing behind its sound."""
    present = max(0, size - begin)
    end = begin + length
    return Claim(length, present, left_out=max(0, size - end), end=end if end < size else None)


def _avr(start: bytes, size: int) -> Claim:
    """AVR tells whether it is stereo, the bits of a sample, and their number."""
    stereo, bits = struct.unpack(">HH", start[12:16])
    return _of_one_piece(128, struct.unpack(">I", start[26:30])[0] * (2 if stereo else 1) * (bits // 8), size)


def _voc(file: BinaryIO, start: bytes, size: int) -> Claim:
    """Creative's VOC: blocks of a kind, a length in three bytes, and so much; the kinds 1, 2 and 9 are sound."""
    place = struct.unpack("<H", start[20:22])[0]
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        kind, low, high = struct.unpack("<BHB", file.read(4))
        length = high << 16 | low
        if kind == 0:  # the last block, of one byte
            return Claim(left_out=size - place - 1, end=place + 1)
        if kind in (1, 2, 9) and length == 0:
            break
        if place + 4 + length > size:
            return Claim(length, size - place - 4)
        place += 4 + length
    return Claim()


def _nist(start: bytes, size: int) -> Claim:
    """NIST SPHERE has lines of text; those of a compressed file tell the length of what it becomes."""
    counts = {name: int(number) for name, number in _NIST_COUNT.findall(start)}
    if len(counts) < 3 or _NIST_COMPRESSED.search(start):
        return Claim()
    claimed = counts[b"sample_count"] * counts[b"sample_n_bytes"] * counts[b"channel_count"]
    return _of_one_piece(int(start[8:16]), claimed, size)


def _ogg(file: BinaryIO, size: int) -> Claim:
    pages = ogg_pages.read_pages(file, size)
    return Claim(
        pages.end, size, left_out=max(0, size - pages.end), several=pages.several, unended=pages.unended,
        damaged_at=pages.damaged_at,
    )


def _behind_tag(start: bytes) -> int:
    """Where the sound begins: behind ID3 tags, which are put before MP3 and, by some programs, before FLAC."""
    return mpeg_frames.tag_bytes(start) if start[:3] == b"ID3" else 0


def _flac(file: BinaryIO, start: bytes, begin: int, size: int) -> Claim:
    """The header has 36 bits for the number of samples: "unknown" in their place makes libsndfile read to the end,
    which is before a tag that some programs put behind the sound."""
    first, rest = struct.unpack(">BI", start[21:26])
    patches = {begin + 21: bytes([first & 0xF0]) + bytes(4)}
    file.seek(max(0, size - _TAG_BEHIND_BYTES))
    end = size - _TAG_BEHIND_BYTES if file.read(3) == b"TAG" else None
    return Claim(samples=(first & 0x0F) << 32 | rest, skipped=begin, patches=patches, end=end)


def _mp3(file: BinaryIO, start: bytes, begin: int, size: int) -> Claim:
    """MP3, whose first frame may tell how many bytes there are; else, or where others follow, frames are counted."""
    length = mpeg_frames.frame_bytes(start)
    if not length:
        return Claim()
    mark = mpeg_frames.xing_place(start[:length])
    found = mpeg_frames.read_frames(file, begin, size)
    if found.damaged_at is not None:
        return Claim(damaged_at=found.damaged_at)
    flags = struct.unpack(">I", start[mark + 4 : mark + 8])[0] if mark is not None else 0
    if mark is not None and flags & 3 == 3:
        frames, claimed = struct.unpack(">II", start[mark + 8 : mark + 16])
        if not frames or not claimed or found.count <= frames + _UNCOUNTED_FRAMES:
            return Claim(claimed or None, size - begin, skipped=begin, beginning=mpeg_frames.TAG)
    skipped = begin + (length if mark is not None else 0)
    frames = found.count - (mark is not None)
    if frames < 1:
        return Claim()
    beginning = mpeg_frames.TAG + mpeg_frames.xing_frame(start[:4], frames, size - skipped)
    samples = frames * mpeg_frames.samples_of_frame(start)
    return Claim(samples=samples, skipped=skipped, beginning=beginning, unended=found.unended)
