"""The frames of MP3 (MPEG audio layer III), by their headers alone: how long each is, and how many a file has.

    frame    a header of four bytes, then sound; 1152 samples, or 576 at low rates
    Xing     a first frame without sound that tells how many frames and bytes follow; many files have none, and of files
             that were put one behind the other it tells of the first alone

Where that frame is absent libsndfile estimates the length from the first frame, and reads no further: of a file of
varying bit rate some parts would be lost. ``xing_frame`` makes one that tells the truth.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

_KILOBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # of version 1
_KILOBITS_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # of versions 2 and 2.5
_RATES = (44100, 48000, 32000)
_FRAMES_AND_BYTES = 3  # the flags of a Xing frame: both numbers are there
_BLOCK = 1 << 20
_LONGEST_GAP = 1 << 16  # bytes of something else between two frames, through which the next one is looked for


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


def count_frames(file: BinaryIO, begin: int, size: int) -> int:
    """How many whole frames lie between two places of a file; what is none, such as a tag, is passed over."""
    count, place = 0, begin
    block, start = b"", begin
    while place + 4 <= size:
        if not start <= place <= start + len(block) - 4:
            file.seek(place)
            block, start = file.read(_BLOCK), place
        length = frame_bytes(block[place - start : place - start + 4])
        if length and place + length <= size:
            count += 1
            place += length
            continue
        following = None if length else _next_frame(file, place + 1)
        if following is None:
            break
        place = following
    return count


def _next_frame(file: BinaryIO, place: int) -> int | None:
    """Where the next frame begins that another one follows, or that ends the file."""
    file.seek(place)
    content = file.read(_LONGEST_GAP)
    at = content.find(b"\xff")
    while at >= 0:
        length = frame_bytes(content[at : at + 4])
        behind = content[at + length : at + length + 4]
        if length and (not behind or frame_bytes(behind)):
            return place + at
        at = content.find(b"\xff", at + 1)
    return None


def _is_version_1(head: bytes) -> bool:
    return head[1] & 0x18 == 0x18


def _side_information_end(head: bytes) -> int:
    """Where the sound of a frame begins, and a Xing frame has its mark: behind what describes the sound."""
    mono = head[3] >> 6 == 3
    described = (17 if mono else 32) if _is_version_1(head) else (9 if mono else 17)
    return 4 + described
