"""Manifests: JSON objects from utterance id to wav, duration (seconds), speaker, text and, where known, phones.

    {"fsdd-train-0001": {"wav": "audio/train/0001.flac", "duration": 2.31, "speaker": "theo", "text": "three one four",
                         "phones": [["th", 0.12], ["r", 0.2]]}}

Relative paths start at the manifest's folder. ``phones`` holds (label, end in seconds), in order. An utterance is the
whole of its recording, all channels averaged: manifests of other toolkits that name a part of one are refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_asr.errors import DataError, readable_name, shortened
from snn_asr.files import json_text, read_json, sha256, write_text

REQUIRED_SPLITS = ("train", "dev", "test")
_SHOWN_PROBLEMS = 20
_LONGEST_SECONDS = 86400  # of an utterance; a longer one is a mistake
_TEXT_KEYS = ("wav", "speaker", "text")
_BEGIN_KEYS, _END_KEYS, _CHANNEL_KEYS = ("start", "begin", "offset"), ("end", "stop"), ("channel",)  # of other toolkits
_HALF = "holds half of a surrogate pair (\\ud800 to \\udfff)"
_PREPARE = "prepare the data with `snn-asr prepare`"


@dataclass(frozen=True)
class Utterance:
    """One recording with its transcript. ``duration`` and the ends of ``phones`` are in seconds."""

    id: str
    wav: Path
    duration: float
    speaker: str
    text: str
    phones: tuple[tuple[str, float], ...] | None = None


def read_manifest(path: str | Path, audio_needed: bool = True) -> dict[str, Utterance]:
    """Utterances by id, in the order of the file.

    Raises one DataError that lists everything wrong: keys missing or of a wrong type, durations that are not positive
    or longer than a day, phones not in order, keys that say that an utterance is a part of its recording, audio files
    that do not exist (unless they are not ``audio_needed``, or the caller tells of them one by one), or no utterance at
    all.
    """
    path = Path(path)
    entries = read_json(path, file_names=True)
    if not isinstance(entries, dict):
        raise DataError("not a manifest: expected an object from utterance id to utterance", path, _PREPARE)
    if not entries:
        raise DataError("no utterances", path, _PREPARE)
    audio_folder = path.parent if audio_needed else None
    problems = [f"{name}: its id {_HALF}" for name in entries if not _is_unicode(name)]
    problems += [f"{name}: {problem}" for name, entry in entries.items() for problem in _problems(entry, audio_folder)]
    if problems:
        shown = problems[:_SHOWN_PROBLEMS]
        if len(problems) > len(shown):
            shown.append(f"and {len(problems) - len(shown)} more")
        raise DataError(f"{len(problems)} problem(s): {'; '.join(shown)}", path, _PREPARE)
    return {name: _utterance(name, entry, path.parent) for name, entry in entries.items()}


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest. Raises DataError if two utterances have the same id."""
    write_text(path, manifest_text(Path(path).parent, utterances))


def manifest_text(folder: Path, utterances: Iterable[Utterance]) -> str:
    """The text of a manifest in ``folder``. Audio below the folder has a relative path, other audio an absolute one.

    Raises DataError where two utterances have the same id.
    """
    entries: dict[str, dict[str, Any]] = {}
    for utterance in utterances:
        if utterance.id in entries:
            raise DataError(f"utterance id '{utterance.id}' occurs twice", folder, "make the ids unique")
        entries[utterance.id] = _entry(utterance, folder)
    return json_text(entries)


def manifest_fingerprint(path: str | Path) -> str:
    """SHA-256 of the manifest's content: two runs with the same fingerprints saw the same data."""
    return sha256(path)


def check_disjoint(manifests: dict[str, dict[str, Utterance]]) -> None:
    """Raise DataError if an utterance id or a recording occurs in two splits."""
    owners: dict[str | Path, str] = {}
    for split, utterances in manifests.items():
        for utterance in utterances.values():
            for key in (f"utterance '{utterance.id}'", Path(os.path.abspath(utterance.wav))):
                other = owners.setdefault(key, split)
                if other != split:
                    raise DataError(f"{key} occurs in both {other} and {split}", todo="make the splits disjoint")


