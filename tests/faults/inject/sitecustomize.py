"""KILL_AT=CALL:NUMBER:SIGNAL ends a process by kill_at.py; Python imports this where the folder is on PYTHONPATH."""

import os

from kill_at import kill_at

if os.environ.get("KILL_AT"):
    _name, _number, _signal = os.environ["KILL_AT"].split(":")
    kill_at(_name, int(_number), int(_signal))
