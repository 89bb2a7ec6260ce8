"""Decode many files: errors collected while the others finish, outputs mirrored, finished files skipped by content."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from snn_asr.errors import DataError
from snn_asr.files import append_json_line, sha256, write_bytes, write_json, write_text
from snn_asr.inputs import Input
from snn_asr.recognizer import BATCH, Recognizer
from snn_asr.writers import FORMATS, Hypothesis, render

BATCH_FILES = 16
JOURNAL, ERRORS = "decoded.jsonl", "errors.json"


@dataclass
class Outcome:
    """``skipped`` were decoded by an earlier call with the same content, model, beam search and formats."""

    decoded: int = 0
    skipped: int = 0
    audio_seconds: float = 0.0
    wall_seconds: float = 0.0
    errors: dict[str, str] = field(default_factory=dict)

    def line(self) -> str:
        speed = f", {self.audio_seconds / self.wall_seconds:.0f} times real time" if self.decoded else ""
        skipped = f", {self.skipped} already done" if self.skipped else ""
        return f"{self.decoded} transcribed{skipped}, {len(self.errors)} failed{speed}"


def decode_files(
    recognizer: Recognizer, inputs: Sequence[Input], formats: Sequence[str], output_folder: Path | None,
    show: Callable[[Hypothesis], None], failed: Callable[[Input, str], None],
) -> Outcome:
    """Transcribe ``inputs``; with an output folder write each in every format, otherwise ``show`` each.

    A file that cannot be read is reported to ``failed`` and, with an output folder, listed in errors.json.
    """
    outcome, started = Outcome(), time.monotonic()
    journal = _read_journal(output_folder) if output_folder else {}

    def fail(each: Input, error: DataError) -> None:
        outcome.errors[str(each.path)] = error.what
        failed(each, str(error))

    for group in _groups(inputs, BATCH_FILES if recognizer.engine == BATCH else 1):
        todo = []
        for each in group:
            try:
                if journal and each.name in journal and _done(each, journal, recognizer, formats, output_folder):
                    outcome.skipped += 1
                else:
                    todo.append((each, recognizer.waveform(each.path)))
            except DataError as error:
                fail(each, error)
        try:
            hypotheses = recognizer.transcribe_batch([(each.name, samples) for each, samples in todo]) if todo else []
        except DataError as error:  # of a file that is read while it is recognised: it is alone
            fail(todo.pop()[0], error)
            hypotheses = []
        for (each, _), hypothesis in zip(todo, hypotheses, strict=True):
            outcome.decoded += 1
            outcome.audio_seconds += hypothesis.duration_seconds
            if output_folder is None:
                show(hypothesis)
                continue
            for name in formats:
                text = render(hypothesis, name, recognizer.tokens.kind)
                write_text(_output(output_folder, each, name), text)
            row = {"name": each.name, **_state(each, recognizer, formats)}
            append_json_line(output_folder / JOURNAL, row)
    outcome.wall_seconds = time.monotonic() - started
    if output_folder is not None:
        write_json(output_folder / ERRORS, outcome.errors)
    return outcome


def _state(each: Input, recognizer: Recognizer, formats: Sequence[str]) -> dict:
    state = {"audio": sha256(each.path), "model": recognizer.fingerprint, "formats": sorted(formats)}
    engine = {} if recognizer.engine == BATCH else {"engine": recognizer.identity}
    return state | engine | ({"beam": recognizer.beam.identity} if recognizer.beam else {})


def _done(each: Input, journal: dict, recognizer: Recognizer, formats: Sequence[str], folder: Path) -> bool:
    present = all(_output(folder, each, name).is_file() for name in formats)
    return present and each.path.is_file() and journal[each.name] == _state(each, recognizer, formats)


def _output(folder: Path, each: Input, name: str) -> Path:
    return folder / f"{each.name}{FORMATS[name]}"


def _read_journal(folder: Path) -> dict[str, dict]:
    """Last state of every decoded name; a last line cut short by a crash is taken out of the file."""
    path, journal = folder / JOURNAL, {}
    if not path.is_file():
        return journal
    *lines, rest = path.read_bytes().split(b"\n")
    if rest:
        write_bytes(path, b"".join(line + b"\n" for line in lines))
    try:
        for line in lines:
            row = json.loads(line)
            journal[row.pop("name")] = row
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise DataError("damaged", path, "remove it to decode everything again") from error
    return journal


def _groups(inputs: Sequence[Input], size: int) -> Iterator[Sequence[Input]]:
    return (inputs[start : start + size] for start in range(0, len(inputs), size))
