"""Transcripts in JSON: manifests, and objects with an id, alone, in a list or line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from snn_asr.data.transcripts.lines import located_lines
from snn_asr.errors import DataError
from snn_asr.files import read_json
from snn_asr.files.strict_json import parse_json

EXPECTED_JSON = "expected a manifest (id to an object with 'text') or objects with 'id' and 'text'"


def is_json(path: Path) -> bool:
    """Return whether the name of the file says that ``json_entries`` can read it."""
    return path.suffix.lower() in (".json", ".jsonl")


def json_entries(path: Path) -> Iterator[tuple[str, dict[str, object], str]]:
    """Yield the id, object and place of every utterance: in a manifest, or in an object, a list or lines of objects
    with ids.

    Raises DataError if something is not JSON or has no id.
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


def transcript_of(entry: dict[str, object], unit: str, side: str, where: str) -> str:
    """Return the text of a JSON object, or for ``unit`` "phone" its phones if it has any.

    ``side`` is the key that is read if there is no "text". Raises DataError if there is neither.
    """
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


def _with_id(record: object, where: str) -> tuple[str, dict[str, object], str]:
    if not isinstance(record, dict) or not isinstance(record.get("id"), str):
        raise DataError("not an object with an 'id'", where, EXPECTED_JSON)
    _check_characters(record["id"], where, file_name=True)
    return record["id"], record, where


def _check_characters(text: str, where: object, *, file_name: bool = False) -> None:
    """Raise DataError for halves of surrogate pairs, except for those that stand for bytes of a file's name.

    The ids that decode writes are names of files, which need not be UTF-8.
    """
    try:
        text.encode("utf-8", "surrogateescape" if file_name else "strict")
    except UnicodeEncodeError as error:
        raise DataError("holds half of a surrogate pair (\\ud800 to \\udfff)", where, "write it anew") from error
