"""What models write where nobody speaks, and what they hear behind it: a table of kinds of sound, lengths and models.

    python benchmarks/silence.py runs/improved_v2 runs/gru --speech test-clip.flac --json silence.json

Every kind of sound without speech is decoded by itself, and between two copies of a spoken clip. A cell of the first
table is the number of words written into it; one of the second the number of word errors of "clip, sound, clip" beside
the words of the clip twice, words within the sound among them. One seed; the sounds are the same for all models.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import torch

import snn_asr
from snn_asr.data.audio import read_audio
from snn_asr.scoring.error_rates import count_errors

LENGTHS_SECONDS = (10, 30, 60, 600)
Sound = Callable[[int, int, torch.Generator], torch.Tensor]


def _noise(level: float) -> Sound:
    return lambda samples, rate, draw: level * torch.randn(samples, generator=draw)


def _pink(samples: int, rate: int, draw: torch.Generator) -> torch.Tensor:
    """Noise of equal power in each octave, at -50 dB of full scale."""
    spectrum = torch.fft.rfft(torch.randn(samples, generator=draw))
    spectrum /= torch.arange(1, len(spectrum) + 1).sqrt()
    noise = torch.fft.irfft(spectrum, samples)
    return 10 ** (-50 / 20) * noise / noise.square().mean().sqrt()


def _hum(samples: int, rate: int, draw: torch.Generator) -> torch.Tensor:
    time = torch.arange(samples, dtype=torch.float64) / rate
    parts = (torch.sin(2 * math.pi * 50 * k * time) / k for k in (1, 2, 3, 5))
    return 0.01 * sum(parts, torch.zeros(samples, dtype=torch.float64)).float()


def _notes(samples: int, rate: int, draw: torch.Generator) -> torch.Tensor:
    """A tune: notes of half a second of a scale from 220 Hz, struck and fading."""
    time = torch.arange(samples, dtype=torch.float64) / rate
    steps = torch.randint(0, 13, (int(time[-1] * 2) + 1,), generator=draw)
    pitch = 220 * 2 ** (steps[(time * 2).long()].double() / 12)
    return (0.1 * torch.exp(-4 * (time % 0.5)) * torch.sin(2 * math.pi * pitch * time)).float()


SOUNDS: dict[str, Sound] = {
    "digital silence": lambda samples, rate, draw: torch.zeros(samples),
    "noise at -90 dB": _noise(10 ** (-90 / 20)),
    "noise at -60 dB": _noise(10 ** (-60 / 20)),
    "noise at -40 dB": _noise(10 ** (-40 / 20)),
    "pink noise at -50 dB": _pink,
    "hum of 50 Hz": _hum,
    "notes": _notes,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--speech", required=True, type=Path, help="a clip that the models understand")
    parser.add_argument("--lengths", default=",".join(map(str, LENGTHS_SECONDS)), help="seconds of sound")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    lengths = [int(each) for each in given.lengths.split(",")]
    rows = [row for folder in given.models for row in measure(folder, given.speech, lengths)]
    print(f"{'':34}" + "".join(f"{each:>9} s" for each in lengths) + "   words written | errors with speech around")
    for row in rows:
        alone, around = (" ".join(f"{each:>10}" for each in row[key]) for key in ("words", "errors"))
        print(f"{row['model']:14}{row['sound']:20}{alone} | {around}")
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=1))


def measure(folder: Path, clip: Path, lengths: list[int]) -> list[dict[str, object]]:
    """Of one model, a row for each kind of sound."""
    model = snn_asr.load_model(folder)
    rate = model.model.settings.features.sample_rate
    speech = read_audio(clip, rate)
    said = model.transcribe(speech).text
    rows = []
    for kind, make in SOUNDS.items():
        words, errors = [], []
        for seconds in lengths:
            sound = make(seconds * rate, rate, torch.Generator().manual_seed(seconds))
            words.append(len(model.transcribe(sound).text.split()))
            heard = model.transcribe(torch.cat([speech, sound, speech])).text
            errors.append(count_errors({"a": f"{said} {said}"}, {"a": heard}, "word", None).edits)
        rows.append({"model": folder.name, "sound": kind, "lengths": lengths, "words": words, "errors": errors})
    return rows


if __name__ == "__main__":
    main()
