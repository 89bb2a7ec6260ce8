"""The parsers of all formats of transcripts, from a file to utterances (id, text, place in the file).

The format follows from the name of the file, and is never guessed if two formats would fit. A file with a plain name
that looks like another format is refused.
"""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from snn_asr.errors import DataError
from snn_asr.files import read_json, read_text
from snn_asr.files.strict_json import parse_json

Utterance = tuple[str, str, str]  # id, text, and where it stands ("file:line", or the file)
Line = tuple[str, str]  # where it stands, and the line without white space around it
Parser = Callable[[Sequence[Line]], Iterator[Utterance]]

EXPECTED_JSON = "expected a manifest (id to an object with 'text') or objects with 'id' and 'text'"
TRN_LINE = re.compile(r"(.*?)\s*\(([^()\s]+)\)")
IGNORED = "IGNORE_TIME_SEGMENT_IN_SCORING"  # of an stm: a stretch of sound whose words do not count
# Columns of tables, in the order in which they are looked for; names are compared in lower case.
ID_COLUMNS = ("id", "utt_id", "utterance_id", "utterance", "utt", "key", "name", "path", "file", "filename", "wav")
TEXT_COLUMNS = ("wrd", "text", "transcript", "transcription", "sentence", "words")
PHONE_COLUMNS = ("phn", "phones", "phonemes")
# Files about speech that other programs write and that are not lists of transcripts.
FOREIGN = frozenset({
    ".mlf", ".textgrid", ".eaf", ".xml", ".html", ".htm", ".yaml", ".yml", ".rttm", ".lab", ".phn", ".wrd", ".arpa",
    ".scp", ".md", ".log", ".toml", ".ini", ".sub", ".ass", ".ssa", ".sbv", ".ttml", ".docx", ".pdf", ".rtf",
})
_LONGEST_FIELD = 1 << 30  # characters of a field of a table
_MARK = "\ufeff"  # the byte order mark, which may also be inside a file that was joined from several
_TIMING = re.compile(r"(?:\d+:)?\d\d?:\d\d[.,]\d+\s+-->\s+(?:\d+:)?\d\d?:\d\d[.,]\d+.*")
_SECONDS = r"\d+\.\d+"
_LOOKS = (
    ("ctm", re.compile(rf"\S+\s+\S+\s+{_SECONDS}\s+{_SECONDS}\s+\S+(\s+{_SECONDS}.*)?")),
    ("stm", re.compile(rf"\S+\s+\S+\s+\S+\s+{_SECONDS}\s+{_SECONDS}(\s.*)?")),
)
_TAGS = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbers (from 1) and stripped lines of a file, without blank lines and comments of NIST's (``;;``)."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        line = line.replace(_MARK, "").strip()
        if line and not line.startswith(";;"):
            yield number, line


def located_lines(path: Path) -> list[Line]:
    """The lines of ``numbered_lines``, each with its place as "file:line"."""
    return [(f"{path}:{number}", line) for number, line in numbered_lines(path)]


def is_json(path: Path) -> bool:
    """Whether ``json_entries`` reads the file."""
    return path.suffix.lower() in (".json", ".jsonl")


def json_entries(path: Path) -> Iterator[tuple[str, dict[str, object], str]]:
    """The id, object and place of every utterance in a manifest, or in one, a list or lines of objects with ids.

    Raises DataError for what is not JSON or has no id.
    """
    lines = located_lines(path)
    if len(lines) > 1 and (path.suffix.lower() == ".jsonl" or _is_json_object(lines[0][1])):
        for where, line in lines:
            yield _with_id(parse_json(line, where, file_names=True), where)
        return
    value = read_json(path, file_names=True)
    if isinstance(value, dict) and not isinstance(value.get("text"), str):
        for identifier, entry in value.items():
            _check_characters(identifier, path, file_name=True)
            where = f"{path}: entry '{identifier}'"
            if not isinstance(entry, dict):
                raise DataError("not an object", where, EXPECTED_JSON)
            yield identifier, entry, where
        return
    records = value if isinstance(value, list) else [value]
    for number, record in enumerate(records, start=1):
        yield _with_id(record, f"{path}: record {number}")


