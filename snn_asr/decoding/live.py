"""What ``snn-asr stream`` reads and shows: raw samples from a pipe, words on a terminal, JSON lines, Ctrl-C."""

from __future__ import annotations

import json
import shutil
import signal
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import BinaryIO, Protocol, TextIO

import numpy as np
from torch import Tensor

from snn_asr.data.audio import read_blocks, waveform
from snn_asr.data.resampling import Resampler
from snn_asr.decoding.stream import PARTIAL, WORD, Stream, StreamEvent
from snn_asr.errors import DataError

BLOCK_SECONDS = 0.5  # of a file at a time
_READ_BYTES = 1 << 16  # at most; a pipe gives what there is
_PCM_TAGS = (1, 0xFFFE)  # plain, and the "extensible" header of the same


class Show(Protocol):
    """What is done with events, and at the end."""

    def __call__(self, event: StreamEvent) -> None: ...

    def close(self) -> None: ...


def run_stream(stream: Stream, blocks: Iterable[Tensor], show: Show) -> bool:
    """Recognise blocks of samples until they end or Ctrl-C, and then what is left; True for Ctrl-C."""
    source = Interruptible(blocks)
    for samples in source:
        for event in stream.accept(samples):
            show(event)
    for event in stream.finish():
        show(event)
    show.close()
    return source.interrupted


class Interruptible:
    """Iterates until Ctrl-C, which breaks into waiting for the next item at once, never into work on one."""

    def __init__(self, items: Iterable[Tensor]) -> None:
        self._items, self._waiting, self.interrupted = iter(items), False, False

    def __iter__(self) -> Iterator[Tensor]:
        before = signal.signal(signal.SIGINT, self._interrupt)
        try:
            while not self.interrupted:
                self._waiting = True
                item = next(self._items, None)
                self._waiting = False
                if item is None:
                    return
                yield item
        except KeyboardInterrupt:
            return
        finally:
            signal.signal(signal.SIGINT, before)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        if self._waiting:
            raise KeyboardInterrupt


class JsonLines:
    """A line for each final word and each segment; partial words too where they are wanted."""

    def __init__(self, out: TextIO, partial: bool = False) -> None:
        self._out, self._partial = out, partial

    def __call__(self, event: StreamEvent) -> None:
        if event.kind != PARTIAL or self._partial:
            print(json.dumps(event.record(), ensure_ascii=False), file=self._out, flush=True)

    def close(self) -> None:
        """Nothing is left open."""


class Screen:
    """Words one after another, a line for each segment; on a terminal the unfinished word too, dim and in brackets."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._terminal = out, out.isatty()
        self._column, self._unfinished = 0, ""

    def __call__(self, event: StreamEvent) -> None:
        self._write("\b \b" * len(self._unfinished))
        self._unfinished = ""
        if event.kind == WORD:
            self._add(event.text)
        elif event.kind != PARTIAL:
            self.close()
        elif self._terminal and self._column + len(event.text) < self._width():
            self._unfinished = event.text
            self._write(f"\x1b[2m{event.text}\x1b[0m")
        self._out.flush()

    def close(self) -> None:
        """End the line, if one is begun."""
        if self._column:
            self._write("\n")
            self._column = 0

    def _add(self, word: str) -> None:
        if self._terminal and self._column + len(word) >= self._width():
            self.close()
        self._write(word + " ")
        self._column += len(word) + 1

    def _write(self, text: str) -> None:
        self._out.write(text)

    def _width(self) -> int:
        return shutil.get_terminal_size().columns


def file_blocks(path: str | Path, sample_rate: int) -> Iterator[Tensor]:
    """A file at ``sample_rate``, as ``read_blocks`` gives it."""
    return read_blocks(path, sample_rate, BLOCK_SECONDS)


def raw_blocks(pipe: BinaryIO, from_rate: int, to_rate: int) -> Iterator[Tensor]:
    """Signed 16-bit little-endian mono samples from a pipe, as they come.

    A WAV header, as ``arecord`` writes one, gives the rate itself. Raises DataError for a WAV stream of other samples.
    """
    header, rest = _wav_header(pipe)
    resampler = Resampler(header or from_rate, to_rate)
    while True:
        whole = len(rest) - len(rest) % 2
        if whole:
            yield resampler.accept(waveform(np.frombuffer(rest[:whole], "<i2").astype(np.int16)))
        data = pipe.read1(_READ_BYTES)
        if not data:
            break
        rest = rest[whole:] + data
    yield resampler.finish()


def _wav_header(pipe: BinaryIO) -> tuple[int | None, bytes]:
    """Sample rate of a WAV header, or None, and the first bytes behind it."""
    start = pipe.read(12)
    if start[:4] != b"RIFF" or start[8:] != b"WAVE":
        return None, start
    rate = None
    while len(head := pipe.read(8)) == 8:
        name, size = head[:4], struct.unpack("<I", head[4:])[0]
        if name == b"data":
            break
        content = pipe.read(size + size % 2)
        if name == b"fmt " and len(content) >= 16:
            tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
            if tag not in _PCM_TAGS or channels != 1 or bits != 16:
                what = f"WAV of {channels} channels, {bits} bits, format {tag}"
                raise DataError(what, "standard input", "send 16-bit mono samples (arecord -f S16_LE -c 1)")
    if rate is None:
        raise DataError("a WAV header without a format", "standard input", "send raw 16-bit mono samples")
    return rate, b""
