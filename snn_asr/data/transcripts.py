"""Reading references and hypotheses: utterance id to text, from any of the usual formats."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from snn_asr.errors import DataError
from snn_asr.files import read_json

FOLDER_SUFFIXES = (".txt", ".trn", ".json", ".ctm")
TRN_LINE = re.compile(r"(.*?)\s*\(([^()\s]+)\)")
EXPECTED_JSON = "expected a manifest (id to an object with 'text') or objects with 'id' and 'text'"


def read_transcripts(path: str | Path, unit: str = "word", side: str = "reference") -> dict[str, str]:
    """Utterance id to text, in the order of the file.

    - ``.json``, ``.jsonl``: a manifest (id to an object with ``text``), or one object, a list or lines of objects
      with ``id`` and ``text``; where ``unit`` is "phone" and the manifest has ``phones``, these instead of the text.
      Objects with ``reference`` and ``hypothesis`` instead, as in a run's test.json, give the one ``side`` names
    - ``.trn``, or any text file whose every line ends so: ``text (id)``, as NIST's sclite reads it; its alternatives
      ``{ a / b }`` are plain words here
    - ``.ctm``, or a file named ctm: a line a word, ``id channel start duration word [confidence]``, put in the order
      of their times
    - any other file: ``id text``, as Kaldi's ``text`` and LibriSpeech's ``.trans.txt``
    - a folder, searched with all below it: its ``.txt`` files, one an utterance, whose id is the path in the folder
      without the suffix (``.trans.txt`` files are read as above); failing those, its ``.trn``, ``.json`` or ``.ctm``
      files

    Raises DataError, with the line where there is one, for what is missing, malformed or there twice.
    """
    path = Path(path)
    pairs = _read_folder(path, unit, side) if path.is_dir() else _read_file(path, unit, side)
    transcripts: dict[str, str] = {}
    for identifier, text, where in pairs:
        if identifier in transcripts:
            raise DataError(f"utterance '{identifier}' is there twice", where, "keep one of them")
        transcripts[identifier] = text
    if not transcripts:
        raise DataError("no transcripts", path, "check that this is the file or folder you mean")
    return transcripts


def is_json(path: Path) -> bool:
    """Whether ``json_entries`` reads the file."""
    return path.suffix in (".json", ".jsonl")


def json_entries(path: Path) -> Iterator[tuple[str, dict, str]]:
    """Id, object and place of every utterance in a manifest, or in one object, a list or lines of objects with ids.

    Raises DataError for what is not JSON or has no id.
    """
    lines = list(numbered_lines(path))
    if len(lines) > 1 and (path.suffix == ".jsonl" or _is_json_object(lines[0][1])):
        for number, line in lines:
            where = f"{path}:{number}"
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"not valid JSON ({error.msg})", where, "write one object a line") from error
            yield _with_id(record, where)
        return
    value = read_json(path)
    if isinstance(value, dict) and not isinstance(value.get("text"), str):
        for identifier, entry in value.items():
            where = f"{path}: entry '{identifier}'"
            if not isinstance(entry, dict):
                raise DataError("not an object", where, EXPECTED_JSON)
            yield identifier, entry, where
        return
    records = value if isinstance(value, list) else [value]
    for number, record in enumerate(records, start=1):
        yield _with_id(record, f"{path}: record {number}")


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and stripped lines, without blank ones and ``;;`` comments (NIST)."""
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        line = line.strip()
        if line and not line.startswith(";;"):
            yield number, line


# A parsed utterance: id, text, and where it stands ("file:line", or the file).
def by_file_name(transcripts: dict[str, str], known: Container[str]) -> dict[str, str]:
    """Ids that are paths, without their folders, if that makes all of them ``known`` and no two equal.

    A folder that mirrors a corpus is so scored with the corpus' own ids; everything else stays as it is.
    """
    if any(identifier in known for identifier in transcripts):
        return transcripts
    named = {identifier.rpartition("/")[2]: text for identifier, text in transcripts.items()}
    return named if len(named) == len(transcripts) and all(name in known for name in named) else transcripts


Utterance = tuple[str, str, str]