def parse_trn(lines: Iterable[Line]) -> Iterator[Utterance]:
    """NIST's ``text (id)``. Marks of alternatives and of words that may be left out stay in the text."""
    for where, line in lines:
        match = TRN_LINE.fullmatch(line)
        if match is None:
            raise DataError("not of the form 'text (id)'", where, "end the line with the utterance id in parentheses")
        yield match[2], match[1], where


def parse_kaldi(lines: Sequence[Line]) -> Iterator[Utterance]:
    """Kaldi's ``id text``. If every line has a tab, the id is the part before it and may hold spaces."""
    separator = "\t" if lines and all("\t" in line for _, line in lines) else None
    for where, line in lines:
        identifier, *rest = line.split(separator, 1)
        yield identifier.strip(), " ".join(" ".join(rest).split()), where


def parse_ctm(lines: Iterable[Line]) -> Iterator[Utterance]:
    """NIST's ``id channel start duration word [confidence]``: the words of an id in the order of their starts.

    The id's place is that of its first word.
    """
    words: dict[str, list[tuple[float, str]]] = {}
    channels: dict[str, tuple[str, str]] = {}
    for where, line in lines:
        fields = line.split()
        times = [_finite(field) for field in fields[2:4]]
        if len(fields) < 5 or times[0] is None or times[1] is None:
            what = "not of the form 'id channel start duration word', times in seconds"
            raise DataError(what, where, "write one word a line, without alternatives")
        _check_channel(channels, fields[0], fields[1], where)
        words.setdefault(fields[0], []).append((times[0], fields[4]))
    for identifier, spoken in words.items():
        ordered = sorted(spoken, key=lambda start_and_word: start_and_word[0])
        yield identifier, " ".join(word for _start, word in ordered), channels[identifier][1]


def parse_stm(lines: Iterable[Line]) -> Iterator[Utterance]:
    """NIST's ``recording channel speaker begin end [<labels>] text``: the segments of a recording in order of time.

    Raises DataError for a recording with two channels, and for segments whose words shall not count: no error rate
    without the times of all words would be right.
    """
    segments: dict[str, list[tuple[float, str]]] = {}
    channels: dict[str, tuple[str, str]] = {}
    for where, line in lines:
        fields = line.split(maxsplit=5)
        times = [_finite(field) for field in fields[3:5]]
        if len(fields) < 5 or times[0] is None or times[1] is None or times[1] < times[0]:
            what = "not of the form 'recording channel speaker begin end <labels> text', times in seconds"
            raise DataError(what, where, "write one segment a line")
        text = re.sub(r"^<[^<>]*>\s*", "", fields[5]) if len(fields) > 5 else ""
        if text.strip().upper() == IGNORED:
            raise DataError(f"a segment of {IGNORED}", where, "cut it out of the recording, and take out the line")
        _check_channel(channels, fields[0], fields[1], where)
        segments.setdefault(fields[0], []).append((times[0], text))
    for identifier, spoken in segments.items():
        ordered = sorted(spoken, key=lambda start_and_text: start_and_text[0])
        yield identifier, " ".join(text for _start, text in ordered if text), channels[identifier][1]


