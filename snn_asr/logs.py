"""What snn_asr logs (which backend runs, what is skipped) goes to stderr; of libraries only warnings."""

from __future__ import annotations

import logging
import sys
import warnings


def log_to_stderr(level: int) -> None:
    """Set up this process: records of snn_asr from ``level`` on, of everybody else from WARNING on, and what libraries
    warn of by Python's ``warnings`` in one line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_ours_or_warning)  # SpeechBrain sets the levels of its loggers itself, on import
    logging.basicConfig(format="%(message)s", level=logging.WARNING, handlers=[handler])
    logging.getLogger("snn_asr").setLevel(level)
    warnings.formatwarning = _first_line


def _first_line(message: Warning | str, *_where: object, **_code: object) -> str:
    """A warning as it is shown. What may follow its first line is for who knows the library: numba puts a traceback
    there where a variable of the environment has a value that it cannot read."""
    return str(message).strip().partition("\n")[0] + "\n"


def _ours_or_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] == "snn_asr"
