"""What ``snn-asr stream`` shows: words on a terminal as they come, or JSON lines; and Ctrl-C, which ends it."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Protocol, TextIO

from torch import Tensor

from snn_asr.decoding.stream import PARTIAL, WORD, Stream, StreamEvent


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
