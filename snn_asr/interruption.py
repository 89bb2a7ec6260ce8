"""Signals that end a process. SIGTERM, with which clusters pre-empt, and SIGHUP, from a closed terminal, become a
keyboard interrupt, so that what Ctrl-C saves is saved then too."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTED = 130  # the exit code
_TOLD_TO_END = (signal.SIGTERM, signal.SIGHUP)
_ALL = (signal.SIGINT, *_TOLD_TO_END)


class _Interrupting:
    """The handler of signals that tell the program to end; ``told`` says whether one has come."""

    told = False

    def __call__(self, number: int, frame: object) -> None:
        self.told = True
        raise KeyboardInterrupt


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
def uninterrupted() -> Iterator[None]:
    """A block at whose end the signals that came within it are handled.

    It is for short calls of libraries that call Python back: an interrupt that is raised there is lost. The mask of
    ``held_back`` does not help, because another thread takes the signal, and Python handles it here all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # where Python handles no signals
        return
    came: list[tuple[int, FrameType | None]] = []
    before = {each: signal.getsignal(each) for each in _ALL}
    handlers = {each: handler for each, handler in before.items() if callable(handler)}
    try:
        for each in handlers:
            signal.signal(each, lambda number, frame: came.append((number, frame)))
        yield
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
        for number, frame in came:
            handlers[signal.Signals(number)](number, frame)


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
