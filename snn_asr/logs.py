"""Logging to standard error: the records of snn_asr, and only warnings of other libraries."""

from __future__ import annotations

import logging
import sys
import warnings


def log_to_stderr(level: int) -> None:
    """Log records of snn_asr from ``level`` on and of other libraries from WARNING on, and show each of Python's
    ``warnings`` in one line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_ours_or_warning)  # SpeechBrain sets the levels of its loggers itself, on import
    logging.basicConfig(format="%(message)s", level=logging.WARNING, handlers=[handler])
    logging.getLogger("snn_asr").setLevel(level)
    warnings.formatwarning = _first_line


def _first_line(message: Warning | str, *_where: object, **_code: object) -> str:
    """The first line of a warning. Further lines are for people who know the library, such as numba's traceback about a
    variable of the environment that it cannot read."""
    return str(message).strip().partition("\n")[0] + "\n"


def _ours_or_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] == "snn_asr"
