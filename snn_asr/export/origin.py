"""Files of an export are known by a mark, and nothing else in their place is overwritten."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from snn_asr.errors import DataError, describing

MARK = "snn-asr"  # stands near the beginning of a C file, as producer in a graph


def refuse_foreign_files(folder: Path, names: Iterable[str]) -> None:
    """Raise DataError where a file of one of these names is in the folder and was not exported."""
    for path in (folder / name for name in names):
        with describing(path, "choose another folder"):
            if path.exists() and MARK.encode() not in path.read_bytes():
                raise DataError("was not exported, and would be overwritten", path, "choose another folder")
