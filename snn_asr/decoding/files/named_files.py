"""The audio files that a user names on the command line, with the place of each in the output tree."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from snn_asr.data.audio_folder import AUDIO_SUFFIXES, find_audio, is_audio_name
from snn_asr.errors import DataError, UsageError

_SOUND = (
    "RIFF", "RIFX", "RF64", "fLaC", "OggS", "ID3", "FORM", "caff", ".snd", "Creative Voice File",
    "\udcff\udcfb", "\udcff\udcf3", "\udcff\udcfa", "\udcff\udcf2",
)  # what files of sound begin with, MP3 with the last ones, as text in which bytes are halves of surrogate pairs
_OWN_NAMES = re.compile(r"(errors|decoded)(-[0-9]+-of-[0-9]+)?")  # of the lists that decode writes


@dataclass(frozen=True)
class NamedFile:
    """A file to read. ``name`` is its path in the output tree, without suffix and with forward slashes, and its id."""

    path: Path
    name: str


@dataclass
class NamedFiles:
    """``files`` to read, and what below the folders was not found to be one, each with the reason.

    ``unreadable`` ought to have been read (folders that cannot be entered, links to nowhere); ``passed_over`` is
    sound in formats that nothing here reads, and folders that several links lead to.
    """

    files: list[NamedFile] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    passed_over: dict[Path, str] = field(default_factory=dict)


def find_files(words: Iterable[str], listed: Iterable[str] = ()) -> NamedFiles:
    """Files, folders (recursive), globs, and ``-`` for the paths in ``listed`` (one a line).

    A folder's tree is mirrored; a single file stands at the top. Files that differ in the suffix alone keep it, and so
    does one whose name is that of a list of decode's own. Raises DataError where a path does not exist or a folder or
    glob holds no audio, UsageError where two files would be written to one place.
    """
    found = NamedFiles()
    pairs: list[tuple[Path, Path]] = []
    for word in words:
        pairs += _listed(listed, found) if word == "-" else _expand(word, found)
    pairs = list(dict.fromkeys(pairs))
    stems = Counter(relative.with_suffix("") for _, relative in pairs)
    found.files = [NamedFile(path, _name(relative, stems)) for path, relative in pairs]
    for name, count in Counter(each.name for each in found.files).items():
        if count > 1:
            todo = "list relative paths, whose folders are kept, or decode them in separate calls"
            raise UsageError(f"{count} inputs would be written as '{name}'", todo=todo)
    return found


def _name(relative: Path, stems: Counter[Path]) -> str:
    stem = relative.with_suffix("")
    own = _OWN_NAMES.fullmatch(stem.as_posix())
    return (relative if stems[stem] > 1 or own else stem).as_posix()


def _expand(word: str, found: NamedFiles) -> list[tuple[Path, Path]]:
    path = Path(word)
    if path.is_dir():
        return _below(path, path, found)
    if path.is_file():
        return [(path, Path(path.name))]
    if glob.has_magic(word):
        matches = [Path(each) for each in sorted(glob.glob(word, recursive=True))]
        if "**" not in word:  # which enters the folders that it matches
            folders = (path for path in matches if path.is_dir())
            found.passed_over |= {path: "a folder that the pattern matches: name it, or write **" for path in folders}
        pairs = [(file, file.relative_to(_fixed_part(word))) for file in matches if _is_named(file)]
        if pairs:
            return pairs
        raise DataError("no file matches", word, "check the pattern")
    if path.exists():
        raise DataError("no regular file", word, "write what it gives into a file, or send it to 'snn-asr stream'")
    raise DataError("no such file or folder", word, "check the path")


def _below(folder: Path, base: Path, found: NamedFiles) -> list[tuple[Path, Path]]:
    """The audio below a folder; what is not readable there is noted, and nothing at all is an error."""
    audio = find_audio(folder)
    found.unreadable |= audio.unreadable
    found.passed_over |= audio.passed_over
    if not audio.files and not audio.unreadable:
        formats = "; ".join(f"{path}: {why}" for path, why in list(audio.passed_over.items())[:3])
        raise DataError(
            "no audio in this folder", folder, formats or f"audio ends in {', '.join(sorted(AUDIO_SUFFIXES))}"
        )
    return [(file, file.relative_to(base)) for file in audio.files]


def _is_named(path: Path) -> bool:
    """Whether a match is a file, or a broken link to audio, which is an error when it is read."""
    return path.is_file() or (path.is_symlink() and not path.exists() and is_audio_name(path.name))


def _listed(lines: Iterable[str], found: NamedFiles) -> list[tuple[Path, Path]]:
    """Listed paths keep their folders when relative; a missing file is an error of its own when it is read.

    Names are apart by line feeds, or by bytes of 0 as ``find -print0`` writes them. White space around a name belongs
    to it only where there is such a file. Folders are noted as unreadable, since a list is one of files.
    """
    pairs = []
    entries = iter(lines)
    first = next(entries, "")
    if _is_sound(first):
        todo = "name the file, or send raw samples to 'snn-asr stream'"
        raise UsageError("is sound, and not a list of its files", "standard input", todo)
    for path in map(Path, _list_entries([first, *entries])):
        if os.path.isdir(path):  # Path.is_dir raises where a name is too long
            found.unreadable[path] = "a folder, in a list of files: name it on the command line"
        else:
            pairs.append((path, Path(path.name) if path.is_absolute() or ".." in path.parts else path))
    return pairs


def _is_sound(first_line: str) -> bool:
    """Whether a list begins as a file of sound does, with bytes that are no text, and as no name of a file here."""
    if first_line == "NIST_1A\n":
        return not os.path.lexists("NIST_1A")
    bytes_of_sound = re.search(r"[\x00-\x08\x0e-\x1f\udc80-\udcff]", first_line[:64])
    return first_line.startswith(_SOUND) and bytes_of_sound is not None


def _list_entries(lines: list[str]) -> Iterator[str]:
    if any("\0" in line for line in lines):
        yield from filter(None, "".join(lines).split("\0"))
        return
    for line in lines:
        name = line.rstrip("\r\n")
        name = name if os.path.lexists(name) else name.strip()
        if name:
            yield name


def _fixed_part(pattern: str) -> Path:
    """The folders of a pattern before its first wildcard."""
    parts = Path(pattern).parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])
