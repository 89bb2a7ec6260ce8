"""The entry point of ``snn-asr``, which catches Ctrl-C while the program is imported, because that takes a moment."""

from __future__ import annotations

import os
import sys

from snn_asr.interruption import INTERRUPTED, interrupt_when_told_to_end


def main() -> None:
    """Run the program like ``main`` in main.py, and react to requests to end from now on."""
    try:
        interrupt_when_told_to_end()
        from .main import main as program
    except KeyboardInterrupt:
        if sys.stderr is not None:  # None if a service is started with it closed
            print("snn-asr: interrupted", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)
    program()
