"""Ends the process, as a lost machine or a cluster's scheduler would, just before a call of a function of ``os``."""

import os


def kill_at(call: str, number: int, signal: int) -> None:
    """From now on the ``number``-th call of ``os.<call>`` is preceded by the signal, to this process."""
    original, left = getattr(os, call), [number]

    def counted(*arguments: object, **options: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal)
        return original(*arguments, **options)

    setattr(os, call, counted)
