"""The frames of MP3 (MPEG audio layer III), by their headers alone: how long each is, how many a file has, and
whether all are there.

    frame    a header of four bytes, then sound; 1152 samples, or 576 at low rates
    Xing     a first frame without sound that tells how many frames and bytes follow; many files have none, and of files
             that were put one behind the other it tells of the first alone

Where that frame is absent libsndfile estimates the length from the first frame, and reads no further: of a file of
varying bit rate some parts would be lost. ``xing_frame`` makes one that tells the truth.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

# An ID3 tag of zeros. libsndfile looks for a name in the working folder ("._", ".AppleDouble/", which Macs and their
# servers leave) before it takes a file without a tag for MP3, and reads what it finds there in its place.
TAG = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
_KILOBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # of version 1
_KILOBITS_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # of versions 2 and 2.5
_RATES = (44100, 48000, 32000)
_FRAMES_AND_BYTES = 3  # the flags of a Xing frame: both numbers are there
_BLOCK = 1 << 20
_LONGEST_HEAD = 24  # bytes by which frames and tags are known
_TAG_BYTES = 128  # of ID3's first version, at the end of a file
_APE_HEADER = 1 << 29  # a flag: this is a tag's beginning, not its end
_SURELY_FRAMES = 3  # one behind the other, as they hardly come about by chance
_LONGEST_FRAMES = 1 << 13  # bytes of so many


def frame_bytes(head: bytes) -> int:
    """The length of the frame that begins with these four bytes; 0 where none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2 or head[1] & 0x18 == 0x08:
        return 0
    rate_index, bitrate = head[2] >> 2 & 3, head[2] >> 4
    if rate_index == 3 or bitrate in (0, 15):
        return 0
    version_1 = _is_version_1(head)
    rate = _RATES[rate_index] // (1 if version_1 else 2 if head[1] & 0x18 == 0x10 else 4)
    kilobits = (_KILOBITS if version_1 else _KILOBITS_LOW)[bitrate]
    return (144 if version_1 else 72) * 1000 * kilobits // rate + (head[2] >> 1 & 1)


def samples_of_frame(head: bytes) -> int:
    """The samples, of each channel, of a frame that begins so."""
    return 1152 if _is_version_1(head) else 576


def xing_place(frame: bytes) -> int | None:
    """Where in a file's first frame the mark of a Xing frame stands; None where the frame is one of sound."""
    place = _side_information_end(frame) if frame_bytes(frame) else None
    return place if place is not None and frame[place : place + 4] in (b"Xing", b"Info") else None


def xing_frame(first: bytes, frames: int, size: int) -> bytes:
    """A Xing frame for a file whose first frame begins with ``first``, and which has so many frames and bytes."""
    head = next(
        each for bitrate in range(1, 15)
        if frame_bytes(each := bytes([first[0], first[1] | 1, bitrate << 4 | first[2] & 0x0C, first[3]])) >= 64
    )
    content = bytearray(frame_bytes(head))
    content[:4] = head
    place = _side_information_end(head)
    content[place : place + 16] = b"Xing" + struct.pack(">III", _FRAMES_AND_BYTES, frames, size + len(content))
    return bytes(content)


@dataclass(frozen=True)
class Frames:
    """The ``count`` of whole frames of a file. ``damaged_at`` is the place of something else before the last of them,
    and ``unended`` tells that the last frame was cut."""

    count: int
    damaged_at: int | None = None
    unended: bool = False


def read_frames(file: BinaryIO, begin: int, size: int) -> Frames:
    """The frames between two places of a file, of which a frame is at the first. Tags between them are passed over."""
    count, place = 0, begin
    block, start = b"", begin
    file.seek(begin)
    first = file.read(4)
    while place + 4 <= size:
        if not start <= place <= start + len(block) - _LONGEST_HEAD:
            file.seek(place)
            block, start = file.read(_BLOCK), place
        head = block[place - start : place - start + _LONGEST_HEAD]
        length = frame_bytes(head[:4])
        if place + length > size:
            return Frames(count, unended=True)
        count += length > 0
        length = length or tag_bytes(head)
        if not length:
            return Frames(count, damaged_at=place if _frames_follow(file, place, first) else None)
        place += length
    return Frames(count)


def tag_bytes(head: bytes) -> int:
    """The length of the tag (ID3, APE, Lyrics3) that begins with these bytes; 0 where none does."""
    if head[:3] == b"ID3" and len(head) >= 10:
        footer = 10 if head[5] & 0x10 else 0
        return 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + footer
    if head[:3] == b"TAG":
        return _TAG_BYTES
    if head[:8] == b"APETAGEX" and len(head) >= 24:
        length, _, flags = struct.unpack("<III", head[12:24])
        return 32 + length if flags & _APE_HEADER else 32  # a footer alone is behind its tag
    return 0


def _frames_follow(file: BinaryIO, place: int, first: bytes) -> bool:
    """Whether frames like the ``first`` of the file are somewhere behind a place: three, one behind the other."""
    file.seek(place)
    content = b""
    while block := file.read(_BLOCK):
        content += block
        at = content.find(b"\xff")
        while at >= 0:
            following = at
            for _ in range(_SURELY_FRAMES):
                head = content[following : following + 4]
                if not frame_bytes(head) or (head[1] ^ first[1]) & 0xFE or (head[2] ^ first[2]) & 0x0C:
                    break
                following += frame_bytes(head)
            else:
                return True
            at = content.find(b"\xff", at + 1)
        content = content[-_LONGEST_FRAMES:]
    return False


def _is_version_1(head: bytes) -> bool:
    return head[1] & 0x18 == 0x18


def _side_information_end(head: bytes) -> int:
    """Where the sound of a frame begins, and a Xing frame has its mark: behind what describes the sound."""
    mono = head[3] >> 6 == 3
    described = (17 if mono else 32) if _is_version_1(head) else (9 if mono else 17)
    return 4 + described
