"""Speech from espeak-ng with the time of every phoneme: the one import site of the optional ``espeakng_loader``."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from snn_asr.errors import DataError, UsageError

_WORKER = Path(__file__).with_name("espeak_worker.py")
_TIMEOUT_SECONDS = 60
# espeak-ng's dictionary speaks pairs such as "on the" as one word; over a no-break space it does not.
_WORD_SEPARATOR = "\u00a0"


@dataclass(frozen=True)
class Phoneme:
    """One phoneme as spoken: espeak-ng's mnemonic without stress marks, the word it is in, its first sample."""

    name: str
    word: int
    start: int


@dataclass(frozen=True)
class Speech:
    """Samples (int16) at ``sample_rate`` hertz, the phonemes in order, and the sample where the last one ends."""

    samples: numpy.ndarray
    sample_rate: int
    phonemes: tuple[Phoneme, ...]
    end: int


@dataclass(frozen=True)
class Installation:
    """Where libespeak-ng and its data lie."""

    library: Path
    data: Path

    def check_voice(self, voice: str) -> None:
        """Raise DataError where the variant behind the plus sign is missing: espeak-ng would leave it out silently."""
        _, _, variant = voice.partition("+")
        if variant and not (self.data / "voices" / "!v" / variant).is_file():
            raise DataError(f"no voice variant '{variant}'", self.data, "upgrade: pip install -U espeakng-loader")


def installation() -> Installation:
    """Find the optional dependency. Raises UsageError, which says how to install it, where it is missing."""
    try:
        import espeakng_loader
    except ImportError as error:
        todo = "install the extra: pip install 'snn-asr[demo]'"
        raise UsageError("the demo corpus is spoken by espeak-ng, which is not installed", todo=todo) from error
    return Installation(Path(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path()))


def synthesise(words: list[str], voice: str, *, rate: int, pitch: int, pitch_range: int) -> Speech:
    """Speak ``words`` (lower-case ASCII) with ``voice`` ("accent" or "accent+variant") in a process of its own.

    ``rate`` is in words a minute; ``pitch`` and ``pitch_range`` run from 0 to 99 about the voice's own 50.
    The same arguments give the same samples, always. Raises UsageError where espeak-ng is not installed, DataError
    where it fails.
    """
    installed = installation()
    installed.check_voice(voice)
    request: dict[str, Any] = {"library": str(installed.library), "data": str(installed.data), "voice": voice}
    request |= {"text": _WORD_SEPARATOR.join(words), "rate": rate, "pitch": pitch, "range": pitch_range}
    answer = _run_worker(request)
    header, _, pcm = answer.partition(b"\n")
    fields = json.loads(header)
    phonemes, end = phonemes_of(words, fields["events"])
    return Speech(numpy.frombuffer(pcm, dtype=numpy.int16), fields["sample_rate"], phonemes, end)


def _run_worker(request: dict) -> bytes:
    command, sent = [sys.executable, "-I", "-S", str(_WORKER)], json.dumps(request).encode()
    try:
        done = subprocess.run(command, input=sent, capture_output=True, timeout=_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise DataError(f"espeak-ng did not answer in {_TIMEOUT_SECONDS} s", f"'{request['text']}'") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise DataError(f"espeak-ng failed ({lines[-1]})", request["library"], "reinstall espeakng-loader")
    return done.stdout


def phonemes_of(words: list[str], events: list[list]) -> tuple[tuple[Phoneme, ...], int]:
    """Turn raw events into phonemes with the index of their word, and the end of the last.

    A phoneme event carries the text position of its word; names that start with an underscore are pauses.
    """
    position, word_at = 1, {}
    for index, word in enumerate(words):
        word_at[position] = index
        position += len(word) + 1
    phonemes, end = [], None
    for kind, text_position, sample, name in events:
        if kind != "phoneme":
            continue
        if name.startswith("_"):
            end = sample if end is None else end
        elif name:
            phonemes.append(Phoneme(name.lstrip("',%="), word_at[text_position], sample))
    if end is None or {phoneme.word for phoneme in phonemes} != set(word_at.values()):
        raise DataError("espeak-ng did not speak every word on its own", f"'{' '.join(words)}'")
    return tuple(phonemes), end
