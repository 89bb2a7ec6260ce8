"""Journals: files of one JSON object a line that grow as work is done, and say after a stop what need not be redone.

A process may be killed at any moment, so a line counts once its end is written. The writer takes out a line that was
cut short before it goes on (``mend_journal``); readers pass over it.
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
    """Append one JSON object as one line (one ``write`` call, so that a killed process leaves whole lines).

    Raises DataError where it cannot be written; the file is then as it was.
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
    """The objects of a file of JSON lines that grows; none where it is not there.

    A last line without its end is left out: it is being written, or its writer was killed. Raises DataError for others.
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
    """Take out a last line that a killed writer cut short, so that lines can be appended; for the writer alone."""
    content = path.read_bytes() if path.is_file() else b""
    if content and not content.endswith(b"\n"):
        write_bytes(path, content[: content.rfind(b"\n") + 1])
