"""What corpora with one file for each utterance have in common: their recordings, and how these are checked."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from snn_asr.data.sound_file import duration_seconds
from snn_asr.data.transcripts import read_transcripts
from snn_asr.errors import DataError, UsageError, describing
from snn_asr.files import require_regular

log = logging.getLogger(__name__)

_SHOWN = 3


@dataclass(frozen=True)
class Recording:
    """One recording of a corpus with its cleaned transcript."""

    id: str
    path: Path
    speaker: str
    text: str


def corpus_folder(corpus: str, data_folder: str | Path | None, name: str) -> Path:
    """Return the folder of the corpus, absolute: ``data_folder`` itself or its subfolder ``name``.

    Raises UsageError if there is no such folder.
    """
    if data_folder is None:
        raise UsageError("no data folder", f"corpus {corpus}", f"give --data-folder, the folder {name}")
    folder = Path(data_folder).absolute()
    return folder / name if (folder / name).is_dir() else folder


def require_flags(corpus: str, **flags: object) -> None:
    """Raise UsageError for a value that is neither true nor false."""
    for name, value in flags.items():
        if type(value) is not bool:
            raise UsageError(f"{name}={value}", f"corpus {corpus}", "must be true or false")


def recorded_seconds(path: Path) -> float:
    """Return how long a recording lasts. Raises DataError if it cannot be read, was cut short or holds no sound."""
    seconds = duration_seconds(path)
    if not seconds:
        raise DataError("holds no sound", path, "restore the recording")
    return seconds


def published_transcripts(path: Path) -> dict[str, str]:
    """Return the transcripts of a file of the corpus by id. Raises DataError if it cannot be read, or is a pipe."""
    with describing(path, "restore the corpus"):
        require_regular(path)
    return read_transcripts(path)


def report(problems: Sequence[str], where: Path, partial: bool) -> None:
    """Raise one DataError that tells how a corpus differs from what was published, or with ``partial`` only log it."""
    if problems and not partial:
        todo = "restore the corpus, or take it as it is with 'snn-asr prepare --partial'"
        raise DataError(f"not as published: {'; '.join(problems)}", where, todo)
    for problem in problems:
        log.warning("%s: %s", where, problem)


def counted(what: str, names: Sequence[str]) -> list[str]:
    """Return a line such as "4 recordings without transcript (a, b, c, ...)", or no line if there are no names."""
    some = ", ".join(names[:_SHOWN]) + ", ..." * (len(names) > _SHOWN)
    return [f"{len(names)} {what} ({some})"] if names else []


def source_fingerprint(recordings: Mapping[str, Sequence[Recording]]) -> str:
    """Return a fingerprint of where the recordings of all splits lie, their sizes and transcripts."""
    lines = []
    for split, members in recordings.items():
        lines += [split, *(f"{each.path} {each.path.stat().st_size} {each.speaker} {each.text}" for each in members)]
    return sha256_of_lines([*lines, ""])


def sha256_of_lines(lines: Iterable[str]) -> str:
    """Return the hexadecimal SHA-256 of lines, in which paths may have names that are not UTF-8."""
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