def parse_table(path: Path, unit: str) -> Iterator[Utterance]:
    """A table with a line of column names (.csv, or .tsv apart by tabs), as SpeechBrain and Common Voice have.

    Ids that are paths lose their folders and suffix. Raises DataError where no column names ids or texts.
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
    """The rows of a table with their lines, without those that are empty.

    Quotes are those of spreadsheets; in tables with tabs they may also be plain signs, as Common Voice has them.
    """
    text, tabs = read_text(path), path.suffix.lower() == ".tsv"
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if tabs else ",", strict=True)
    try:
        return [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        if tabs:
            plain = enumerate((line.split("\t") for line in text.split("\n")), start=1)
            return [(number, row) for number, row in plain if any(map(str.strip, row))]
        todo = "end what stands in quotes with one, and write a quote within it twice"
        raise DataError(f"not a table ({error})", f"{path}:{reader.line_num}", todo) from error


def subtitle_text(path: Path) -> str:
    """The words of subtitles, SubRip's (.srt) or WebVTT (.vtt), in the order of time, without numbers, notes and tags.
    """
    cues: list[tuple[float, list[str]]] = []
    vtt = path.suffix.lower() == ".vtt"
    for block in re.split(r"\n[ \t]*\n", read_text(path)):
        lines = block.strip().split("\n")
        start = next((index for index, line in enumerate(lines[:2]) if _TIMING.fullmatch(line.strip())), None)
        if start is None:
            if not block.strip() or (vtt and re.match(r"WEBVTT|NOTE|STYLE|REGION|X-TIMESTAMP", lines[0])):
                continue
            what = f"no times 'begin --> end' before '{lines[0][:40]}'"
            raise DataError(what, path, "write blocks of times and text, apart by empty lines")
        if any(_TIMING.fullmatch(line.strip()) for line in lines[start + 1 :]):
            raise DataError(f"no empty line before the times that follow '{lines[start]}'", path, "put one there")
        text = _TAGS.sub("", " ".join(lines[start + 1 :]))
        cues.append((_cue_start(lines[start]), (html.unescape(text) if vtt else text).split()))
    return " ".join(word for _, words in sorted(cues, key=lambda cue: cue[0]) for word in words)


def _cue_start(times: str) -> float:
    """The seconds at which a cue begins."""
    seconds = 0.0
    for part in times.split()[0].replace(",", ".").split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def text_parser(path: Path, lines: Sequence[Line]) -> Parser:
    """The parser of a file whose suffix does not tell: Kaldi's ``id text``, or trn where only that is possible.

    Raises DataError for what may be both, and for what looks like a format that another name stands for.
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
    """Raise DataError where all lines fit a format that another name stands for."""
    found = next((name for name, pattern in _LOOKS if lines and all(map(pattern.fullmatch, lines))), None)
    if any(_TIMING.fullmatch(line) for line in lines):
        found = "vtt" if lines[0].startswith("WEBVTT") else "srt"
    columns = {each.strip().lower() for each in re.split(r"[,\t]", lines[0])} if lines else set()
    if len(columns) > 1 and columns & set(ID_COLUMNS) and columns & {*TEXT_COLUMNS, *PHONE_COLUMNS}:
        found = "csv" if "," in lines[0] else "tsv"
    if found is not None:
        raise DataError(f"looks like {found}, not like lines of 'id text'", path, f"end its name in .{found}")


def _check_channel(channels: dict[str, tuple[str, str]], identifier: str, channel: str, where: str) -> None:
    expected = channels.setdefault(identifier, (channel, where))[0]
    if channel != expected:
        what = f"utterance '{identifier}' has channels {expected} and {channel}"
        raise DataError(what, where, "give each channel an id of its own")


def _holds_digit(word: str) -> bool:
    return any(character.isdigit() for character in word)


def _finite(field: str) -> float | None:
    try:
        value = float(field)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _with_id(record: object, where: str) -> tuple[str, dict[str, object], str]:
    if not isinstance(record, dict) or not isinstance(record.get("id"), str):
        raise DataError("not an object with an 'id'", where, EXPECTED_JSON)
    _check_characters(record["id"], where, file_name=True)
    return record["id"], record, where


def _check_characters(text: str, where: object, *, file_name: bool = False) -> None:
    """Raise DataError for halves of surrogate pairs, but for those that stand for bytes of a file's name.

    The ids that decode writes are names of files, which need not be UTF-8.
    """
    try:
        text.encode("utf-8", "surrogateescape" if file_name else "strict")
    except UnicodeEncodeError as error:
        raise DataError("holds half of a surrogate pair (\\ud800 to \\udfff)", where, "write it anew") from error


def json_text(entry: dict[str, object], unit: str, side: str, where: str) -> str:
    """The text of a JSON object, or its phones. Raises DataError where it has none."""
    text = entry.get("text", entry.get(side))
    if not isinstance(text, str):
        raise DataError("no 'text'", where, EXPECTED_JSON)
    _check_characters(text, where)
    phones = entry.get("phones") if unit == "phone" else None
    if phones is None:
        return text
    try:
        return " ".join(label for label, _end_seconds in phones)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise DataError("'phones' are not pairs of label and end", where, "prepare the data anew") from error


def _is_json_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
