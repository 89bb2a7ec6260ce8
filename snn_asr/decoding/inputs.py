"""What a user names on the command line, as a list of audio files and the place of each in the output tree."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from snn_asr.data.audio_folder import AUDIO_SUFFIXES
from snn_asr.errors import DataError, UsageError


@dataclass(frozen=True)
class Input:
    """``name`` is the path in the output tree, without suffix, with forward slashes: the utterance's id."""

    path: Path
    name: str


def find_inputs(words: Iterable[str], listed: Iterable[str] = ()) -> list[Input]:
    """Files, folders (recursive), globs, and ``-`` for the paths in ``listed`` (one a line).

    A folder's tree is mirrored; a single file stands at the top. Files that differ in the suffix alone keep it.
    Raises DataError where a path does not exist or a folder or glob holds no audio, UsageError where two files
    would be written to one place.
    """
    pairs: list[tuple[Path, Path]] = []
    for word in words:
        pairs += _listed(listed) if word == "-" else _expand(word)
    pairs = list(dict.fromkeys(pairs))
    stems = Counter(relative.with_suffix("") for _, relative in pairs)
    inputs = [
        Input(path, (relative.with_suffix("") if stems[relative.with_suffix("")] == 1 else relative).as_posix())
        for path, relative in pairs
    ]
    for name, count in Counter(each.name for each in inputs).items():
        if count > 1:
            raise UsageError(f"{count} inputs would be written as '{name}'", todo="decode them in separate calls")
    return inputs


def _expand(word: str) -> list[tuple[Path, Path]]:
    path = Path(word)
    if path.is_dir():
        found = [(file, file.relative_to(path)) for file in _audio_files(path)]
        if not found:
            raise DataError("no audio in this folder", word, f"audio ends in {', '.join(sorted(AUDIO_SUFFIXES))}")
        return found
    if path.is_file():
        return [(path, Path(path.name))]
    if glob.has_magic(word):
        matches = [Path(each) for each in sorted(glob.glob(word, recursive=True))]
        found = [(file, file.relative_to(_fixed_part(word))) for file in matches if file.is_file()]
        if found:
            return found
        raise DataError("no file matches", word, "check the pattern")
    raise DataError("no such file or folder", word, "check the path")


def _listed(lines: Iterable[str]) -> list[tuple[Path, Path]]:
    """Listed paths keep their folders when relative; a missing file is an error of its own when it is read."""
    paths = [Path(line.strip()) for line in lines if line.strip()]
    return [(path, Path(path.name) if path.is_absolute() or ".." in path.parts else path) for path in paths]


def _audio_files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file())


def _fixed_part(pattern: str) -> Path:
    """The folders before the first wildcard."""
    parts = Path(pattern).parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])
