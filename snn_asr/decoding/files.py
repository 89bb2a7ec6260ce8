"""Decode many files: errors collected while the others finish, outputs mirrored, finished files skipped by content.

Beside the transcripts an output folder holds decoded.jsonl, one line for each finished file with all that determines
its transcript, and errors.json. Shards have files of their own, decoded-2-of-4.jsonl and errors-2-of-4.json.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from snn_asr.decoding.hypothesis import Hypothesis
from snn_asr.decoding.inputs import Input
from snn_asr.decoding.recognizer import BATCH, Recognizer
from snn_asr.decoding.writers import FORMATS, render
from snn_asr.errors import DataError
from snn_asr.files import append_json_line, read_json_object, sha256, write_json, write_text
from snn_asr.sharding import Shard, mend_journal, read_journal, shard_files

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

    @property
    def inputs(self) -> int:
        return self.decoded + self.skipped + len(self.errors)

    def line(self) -> str:
        speed = f", {self.audio_seconds / self.wall_seconds:.0f} times real time" if self.decoded else ""
        skipped = f", {self.skipped} already done" if self.skipped else ""
        return f"{self.decoded} transcribed{skipped}, {len(self.errors)} failed{speed}"


def decode_files(
    recognizer: Recognizer, inputs: Sequence[Input], formats: Sequence[str], output_folder: Path | None,
    show: Callable[[Hypothesis], None], failed: Callable[[Input, str], None], shard: Shard | None = None,
) -> Outcome:
    """Transcribe ``inputs``, or the ``shard`` of them; with an output folder write each in every format, otherwise
    ``show`` each.

    A file that cannot be read is reported to ``failed`` and, with an output folder, listed in errors.json, by shards
    when all have ended. Shards may run at the same time, into one folder.
    """
    outcome, started = Outcome(), time.monotonic()
    inputs = inputs if shard is None else shard.part(inputs, key=lambda each: each.name)
    journal_name = JOURNAL if shard is None else shard.file_name(JOURNAL)
    journal = _read_journals(output_folder, journal_name) if output_folder else {}

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
                text = render(hypothesis, name)
                write_text(_output(output_folder, each, name), text)
            row = {"name": each.name, "finished": time.time(), **_state(each, recognizer, formats)}
            append_json_line(output_folder / journal_name, row)
    outcome.wall_seconds = time.monotonic() - started
    if output_folder is not None:
        _write_errors(output_folder, outcome.errors, shard)
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


def _read_journals(folder: Path, own: str) -> dict[str, dict]:
    """Last state of every name that was decoded by whichever shard, or by none; ``own`` is the one to append to."""
    mend_journal(folder / own)
    finished, journal = {}, {}
    for path in (folder / JOURNAL, *shard_files(folder, JOURNAL)):
        for row in read_journal(path):
            name, when = row.pop("name", None), row.pop("finished", 0.0)
            if not isinstance(name, str) or not isinstance(when, (int, float)):
                raise DataError("damaged", path, "remove it to do its part again")
            if when >= finished.get(name, 0.0):
                finished[name], journal[name] = when, row
    return journal


def _write_errors(folder: Path, errors: dict[str, str], shard: Shard | None) -> None:
    """errors.json; of a shard its own file and, where those of all are there, what they hold together."""
    if shard is None:
        write_json(folder / ERRORS, errors)
        for path in shard_files(folder, ERRORS):
            path.unlink(missing_ok=True)
        return
    write_json(folder / shard.file_name(ERRORS), errors)
    parts = [folder / Shard(number, shard.count).file_name(ERRORS) for number in range(1, shard.count + 1)]
    written = None
    # Another shard may end meanwhile: whoever writes last has seen the files of all.
    while all(path.is_file() for path in parts):
        together = {name: error for path in parts for name, error in read_json_object(path, file_names=True).items()}
        if together == written:
            break
        write_json(folder / ERRORS, together)
        written = together


def _groups(inputs: Sequence[Input], size: int) -> Iterator[Sequence[Input]]:
    return (inputs[start : start + size] for start in range(0, len(inputs), size))
