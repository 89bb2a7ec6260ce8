"""A sound file with another beginning, end or length in its header than it has on the disk, for libsndfile to read."""

from __future__ import annotations

import io
import os
from typing import BinaryIO

from snn_asr.data.containers import Claim


class PatchedFile(io.RawIOBase):
    """A file as its claim (containers.py) wants it to be read, to be read only.

    What goes wrong while libsndfile reads is kept in ``error``: an exception could not pass through it.
    """

    def __init__(self, file: BinaryIO, claim: Claim) -> None:
        self._file, self._patches, self._beginning = file, claim.patches, claim.beginning
        self._shift = claim.skipped - len(claim.beginning)  # from a place here to that in the file
        self._end = claim.end
        self._place = 0
        self.error: Exception | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            if whence == os.SEEK_END:
                end = self._file.seek(0, os.SEEK_END)
                offset += (end if self._end is None else min(end, self._end)) - self._shift
            place = offset + (self._place if whence == os.SEEK_CUR else 0)
            if place < 0:
                raise ValueError("a place before the start")
            self._place = place
        except (OSError, ValueError) as error:
            self.error = error
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        content = bytearray(self._beginning[self._place : self._place + len(view)])
        try:
            start = self._place + self._shift
            if len(content) < len(view):
                self._file.seek(start + len(content))
                wanted = len(view) - len(content)
                if self._end is not None:
                    wanted = max(0, min(wanted, self._end - start - len(content)))
                content += self._file.read(wanted)
        except (OSError, ValueError) as error:
            self.error = error
            return 0
        for place, patch in self._patches.items():
            for index, value in enumerate(patch, place - start):
                if 0 <= index < len(content):
                    content[index] = value
        view[: len(content)] = content
        self._place += len(content)
        return len(content)
