"""The entry point of ``snn-asr``: what is done before the program is imported, which takes long enough for a Ctrl-C."""

from __future__ import annotations

import os
import sys

from snn_asr.interruption import INTERRUPTED, interrupt_when_told_to_end


def main() -> None:
    """Run the program as ``main`` in main.py does, and end it as told to from now on."""
    try:
        interrupt_when_told_to_end()
        from .main import main as program
    except KeyboardInterrupt:
        if sys.stderr is not None:  # which is closed where a service is started without it
            print("snn-asr: interrupted", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)
    program()
