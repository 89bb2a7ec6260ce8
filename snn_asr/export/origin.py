"""The mark of exported files, so that no other file is overwritten, and none that was edited since."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from snn_asr.errors import DataError, describing
from snn_asr.files import encoded, require_regular
from snn_asr.files.locks import only_writer

PRODUCER = "snn-asr"
MARK = f"Exported by {PRODUCER}"
_REMEDY = "choose another folder"
_SEAL = b"/* SHA-256 of the lines above: "  # how the last line of exported C begins


def sealed(text: str) -> bytes:
    """Exported C with a last line by which the next ``exporting`` knows whether it was edited."""
    above = encoded(text)
    return above + _seal_of(above)


def _seal_of(above: bytes) -> bytes:
    return _SEAL + hashlib.sha256(above).hexdigest().encode() + b" */\n"


@contextmanager
def exporting(folder: Path, names: Iterable[str], mark: str = MARK, within: int = -1) -> Iterator[None]:
    """A block that writes files of these names to ``folder``, which is made if it is absent, and is alone in doing so.

    Raises DataError if a file of one of these names was not exported, or was edited since. An exported file has the
    ``mark`` within its first ``within`` bytes, or anywhere for -1. Graphs and the C of earlier versions have no seal
    and do not tell whether they were edited. Raises UsageError if another process exports to the folder.
    """
    with only_writer(folder, "export"):
        _refuse_foreign(folder, names, mark, within)
        yield


def _refuse_foreign(folder: Path, names: Iterable[str], mark: str, within: int) -> None:
    for path in (folder / name for name in names):
        with describing(path, _REMEDY):
            if not path.exists():
                continue
            require_regular(path)
            content = path.read_bytes()
            found = content if within < 0 else content[:within]
            if mark.encode() not in found:
                raise DataError("was not exported, and would be overwritten", path, _REMEDY)
            above, seal, _ = content.rpartition(_SEAL)
            if seal and content != above + _seal_of(above):
                raise DataError("was edited, and would be overwritten", path, f"{_REMEDY}, or move it away")
