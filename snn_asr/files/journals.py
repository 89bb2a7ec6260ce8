"""Journals: files with one JSON object on each line, which record finished work that need not be done again.

A process may be killed at any moment, so a line counts only with its line feed. The writer removes a line that was cut
short before it appends others (``mend_journal``), and readers ignore it.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from snn_asr.errors import DataError
from snn_asr.files.reading import require_regular
from snn_asr.files.strict_json import parse_json
from snn_asr.files.writing import cannot_write, encoded, write_bytes


def append_json_line(path: str | Path, value: object) -> None:
    """Append one JSON object as a line, in a single ``write``, so that a killed process leaves whole lines.

    Raises DataError if it cannot be written; the file then stays as it is.
    """
    path = Path(path)
    line = encoded(json.dumps(value, ensure_ascii=False) + "\n")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            try:
                written = file.write(line)
                if written != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.truncate(before)
                raise
    except OSError as error:
        raise cannot_write(path, error) from error


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The objects of a journal, or none if it does not exist.

    A last line without its line feed is ignored: it is being written, or its writer was killed. Raises DataError if
    another line is damaged.
    """
    try:
        require_regular(path)
        *lines, _ = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"cannot read ({error.strerror})", path, "remove it to do its part again") from error
    rows = []
    for line in lines:
        try:
            row = parse_json(line.decode("utf-8"), path, file_names=True)
        except (DataError, UnicodeDecodeError) as error:
            raise DataError("damaged", path, "remove it to do its part again") from error
        if not isinstance(row, dict):
            raise DataError("damaged", path, "remove it to do its part again")
        rows.append(row)
    return rows


def mend_journal(path: Path) -> None:
    """Remove a last line that a killed writer cut short, so that lines can be appended. Only the writer may do this."""
    content = path.read_bytes() if path.is_file() else b""
    if content and not content.endswith(b"\n"):
        write_bytes(path, content[: content.rfind(b"\n") + 1])
