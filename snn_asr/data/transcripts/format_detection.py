"""Telling the format of a file of lines whose name does not tell it. Nothing is guessed if two formats would fit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from snn_asr.data.transcripts.line_formats import TRN_LINE, Parser, parse_kaldi, parse_trn
from snn_asr.data.transcripts.lines import Line
from snn_asr.data.transcripts.subtitles import TIMING
from snn_asr.data.transcripts.tables import ID_COLUMNS, PHONE_COLUMNS, TEXT_COLUMNS
from snn_asr.errors import DataError

# Files about speech that other programs write and that are not lists of transcripts.
FOREIGN = frozenset({
    ".mlf", ".textgrid", ".eaf", ".xml", ".html", ".htm", ".yaml", ".yml", ".rttm", ".lab", ".phn", ".wrd", ".arpa",
    ".scp", ".md", ".log", ".toml", ".ini", ".sub", ".ass", ".ssa", ".sbv", ".ttml", ".docx", ".pdf", ".rtf",
})
_SECONDS = r"\d+\.\d+"
_LOOKS = (
    ("ctm", re.compile(rf"\S+\s+\S+\s+{_SECONDS}\s+{_SECONDS}\s+\S+(\s+{_SECONDS}.*)?")),
    ("stm", re.compile(rf"\S+\s+\S+\s+\S+\s+{_SECONDS}\s+{_SECONDS}(\s.*)?")),
)


def text_parser(path: Path, lines: Sequence[Line]) -> Parser:
    """Return the parser of a file whose suffix does not tell: Kaldi's ``id text``, or trn if only that is possible.

    Raises DataError for a file that may be both, and for one that looks like a format with a name of its own.
    """
    if path.suffix.lower() in FOREIGN:
        raise DataError(f"{path.suffix} is no format of transcripts that is read", path, "convert it to trn or JSON")
    plain = [line for _, line in lines]
    _refuse_others(path, plain)
    matches = [TRN_LINE.fullmatch(line) for line in plain]
    names = [match[2] for match in matches if match]
    if len(names) == len(lines) == len(set(names)) and any(match and not match[1] for match in matches):
        return parse_trn  # "(id)" alone is an utterance without words
    if not lines or len(names) < len(lines) or len(set(names)) < len(lines) or not all(map(_holds_digit, names)):
        if lines and len(names) == len(lines) and len({line.split()[0] for line in plain}) < len(lines):
            return parse_trn  # no ids at the beginning, since they would be there twice
        return parse_kaldi
    first = [line.split()[0] for line in plain]
    if len(set(first)) == len(first) and all(map(_holds_digit, first)):
        what = "may be 'text (id)' as well as 'id text'"
        raise DataError(what, path, "end its name in .trn, or call it text as Kaldi does")
    return parse_trn


def _refuse_others(path: Path, lines: Sequence[str]) -> None:
    """Raise DataError if all lines fit a format that has a name of its own."""
    found = next((name for name, pattern in _LOOKS if lines and all(map(pattern.fullmatch, lines))), None)
    if any(TIMING.fullmatch(line) for line in lines):
        found = "vtt" if lines[0].startswith("WEBVTT") else "srt"
    columns = {each.strip().lower() for each in re.split(r"[,\t]", lines[0])} if lines else set()
    if len(columns) > 1 and columns & set(ID_COLUMNS) and columns & {*TEXT_COLUMNS, *PHONE_COLUMNS}:
        found = "csv" if "," in lines[0] else "tsv"
    if found is not None:
        raise DataError(f"looks like {found}, not like lines of 'id text'", path, f"end its name in .{found}")


def _holds_digit(word: str) -> bool:
    return any(character.isdigit() for character in word)
