"""The entry point of ``snn-asr``, which catches Ctrl-C while the program is imported, because that takes a moment."""

from __future__ import annotations

from snn_asr.interruption import end_as_interrupted, interrupt_when_told_to_end


def main() -> None:
    """Run the program like ``main`` in main.py, and react to requests to end from now on."""
    try:
        interrupt_when_told_to_end()
        from .main import main as program
    except KeyboardInterrupt:
        end_as_interrupted()
    program()
