"""The output of ``snn-asr stream``: words on a terminal or lines of JSON, until the sound ends or a signal comes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Protocol, TextIO

from torch import Tensor

from snn_asr.decoding.live.stream import PARTIAL, WORD, Stream, StreamEvent
from snn_asr.interruption import handled_by


class Show(Protocol):
    """Shows events, and is closed at the end."""

    def __call__(self, event: StreamEvent) -> None: ...

    def close(self) -> None: ...


def run_stream(stream: Stream, blocks: Iterable[Tensor], show: Show) -> bool:
    """Recognise blocks of samples until they end or a signal comes, such as Ctrl-C's, and show all events. Returns
    whether a signal ended it."""
    source = Interruptible(blocks)
    for samples in source:
        for event in stream.accept(samples):
            show(event)
    for event in stream.finish():
        show(event)
    show.close()
    return source.interrupted


class Interruptible:
    """Iterates over items until a signal comes that ends programs (Ctrl-C's, SIGTERM, SIGHUP). It interrupts waiting
    for the next item at once, but never work on one."""

    def __init__(self, items: Iterable[Tensor]) -> None:
        self._items, self._waiting, self.interrupted = iter(items), False, False

    def __iter__(self) -> Iterator[Tensor]:
        try:
            with handled_by(self._interrupt):
                while not self.interrupted:
                    self._waiting = True
                    item = next(self._items, None)
                    self._waiting = False
                    if item is None:
                        return
                    yield item
        except KeyboardInterrupt:
            return

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        if self._waiting:
            raise KeyboardInterrupt


class JsonLines:
    """Writes a line for each final word and each segment, and for partial words if these are wanted."""

    def __init__(self, out: TextIO, partial: bool = False) -> None:
        self._out, self._partial = out, partial

    def __call__(self, event: StreamEvent) -> None:
        if event.kind != PARTIAL or self._partial:
            print(json.dumps(event.record(), ensure_ascii=False), file=self._out, flush=True)

    def close(self) -> None:
        """Nothing is left open."""


class Screen:
    """Writes words one after another, with a line for each segment; a terminal also shows the unfinished word, dim."""

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
        """End the line if it holds words."""
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
