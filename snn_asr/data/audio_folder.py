"""The audio files below a folder, and everything that was left out, so that nothing is ignored silently."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

AUDIO_SUFFIXES = frozenset({
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".sph", ".nist", ".aif", ".aiff", ".aifc", ".au", ".snd",
    ".caf", ".w64", ".rf64", ".voc", ".wv1", ".wv2", ".mp1", ".mp2", ".mpga", ".sf", ".ircam", ".paf", ".fap", ".svx",
    ".8svx", ".iff", ".pvf", ".avr", ".wve", ".sds", ".sd2", ".xi",
})
UNREAD_SUFFIXES = frozenset({
    ".m4a", ".mp4", ".aac", ".wma", ".amr", ".webm", ".mka", ".3gp", ".ac3", ".ape", ".wv", ".dts", ".ra", ".spx",
    ".m4b", ".m4r", ".mpc", ".tta", ".shn", ".mkv", ".mov", ".avi", ".flv", ".qcp", ".gsm", ".vox", ".raw", ".pcm",
})


@dataclass
class AudioFolder:
    """What a folder holds: ``files`` in the order of their paths, and the reasons for what was left out.

    ``unreadable`` are folders that cannot be entered and broken links. ``passed_over`` are formats of sound that are
    not read, and folders that a link shows a second time.
    """

    files: list[Path] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    passed_over: dict[Path, str] = field(default_factory=dict)


def is_audio_name(name: str) -> bool:
    """Whether a file of this name is sound, and not one that macOS leaves beside it ("._a.wav")."""
    return Path(name).suffix.lower() in AUDIO_SUFFIXES and not name.startswith("._")


def find_audio(folder: str | Path) -> AudioFolder:
    """All audio below ``folder``, through links too; each folder is entered once, however many links lead to it.

    A broken link to an audio file is one of the files, and becomes an error when it is read.
    """
    found, links, seen = AudioFolder(), [Path(folder)], set[tuple[int, int]]()
    while links:  # folders themselves before links to them
        following, links = links, []
        for each in following:
            links += _walk(each, found, seen)
    found.files.sort()
    return found


def _walk(folder: Path, found: AudioFolder, seen: set[tuple[int, int]]) -> list[Path]:
    """Add everything in ``folder`` and below to ``found``, except links to folders, which are returned."""
    links: list[Path] = []
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            status = here.stat()
            if (status.st_dev, status.st_ino) in seen:
                found.passed_over[here] = "a link to a folder that is searched anyhow"
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(_entries(here), key=lambda each: each.name)
        except OSError as error:
            found.unreadable[here] = f"cannot be searched ({error.strerror})"
            continue
        for entry in entries:
            path = Path(entry.path)
            if _is_folder(entry):
                (links if entry.is_symlink() else waiting).append(path)
            elif is_audio_name(entry.name):
                found.files.append(path)
            elif entry.is_symlink() and not path.exists():
                found.unreadable[path] = f"a link to {os.readlink(path)}, which is not there"
            elif path.suffix.lower() in UNREAD_SUFFIXES and not entry.name.startswith("._"):
                found.passed_over[path] = f"a format that is not read ({path.suffix}): convert it to WAV or FLAC"
    return links


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether this is a folder or a link to one. A link to itself is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from entries
