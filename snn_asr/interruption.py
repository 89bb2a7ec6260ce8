"""Being told to end: clusters pre-empt with SIGTERM and closed terminals send SIGHUP, and both are a keyboard interrupt
here, so that what Ctrl-C saves is saved then too."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

INTERRUPTED = 130  # the exit code
_TOLD_TO_END = (signal.SIGTERM, signal.SIGHUP)
_ALL = (signal.SIGINT, *_TOLD_TO_END)


def interrupt_when_told_to_end() -> None:
    """From now on SIGTERM and SIGHUP raise KeyboardInterrupt, unless the process was started to ignore them (nohup).

    For the main thread of a program.
    """
    for each in _TOLD_TO_END:
        if signal.getsignal(each) == signal.SIG_DFL:
            signal.signal(each, signal.default_int_handler)


@contextmanager
def held_back() -> Iterator[None]:
    """A block in which nothing interrupts this thread, nor processes that it starts until they are ``interruptible``:
    signals wait."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def interruptible(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """``function(**arguments)``, which being told to end interrupts, also while signals were ``held_back``.

    For a process that does nothing else: whatever comes behind the first signal, or after the function, is ignored.
    """
    for each in _ALL:
        signal.signal(each, _interrupt_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ALL)
    try:
        return function(**arguments)
    finally:
        _ignore()


def _interrupt_once(number: int, frame: object) -> None:
    """The first signal interrupts; those after it, such as the parent's beside the terminal's, change nothing."""
    _ignore()
    raise KeyboardInterrupt


def _ignore() -> None:
    """From now on signals change nothing. (SIG_IGN would make Python tell of one that is already on its way.)"""
    for each in _ALL:
        signal.signal(each, _change_nothing)


def _change_nothing(number: int, frame: object) -> None:
    """The handler of a signal that comes too late."""
