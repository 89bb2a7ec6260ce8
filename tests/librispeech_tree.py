"""Small trees of LibriSpeech's shape, of silence."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy
import pytest
import soundfile

from snn_asr.corpora import librispeech
from snn_asr.corpora.librispeech import Published

SHAPES = {"train-clean-100": (23, 4), "dev-clean": (5, 2), "test-clean": (4, 2), "test-other": (3, 1)}
MINUTES = 2.0


@cache
def flac(samples: int) -> bytes:
    """A FLAC file of so many samples of silence at 16 kHz."""
    buffer = io.BytesIO()
    soundfile.write(buffer, numpy.zeros(samples, dtype=numpy.int16), 16000, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def write_split(folder: Path, utterances: int, speakers: int, minutes: float) -> None:
    """A split of so many utterances by so many speakers: chapters of up to 50, lengths that vary and add up."""
    mean = round(minutes * 60 * 16000 / utterances)
    long, short = flac(mean + mean // 2), flac(mean - mean // 2)
    for speaker in range(speakers):
        own = range(speaker, utterances, speakers)
        for chapter in range(0, len(own), 50):
            place = folder / str(100 + speaker) / str(7000 + chapter)
            place.mkdir(parents=True)
            lines = []
            for number, index in enumerate(own[chapter : chapter + 50]):
                name = f"{100 + speaker}-{7000 + chapter}-{number:04d}"
                pair_left_over = index == utterances - 1 and utterances % 2
                content = flac(mean) if pair_left_over else (long, short)[index % 2]
                (place / f"{name}.flac").write_bytes(content)
                lines.append(f"{name} IT'S NUMBER {name.replace('-', ' ')}\n")
            (place / f"{100 + speaker}-{7000 + chapter}.trans.txt").write_text("".join(lines))


def write_small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree below ``folder`` that is complete by published numbers as small as itself."""
    table = {split: Published(*shape, MINUTES, "0" * 64) for split, shape in SHAPES.items()}
    monkeypatch.setattr(librispeech, "PUBLISHED", table)
    for split, shape in SHAPES.items():
        write_split(folder / "LibriSpeech" / split, *shape, MINUTES)
    return folder / "LibriSpeech"
