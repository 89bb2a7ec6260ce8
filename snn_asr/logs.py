"""What snn_asr logs (which backend runs, what is skipped) goes to stderr; of libraries only warnings."""

from __future__ import annotations

import logging
import sys


def log_to_stderr(level: int) -> None:
    """Set up this process: records of snn_asr from ``level`` on, of everybody else from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_ours_or_warning)  # SpeechBrain sets the levels of its loggers itself, on import
    logging.basicConfig(format="%(message)s", level=logging.WARNING, handlers=[handler])
    logging.getLogger("snn_asr").setLevel(level)


def _ours_or_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] == "snn_asr"
