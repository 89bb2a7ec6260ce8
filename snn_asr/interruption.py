"""Signals that end a process. SIGTERM, with which clusters pre-empt, and SIGHUP, from a closed terminal, become a
keyboard interrupt, so that what Ctrl-C saves is saved then too."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

INTERRUPTED = 130  # the exit code
_LOADER = "<frozen importlib._bootstrap>"  # where Python loads modules, as its frames call it
_TOLD_TO_END = (signal.SIGTERM, signal.SIGHUP)
_ALL = (signal.SIGINT, *_TOLD_TO_END)


class _Interrupting:
    """The handler of signals that tell the program to end; ``told`` says whether one has come.

    While a module is being loaded the program ends at once, with a line: libraries in C++ (torch) abort at an exception
    that Python raises in the middle of their start, or make another one of it. Nothing is half done then that the
    program would finish.
    """

    told = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.told = True
        if _is_loading(frame):
            end_as_interrupted()
        raise KeyboardInterrupt


def end_as_interrupted() -> NoReturn:
    """End the process with a line and the exit code of an interruption, and without an orderly shutdown."""
    with suppress(Exception):  # closed, full, or in the middle of being written to
        sys.stdout.flush()
    if sys.stderr is not None:  # None if a service is started with it closed
        with suppress(OSError):
            os.write(2, b"snn-asr: interrupted\n")
    os._exit(INTERRUPTED)


def _is_loading(frame: FrameType | None) -> bool:
    """Whether a module is being loaded in one of the calls that ``frame`` is in."""
    while frame is not None and frame.f_code.co_filename != _LOADER:
        frame = frame.f_back
    return frame is not None


def interrupt_when_told_to_end() -> None:
    """Make SIGTERM and SIGHUP raise KeyboardInterrupt as Ctrl-C does, unless the process was started to ignore them
    (nohup).

    Call this in the main thread.
    """
    handler = _Interrupting()
    for each in _ALL:
        if signal.getsignal(each) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(each, handler)


def was_told_to_end() -> bool:
    """Whether a signal has interrupted this program: libraries that are just being loaded make other errors of it."""
    return any(getattr(signal.getsignal(each), "told", False) for each in _ALL)


@contextmanager
def held_back() -> Iterator[None]:
    """A block in which signals wait, for this thread and for the processes that it starts, until these call
    ``interruptible``."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """A block within which ``handler`` gets the signals that would end this process, except for those that it
    ignores."""
    before = {each: found for each in _ALL if callable(found := signal.getsignal(each))}
    try:
        for each in before:
            signal.signal(each, handler)
        yield
    finally:
        for each, found in before.items():
            signal.signal(each, found)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A block at whose end the signals that came within it are handled.

    It is for short calls of libraries that call Python back: an interrupt that is raised there is lost. The mask of
    ``held_back`` does not help, because another thread takes the signal, and Python handles it here all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # where Python handles no signals
        return
    came: list[tuple[int, FrameType | None]] = []
    try:
        with handled_by(lambda number, frame: came.append((number, frame))):
            yield
    finally:
        for number, frame in came:
            signal.getsignal(signal.Signals(number))(number, frame)  # type: ignore[operator, misc]


def interruptible(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """The result of ``function(**arguments)``, which signals interrupt even if they were ``held_back`` before.

    This is for a process that does nothing else: signals after the first one, or after the function, are ignored.
    """
    for each in _ALL:
        signal.signal(each, _interrupt_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ALL)
    try:
        return function(**arguments)
    finally:
        _ignore()


def _interrupt_once(number: int, frame: object) -> None:
    """Interrupt at the first signal. Later ones, such as that of the parent after that of the terminal, do nothing."""
    _ignore()
    raise KeyboardInterrupt


def _ignore() -> None:
    """Make signals do nothing. (With SIG_IGN Python would print a message about a signal that is already pending.)"""
    for each in _ALL:
        signal.signal(each, _change_nothing)


def _change_nothing(number: int, frame: object) -> None:
    """The handler of a signal that comes too late."""
