"""Reading references and hypotheses: utterance id to text, from any of the usual formats."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from snn_asr.errors import DataError
from snn_asr.files import read_json

FOLDER_SUFFIXES = (".txt", ".trn", ".json")
TRN_LINE = re.compile(r"(.*?)\s*\(([^()\s]+)\)")
EXPECTED_JSON = "expected a manifest (id to an object with 'text') or objects with 'id' and 'text'"


def read_transcripts(path: str | Path, unit: str = "word") -> dict[str, str]:
    """Utterance id to text, in the order of the file.

    - ``.json``, ``.jsonl``: a manifest (id to an object with ``text``), or one object, a list or lines of objects
      with ``id`` and ``text``; where ``unit`` is "phone" and the manifest has ``phones``, these instead of the text
    - ``.trn``, or any text file whose every line ends so: ``text (id)``, as NIST's sclite reads it
    - any other file: ``id text``, as Kaldi's ``text`` and LibriSpeech's ``.trans.txt``
    - a folder, searched with all below it: its ``.txt`` files, one an utterance, whose id is the path in the folder
      without the suffix (``.trans.txt`` files are read as above); failing those, its ``.trn`` or ``.json`` files

    Raises DataError, with the line where there is one, for what is missing, malformed or there twice.
    """
    path = Path(path)
    pairs = _read_folder(path, unit) if path.is_dir() else _read_file(path, unit)
    transcripts: dict[str, str] = {}
    for identifier, text, where in pairs:
        if identifier in transcripts:
            raise DataError(f"utterance '{identifier}' is there twice", where, "keep one of them")
        transcripts[identifier] = text
    if not transcripts:
        raise DataError("no transcripts", path, "check that this is the file or folder you mean")
    return transcripts


# A parsed utterance: id, text, and where it stands ("file:line", or the file).
Utterance = tuple[str, str, str]


def _read_folder(folder: Path, unit: str) -> Iterator[Utterance]:
    for suffix in FOLDER_SUFFIXES:
        paths = sorted(path for path in folder.rglob(f"*{suffix}") if path.is_file())
        if paths:
            break
    for path in paths:
        if path.suffix == ".txt" and not path.name.endswith(".trans.txt"):
            text = " ".join(_read_text(path).split())
            yield path.relative_to(folder).with_suffix("").as_posix(), text, str(path)
        else:
            yield from _read_file(path, unit)


def _read_file(path: Path, unit: str) -> Iterable[Utterance]:
    if path.suffix in (".json", ".jsonl"):
        return _read_json(path, unit)
    lines = [(f"{path}:{number}", line) for number, line in _numbered_lines(path)]
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


def _read_json(path: Path, unit: str) -> Iterator[Utterance]:
    lines = list(_numbered_lines(path))
    if len(lines) > 1 and (path.suffix == ".jsonl" or _is_json_object(lines[0][1])):
        for number, line in lines:
            where = f"{path}:{number}"
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"not valid JSON ({error.msg})", where, "write one object a line") from error
            yield _from_record(record, where)
        return
    value = read_json(path)
    if isinstance(value, dict) and not isinstance(value.get("text"), str):
        for identifier, entry in value.items():
            yield identifier, _manifest_text(entry, unit, f"{path}: entry '{identifier}'"), str(path)
        return
    records = value if isinstance(value, list) else [value]
    for number, record in enumerate(records, start=1):
        yield _from_record(record, f"{path}: record {number}")


def _manifest_text(entry: object, unit: str, where: str) -> str:
    if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
        raise DataError("no 'text'", where, EXPECTED_JSON)
    phones = entry.get("phones") if unit == "phone" else None
    if phones is None:
        return entry["text"]
    try:
        return " ".join(label for label, _end_seconds in phones)
    except (TypeError, ValueError) as error:
        raise DataError("'phones' are not pairs of label and end", where, "prepare the data anew") from error


def _from_record(record: object, where: str) -> Utterance:
    if not isinstance(record, dict) or not all(isinstance(record.get(key), str) for key in ("id", "text")):
        raise DataError("not an object with the strings 'id' and 'text'", where, EXPECTED_JSON)
    return record["id"], record["text"], where


def _is_json_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False


def _numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and stripped lines, without blank ones and ``;;`` comments (NIST)."""
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        line = line.strip()
        if line and not line.startswith(";;"):
            yield number, line


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError("no such file or folder", path, "check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text (byte {error.start})", path, "convert it to UTF-8") from error
    except OSError as error:
        raise DataError(f"cannot read ({error.strerror})", path) from error
