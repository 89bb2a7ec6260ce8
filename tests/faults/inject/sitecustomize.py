"""Ends the process, as a lost machine or a cluster's scheduler would, just before a call: KILL_AT=CALL:NUMBER:SIGNAL.

CALL is a function of ``os``, such as replace, fsync or unlink. Python imports this file by itself where the folder is
on PYTHONPATH.
"""

import os


def _kill_at(call: str, number: int, signal: int) -> None:
    original, left = getattr(os, call), [number]

    def counted(*arguments: object, **options: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal)
        return original(*arguments, **options)

    setattr(os, call, counted)


if os.environ.get("KILL_AT"):
    _name, _number, _signal = os.environ["KILL_AT"].split(":")
    _kill_at(_name, int(_number), int(_signal))
