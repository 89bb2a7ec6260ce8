"""Logging to standard error: the records of snn_asr, and only warnings of other libraries."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import PurePath

from snn_asr.errors import readable_name


def log_to_stderr(level: int) -> None:
    """Log records of snn_asr from ``level`` on and of other libraries from WARNING on, and show each of Python's
    ``warnings`` in one line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_ours_or_warning)  # SpeechBrain sets the levels of its loggers itself, on import
    handler.setFormatter(_OneLine("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("snn_asr").setLevel(level)
    warnings.formatwarning = _first_line


class _OneLine(logging.Formatter):
    """Records whose names of files, or whatever they tell, command no terminal and make no lines of their own."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name.partition(".")[0] == "snn_asr" and isinstance(record.args, tuple):
            named = (readable_name(each) if isinstance(each, (str, PurePath)) else each for each in record.args)
            record.args = tuple(named)
        return super().format(record)


def _first_line(message: Warning | str, *_where: object, **_code: object) -> str:
    """The first line of a warning. Further lines are for people who know the library, such as numba's traceback about a
    variable of the environment that it cannot read."""
    return str(message).strip().partition("\n")[0] + "\n"


def _ours_or_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] == "snn_asr"