def _read_folder(folder: Path, unit: str, side: str) -> Iterator[Utterance]:
    for suffix in FOLDER_SUFFIXES:
        paths = sorted(path for path in folder.rglob(f"*{suffix}") if path.is_file())
        if paths:
            break
    for path in paths:
        if path.suffix == ".txt" and not path.name.endswith(".trans.txt"):
            text = " ".join(_read_text(path).split())
            yield path.relative_to(folder).with_suffix("").as_posix(), text, str(path)
        else:
            yield from _read_file(path, unit, side)


def _read_file(path: Path, unit: str, side: str) -> Iterable[Utterance]:
    if is_json(path):
        return ((name, _json_text(entry, unit, side, where), where) for name, entry, where in json_entries(path))
    lines = [(f"{path}:{number}", line) for number, line in numbered_lines(path)]
    if path.suffix == ".ctm" or path.name == "ctm":
        return _parse_ctm(lines)
    if path.suffix == ".trn" or (lines and _looks_like_trn([line for _, line in lines])):
        return map(_parse_trn, lines)
    return map(_parse_kaldi, lines)


def _looks_like_trn(lines: list[str]) -> bool:
    """Whether every line ends in a different ``(id)``: a Kaldi text may end so too, but not in different words."""
    matches = [TRN_LINE.fullmatch(line) for line in lines]
    return all(matches) and len({match[2] for match in matches}) == len(lines)


def _parse_trn(numbered_line: tuple[str, str]) -> Utterance:
    where, line = numbered_line
    match = TRN_LINE.fullmatch(line)
    if match is None:
        raise DataError("not of the form 'text (id)'", where, "end the line with the utterance id in parentheses")
    return match[2], match[1], where


def _parse_kaldi(numbered_line: tuple[str, str]) -> Utterance:
    where, line = numbered_line
    identifier, _, text = line.replace("\t", " ").partition(" ")
    return identifier, text.strip(), where


def _parse_ctm(numbered_lines: Iterable[tuple[str, str]]) -> Iterator[Utterance]:
    """Words by id, in the order of their starts; the id's place is that of its first word."""
    words: dict[str, list[tuple[float, str]]] = {}
    first: dict[str, tuple[str, str]] = {}
    for where, line in numbered_lines:
        fields = line.split()
        times = [_finite(field) for field in fields[2:4]]
        if len(fields) < 5 or None in times:
            what = "not of the form 'id channel start duration word', times in seconds"
            raise DataError(what, where, "write one word a line, without alternatives")
        identifier, channel, word = fields[0], fields[1], fields[4]
        expected = first.setdefault(identifier, (channel, where))[0]
        if channel != expected:
            what = f"utterance '{identifier}' has channels {expected} and {channel}"
            raise DataError(what, where, "give each channel an id of its own")
        words.setdefault(identifier, []).append((times[0], word))
    for identifier, spoken in words.items():
        ordered = sorted(spoken, key=lambda start_and_word: start_and_word[0])
        yield identifier, " ".join(word for _start, word in ordered), first[identifier][1]


def _finite(field: str) -> float | None:
    try:
        value = float(field)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _with_id(record: object, where: str) -> tuple[str, dict, str]:
    if not isinstance(record, dict) or not isinstance(record.get("id"), str):
        raise DataError("not an object with an 'id'", where, EXPECTED_JSON)
    return record["id"], record, where


def _json_text(entry: dict, unit: str, side: str, where: str) -> str:
    text = entry.get("text", entry.get(side))
    if not isinstance(text, str):
        raise DataError("no 'text'", where, EXPECTED_JSON)
    phones = entry.get("phones") if unit == "phone" else None
    if phones is None:
        return text
    try:
        return " ".join(label for label, _end_seconds in phones)
    except (TypeError, ValueError) as error:
        raise DataError("'phones' are not pairs of label and end", where, "prepare the data anew") from error


def _is_json_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError("no such file or folder", path, "check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text (byte {error.start})", path, "convert it to UTF-8") from error
    except OSError as error:
        raise DataError(f"cannot read ({error.strerror})", path) from error