def find_manifests(folder: str | Path, prefix: str = "") -> dict[str, Path]:
    """The manifests in a folder, by split: train, dev, test, and then all others (*.json) by name.

    With a ``prefix`` only files whose names begin with it count: "isolated_" finds train in isolated_train.json.
    Raises DataError where one of the three is missing.
    """
    folder = Path(folder)
    found = {split: folder / f"{prefix}{split}.json" for split in REQUIRED_SPLITS}
    missing = [path.name for path in found.values() if not path.is_file()]
    if missing:
        raise DataError(f"no {', '.join(missing)}", folder, _PREPARE)
    others = (path for path in sorted(folder.glob("[!.]*.json")) if path.name != "prepared.json")
    named = {path.stem.removeprefix(prefix): path for path in others if path.stem.startswith(prefix)}
    return found | {split: path for split, path in named.items() if split not in found}


def find_manifest(folder: str | Path, split: str, prefix: str = "") -> Path:
    """The manifest of one split in a folder, for work that needs no other. Raises DataError if it is missing."""
    path = Path(folder) / f"{prefix}{split}.json"
    if not path.is_file():
        raise DataError(f"no {path.name}", folder, _PREPARE)
    return path


def _problems(entry: object, audio_folder: Path | None) -> Iterator[str]:
    """What is wrong with an entry; without ``audio_folder`` its audio file is not looked for."""
    if not isinstance(entry, dict):
        yield f"expected an object, found {type(entry).__name__}"
        return
    for key in (*_TEXT_KEYS, "duration"):
        if key not in entry:
            yield f"no key '{key}'"
        elif key in _TEXT_KEYS and not isinstance(entry[key], str):
            yield f"{key} must be a text, found {type(entry[key]).__name__}"
        elif key in _TEXT_KEYS and key != "wav" and not _is_unicode(entry[key]):
            yield f"{key} {_HALF}"
    if "duration" in entry and not _is_time(entry["duration"]):
        found = shortened(repr(entry["duration"]))
        yield f"duration must be a positive number of seconds, at most a day, found {found}"
    if audio_folder and isinstance(entry.get("wav"), str) and not os.path.isfile(audio_folder / entry["wav"]):
        yield f"no audio file {readable_name(audio_folder / entry['wav'])}"
    yield from _part_problems(entry)
    if entry.get("phones") is not None:
        yield from _phone_problems(entry["phones"])


def _part_problems(entry: dict[str, Any]) -> Iterator[str]:
    """What says that an utterance is a part of its recording, but not a beginning of 0 or the end of the whole."""
    whole = {key: (None, 0) for key in _BEGIN_KEYS} | {key: (None, entry.get("duration")) for key in _END_KEYS}
    for key in (*whole, *_CHANNEL_KEYS):
        if key in entry and entry[key] not in whole.get(key, (None,)):
            value = shortened(repr(entry[key]))
            yield f"{key} is {value}, but recordings are read whole: write each part, or channel, to a file of its own"


def _phone_problems(phones: object) -> Iterator[str]:
    if not isinstance(phones, list):
        yield f"phones must be a list, found {type(phones).__name__}"
        return
    before = 0.0
    for index, phone in enumerate(phones):
        if not (isinstance(phone, list) and len(phone) == 2 and isinstance(phone[0], str) and _is_time(phone[1])):
            yield f"phone {index} must be [label, end in seconds], found {shortened(repr(phone))}"
        elif not _is_unicode(phone[0]):
            yield f"phone {index} {_HALF}"
        elif phone[1] <= before:
            yield f"phone {index} ends at {phone[1]} s, not after the one before ({before} s)"
        else:
            before = phone[1]


def _is_unicode(text: str) -> bool:
    """Whether this can be written. Python has halves of surrogate pairs for bytes of file names that are not UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_time(value: object) -> bool:
    """Whether this is a number of seconds within a day (comparisons with what is not a number are false)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= _LONGEST_SECONDS


def _utterance(name: str, entry: dict[str, Any], folder: Path) -> Utterance:
    phones = entry.get("phones")
    return Utterance(
        id=name,
        wav=folder / entry["wav"],
        duration=float(entry["duration"]),
        speaker=entry["speaker"],
        text=entry["text"],
        phones=None if phones is None else tuple((label, float(end)) for label, end in phones),
    )


def _entry(utterance: Utterance, folder: Path) -> dict[str, object]:
    wav, folder = Path(os.path.abspath(utterance.wav)), Path(os.path.abspath(folder))
    entry: dict[str, object] = {
        "wav": wav.relative_to(folder).as_posix() if wav.is_relative_to(folder) else str(wav),
        "duration": utterance.duration,
        "speaker": utterance.speaker,
        "text": utterance.text,
    }
    if utterance.phones is not None:
        entry["phones"] = [list(phone) for phone in utterance.phones]
    return entry
