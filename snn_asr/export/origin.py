"""The mark of exported files, so that no other file is overwritten."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from snn_asr.errors import DataError, describing
from snn_asr.files import require_regular

PRODUCER = "snn-asr"
MARK = f"Exported by {PRODUCER}"


def refuse_foreign_files(folder: Path, names: Iterable[str], mark: str = MARK, within: int = -1) -> None:
    """Raise DataError if the folder has a file of one of these names that was not exported.

    An exported file has the ``mark`` within its first ``within`` bytes, or anywhere for -1.
    """
    for path in (folder / name for name in names):
        with describing(path, "choose another folder"):
            if not path.exists():
                continue
            require_regular(path)
            with open(path, "rb") as file:
                if mark.encode() not in file.read(within):
                    raise DataError("was not exported, and would be overwritten", path, "choose another folder")
