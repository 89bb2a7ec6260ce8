"""Decoding many files: the output mirrors the input tree, finished files are skipped, and one bad file ends no other.

A fault of one file while it is read, recognised or written is an error of that file alone. Only a full disk, on which
no other transcript could be written either, ends the whole.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from snn_asr.data.transcripts import EARLIER
from snn_asr.decoding.files.named_files import NamedFile, NamedFiles
from snn_asr.decoding.files.output_folder import OutputFolder
from snn_asr.decoding.files.writers import render
from snn_asr.decoding.hypothesis import Hypothesis
from snn_asr.decoding.recognizer import Waveform
from snn_asr.errors import DataError, as_user_error, blames_the_disk, together_or_alone
from snn_asr.files import sha256
from snn_asr.sharding import Shard

log = logging.getLogger(__name__)


class Worker(Protocol):
    """The interface of a Recognizer and an Aligner (aligner.py), which make hypotheses of recordings."""

    @property
    def batch_files(self) -> int:
        """How many files to take at a time."""

    def settings_of(self, name: str) -> dict[str, Any]:
        """Everything that the result for the recording of this name depends on, besides the recording itself."""

    def waveform(self, source: Path) -> Waveform:
        """A file's samples, whole or in blocks."""

    def recognize(self, utterances: Sequence[tuple[str, Waveform]]) -> list[Hypothesis | Exception]:
        """The hypothesis of each (id, waveform), or its error."""


@dataclass
class Outcome:
    """What ``decode_files`` has done.

    ``skipped`` files were decoded by an earlier call with the same content, model, beam search and formats.
    ``passed_over`` files were sound in formats that are not read. ``done`` is the word for the work, and ``errors`` has
    the failed files.
    """

    decoded: int = 0
    skipped: int = 0
    audio_seconds: float = 0.0
    wall_seconds: float = 0.0
    passed_over: int = 0
    done: str = "transcribed"
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def inputs(self) -> int:
        """The number of files that were asked for, without those that were passed over."""
        return self.decoded + self.skipped + len(self.errors)

    def line(self) -> str:
        """One line for the user."""
        times = self.audio_seconds / self.wall_seconds if self.decoded else 0.0
        speed = f", {times:.{0 if times >= 10 else 1}f} times real time" if self.decoded else ""
        skipped = f", {self.skipped} already done" if self.skipped else ""
        passed_over = f", {self.passed_over} passed over" if self.passed_over else ""
        return f"{self.decoded} {self.done}{skipped}, {len(self.errors)} failed{passed_over}{speed}"


def decode_files(
    worker: Worker, found: NamedFiles, formats: Sequence[str], output_folder: Path | None,
    show: Callable[[Hypothesis], None], failed: Callable[[str], None], shard: Shard | None = None,
) -> Outcome:
    """Recognise the files ``found``, or a ``shard`` of them. With an output folder each is written in every format,
    otherwise ``show`` is called with it.

    The error of a file is given to ``failed`` as one line and, with an output folder, listed in errors.json (which
    shards write when all have ended). Shards may run at the same time, into one folder. Raises DataError if the output
    folder cannot be written at all.
    """
    started = time.monotonic()
    output = None if output_folder is None else OutputFolder(output_folder, shard)
    files = found.files if shard is None else shard.part(found.files, key=lambda each: each.name)
    decoding = _Decoding(worker, formats, output, show, failed, Outcome(passed_over=len(found.passed_over)))
    for path, why in found.passed_over.items():
        log.warning("passed over: %s: %s", path, why)
    for path, why in found.unreadable.items():
        decoding.fail(path, DataError(why, path))
    for group in _groups(files, worker.batch_files):
        decoding.decode(group)
    outcome = decoding.outcome
    outcome.wall_seconds = time.monotonic() - started
    if output is not None:
        output.write_errors(outcome.errors)
    return outcome


@dataclass
class _Decoding:
    """One call of ``decode_files``, which counts its ``outcome``."""

    worker: Worker
    formats: Sequence[str]
    output: OutputFolder | None
    show: Callable[[Hypothesis], None]
    failed: Callable[[str], None]
    outcome: Outcome

    def decode(self, group: Sequence[NamedFile]) -> None:
        """Recognise the files of the group that are not done yet, and write or show the results."""
        todo = [(each, state) for each in group if (state := self._state_to_reach(each)) is not None]
        results = together_or_alone(self._recognize, [each for each, _ in todo])
        for (each, state), result in zip(todo, results, strict=True):
            if isinstance(result, Exception):
                self.fail(each.path, result, each.name)
            elif self._written(each, state, result):
                self.outcome.decoded += 1
                self.outcome.audio_seconds += result.duration_seconds

    def _recognize(self, files: Sequence[NamedFile]) -> list[Hypothesis | Exception]:
        return self.worker.recognize([(each.name, self.worker.waveform(each.path)) for each in files])

    def fail(self, path: Path, error: Exception, name: str | None = None) -> None:
        """Report and list the error of a file, and the transcripts that earlier calls have left under its ``name``."""
        described = as_user_error(error, path)
        if described is None:
            log.debug("%s", path, exc_info=error)
            described = DataError(f"{type(error).__name__}: {error}".splitlines()[0])
        if described.where is None:
            described.where = path
        earlier = self.output.earlier(name) if self.output is not None and name is not None else []
        left = f" ({', '.join(map(str, earlier))}: {EARLIER})" if earlier else ""
        self.outcome.errors[str(path)] = described.what + left
        self.failed(" ".join(f"{described}{left}".split()))

    def _state_to_reach(self, each: NamedFile) -> dict[str, Any] | None:
        """Everything that the transcripts of a file depend on; None if they are written already, or it cannot be
        read."""
        try:
            state = {"audio": sha256(each.path), "formats": sorted(self.formats)} | self.worker.settings_of(each.name)
            if self.output is None or not self.output.is_done(each.name, state):
                return state
            self.outcome.skipped += 1
        except Exception as error:
            self.fail(each.path, error, each.name)
        return None

    def _written(self, each: NamedFile, state: dict[str, Any], result: Hypothesis) -> bool:
        """Write or show a result, and tell whether that was possible."""
        if self.output is None:
            self.show(result)
            return True
        try:
            self.output.write(each.name, state, {form: render(result, form) for form in self.formats})
        except Exception as error:
            if blames_the_disk(error):
                raise
            self.fail(each.path, error, each.name)
            return False
        return True


def _groups(files: Sequence[NamedFile], size: int) -> Iterator[Sequence[NamedFile]]:
    return (files[start : start + size] for start in range(0, len(files), size))
