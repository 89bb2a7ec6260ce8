"""Transcripts in tables with a line of column names (.csv, .tsv), as SpeechBrain and Common Voice have them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from snn_asr.data.transcripts.lines import Utterance
from snn_asr.errors import DataError
from snn_asr.files import read_text

# Columns in the order in which they are looked for; names are compared in lower case.
ID_COLUMNS = ("id", "utt_id", "utterance_id", "utterance", "utt", "key", "name", "path", "file", "filename", "wav")
TEXT_COLUMNS = ("wrd", "text", "transcript", "transcription", "sentence", "words")
PHONE_COLUMNS = ("phn", "phones", "phonemes")
_LONGEST_FIELD = 1 << 30  # characters


def parse_table(path: Path, unit: str) -> Iterator[Utterance]:
    """Yield the utterances of a table with a line of column names (.csv, or .tsv with tabs as separators).

    For ``unit`` "phone", columns of phones are preferred to those of text. Ids that are paths lose their folders and
    suffix. Raises DataError if no column names ids or texts.
    """
    rows = _rows(path)
    if not rows:
        return
    columns = {name.strip().lower(): index for index, name in reversed(list(enumerate(rows[0][1])))}
    identifier = next((name for name in ID_COLUMNS if name in columns), None)
    wanted = (*PHONE_COLUMNS, *TEXT_COLUMNS) if unit == "phone" else TEXT_COLUMNS
    text = next((name for name in wanted if name in columns), None)
    if identifier is None or text is None:
        lacking = f"ids ({', '.join(ID_COLUMNS)})" if identifier is None else f"texts ({', '.join(wanted)})"
        raise DataError(f"has no column of {lacking}", f"{path}:1", "name the columns in the first line")
    for number, row in rows[1:]:
        if len(row) != len(rows[0][1]):
            what = f"{len(row)} fields, not {len(rows[0][1])} as the first line has"
            raise DataError(what, f"{path}:{number}", "put texts with separators in quotes")
        name = row[columns[identifier]].strip()
        if identifier in ("path", "file", "filename", "wav"):
            name = Path(name).stem
        yield name, " ".join(row[columns[text]].split()), f"{path}:{number}"


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the rows of a table with their line numbers, without empty rows.

    Quotes are those of spreadsheets. In a table with tabs they may also be ordinary characters, as Common Voice has
    them.
    """
    text, tabs = read_text(path), path.suffix.lower() == ".tsv"
    plain = [(number, line.split("\t")) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if tabs else ",", strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        if tabs:
            return plain
        todo = "end what stands in quotes with one, and write a quote within it twice"
        raise DataError(f"not a table ({error})", f"{path}:{reader.line_num}", todo) from error
    # If each line is a row by itself, a quote that only a later line ends would make one utterance of several.
    return plain if tabs and len(rows) < len(plain) and len({len(row) for _, row in plain}) == 1 else rows
