"""What all formats of transcripts share: the lines of a file with their places, and utterances as they are parsed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from snn_asr.files import read_text

Utterance = tuple[str, str, str]  # id, text, and where it stands ("file:line", or the file)
Line = tuple[str, str]  # where it stands, and the line without white space around it

_MARK = "\ufeff"  # the byte order mark, which may also be inside a file that was joined from several


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number (from 1) and stripped text of every line, without blank lines and NIST's comments (``;;``)."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        line = line.replace(_MARK, "").strip()
        if line and not line.startswith(";;"):
            yield number, line


def located_lines(path: Path) -> list[Line]:
    """Return the lines of ``numbered_lines``, each with its place as "file:line"."""
    return [(f"{path}:{number}", line) for number, line in numbered_lines(path)]
