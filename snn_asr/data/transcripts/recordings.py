"""The recordings that a manifest names: by them its utterances are found where files are not called by their ids."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath

from snn_asr.data.transcripts.json_formats import is_json, json_entries


def recordings_of(path: str | Path) -> dict[str, Path]:
    """The recording of each utterance of a manifest, by id; none if ``path`` is anything else.

    Ids are in Unicode's composed form (NFC), as those of ``read_transcripts``. Raises what that raises for JSON.
    """
    path = Path(path)
    if path.is_dir() or not is_json(path):
        return {}
    found = {}
    for identifier, entry, _ in json_entries(path):
        wav = entry.get("wav")
        if isinstance(wav, str):
            found[unicodedata.normalize("NFC", identifier)] = path.parent / wav
    return found


def by_place(files: Mapping[str, Path], recordings: Mapping[str, Path]) -> dict[str, str]:
    """The id of the utterance for each name of ``files`` that is its recording, and no other utterance's."""
    ids: dict[str, list[str]] = {}
    for identifier, wav in recordings.items():
        ids.setdefault(os.path.realpath(wav), []).append(identifier)
    found = {name: ids.get(os.path.realpath(path), []) for name, path in files.items()}
    return {name: each[0] for name, each in found.items() if len(each) == 1}


def by_ending(names: Iterable[str], recordings: Mapping[str, Path]) -> dict[str, str]:
    """The id of the utterance for each name with which the path of its recording ends, and no other's.

    A name is a path below any folder, usually without its suffix, as ``decode`` calls its results.
    """
    ids: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for identifier, wav in recordings.items():
        for parts in {_parts(wav), _parts(wav.with_suffix(""))}:
            ids.setdefault(parts[-1], []).append((parts, identifier))
    found = {}
    for name in names:
        wanted = _parts(PurePath(name))
        fitting = {each for parts, each in ids.get(wanted[-1], ()) if parts[-len(wanted) :] == wanted}
        if len(fitting) == 1:
            found[name] = fitting.pop()
    return found


def _parts(path: PurePath) -> tuple[str, ...]:
    return tuple(unicodedata.normalize("NFC", part) for part in path.parts) or ("",)
