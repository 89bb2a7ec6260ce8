"""Being told to end: clusters pre-empt with SIGTERM and closed terminals send SIGHUP, and both are a keyboard interrupt
here, so that what Ctrl-C saves is saved then too."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

_TOLD_TO_END = (signal.SIGTERM, signal.SIGHUP)


def interrupt_when_told_to_end() -> None:
    """From now on SIGTERM and SIGHUP raise KeyboardInterrupt, unless the process was started to ignore them (nohup).

    For the main thread of a program.
    """
    for each in _TOLD_TO_END:
        if signal.getsignal(each) == signal.SIG_DFL:
            signal.signal(each, signal.default_int_handler)


def end_quietly_when_told() -> None:
    """From now on the process ends at once, without a word, when it is told to: it waits for work and holds nothing."""
    for each in (signal.SIGINT, *_TOLD_TO_END):
        signal.signal(each, signal.SIG_DFL)


def interruptible(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """``function(**arguments)``, which being told to end interrupts; afterwards the process ends quietly again.

    For work in a process of a pool.
    """
    for each in (signal.SIGINT, *_TOLD_TO_END):
        signal.signal(each, _interrupt_once)
    try:
        return function(**arguments)
    finally:
        end_quietly_when_told()


def _interrupt_once(number: int, frame: object) -> None:
    """The first signal interrupts; those after it, such as the parent's beside the terminal's, change nothing."""
    for each in (signal.SIGINT, *_TOLD_TO_END):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt
