"""Free Spoken Digit Dataset: 3,000 clips {digit}_{speaker}_{index}.wav, 8 kHz, 6 speakers (CC BY-SA 4.0).

Clips 0-4 of each digit and speaker are the data set's own test split, 5-9 become development, the rest training.
Connected digits are made of the clips of one speaker and one split, so no recording is heard in two splits.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch

from snn_asr.audio import duration_seconds, read_audio, write_audio
from snn_asr.corpora import already_prepared, discard_prepared, mark_prepared
from snn_asr.corpora._preparation import summary
from snn_asr.errors import DataError, UsageError
from snn_asr.manifest import Utterance, write_manifest

SAMPLE_RATE = 8000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPLITS = ("train", "dev", "test")
MANIFESTS = (*SPLITS, *(f"isolated_{split}" for split in SPLITS))
_DIGITS_PER_UTTERANCE = (3, 7)
_PAUSE_SECONDS = (0.05, 0.2)
_NOISE_DEVIATION = 1e-4  # -80 dB: no digital silence, which real recordings do not have
_CLIP_NAME = re.compile(r"(\d)_(\w+)_(\d+)\.wav")


@dataclass(frozen=True)
class Clip:
    """One recorded digit."""

    path: Path
    digit: int
    speaker: str
    index: int

    @property
    def split(self) -> str:
        return "test" if self.index < 5 else "dev" if self.index < 10 else "train"


def prepare(
    data_folder: str | Path | None,
    output_folder: str | Path,
    seed: int = 0,
    train: int = 1500,
    dev: int = 150,
    test: int = 300,
) -> dict:
    """Write manifests train, dev, test (connected digits, made here as FLAC) and isolated_* (the clips as they are).

    ``data_folder`` is the data set or its folder ``recordings``; ``train``, ``dev`` and ``test`` are numbers of
    connected utterances. Same clips, same options: same bytes. Returns utterances and hours of every manifest.
    Raises DataError where a split has no recordings, UsageError for an option that is not a whole number.
    """
    counts = {"train": train, "dev": dev, "test": test}
    for name, value, least in (*((split, count, 1) for split, count in counts.items()), ("seed", seed, 0)):
        if type(value) is not int or value < least:
            raise UsageError(f"{name}={value}", "corpus fsdd", f"must be a whole number, {least} or more")
    output_folder = Path(output_folder)
    clips = find_clips(data_folder)
    options = {"corpus": "fsdd", "seed": seed, **counts, "source": _source_fingerprint(clips)}
    if not already_prepared(output_folder, options):
        discard_prepared(output_folder, MANIFESTS)
        for split, count in counts.items():
            chosen = [clip for clip in clips if clip.split == split]
            write_manifest(output_folder / f"isolated_{split}.json", _isolated(chosen))
            write_manifest(output_folder / f"{split}.json", _connected(chosen, split, count, seed, output_folder))
        mark_prepared(output_folder, options)
    return summary(output_folder, MANIFESTS, ("utterances", "hours"))


def find_clips(data_folder: str | Path | None) -> list[Clip]:
    """All clips in the order of digit, speaker, index.

    Raises UsageError without a folder, DataError where a split would have no clip.
    """
    if data_folder is None:
        raise UsageError("no data folder", "corpus fsdd", "give --data-folder, the folder of the data set")
    folder = Path(data_folder)
    if (folder / "recordings").is_dir():
        folder = folder / "recordings"
    matches = [(path, _CLIP_NAME.fullmatch(path.name)) for path in sorted(folder.glob("*.wav"))]
    clips = [Clip(path.absolute(), int(match[1]), match[2], int(match[3])) for path, match in matches if match]
    missing = [split for split in SPLITS if not any(clip.split == split for clip in clips)]
    if missing:
        what = f"no recordings {{digit}}_{{speaker}}_{{index}}.wav for {', '.join(missing)}"
        todo = "give the folder of the Free Spoken Digit Dataset; clips 0-4 are test, 5-9 dev, the rest train"
        raise DataError(what, folder, todo)
    return sorted(clips, key=lambda clip: (clip.digit, clip.speaker, clip.index))


def _source_fingerprint(clips: list[Clip]) -> str:
    """Of where the clips lie, their names and sizes: the manifests point at them."""
    listing = "\n".join(f"{clip.path} {clip.path.stat().st_size}" for clip in clips)
    return hashlib.sha256(listing.encode("utf-8")).hexdigest()


def _isolated(clips: list[Clip]) -> Iterator[Utterance]:
    for clip in clips:
        duration = duration_seconds(clip.path)
        yield Utterance(clip.path.stem, clip.path, duration, clip.speaker, WORDS[clip.digit])


def _connected(clips: list[Clip], split: str, count: int, seed: int, output_folder: Path) -> Iterator[Utterance]:
    """``count`` utterances of 3 to 7 digits, each of one speaker; a split's generator does not depend on the others."""
    generator = numpy.random.default_rng([seed, SPLITS.index(split)])
    clips_of = {clip.speaker: [other for other in clips if other.speaker == clip.speaker] for clip in clips}
    speakers = sorted(clips_of)
    for number in range(count):
        speaker = speakers[generator.integers(len(speakers))]
        own, length = clips_of[speaker], generator.integers(_DIGITS_PER_UTTERANCE[0], _DIGITS_PER_UTTERANCE[1] + 1)
        chosen = [own[index] for index in generator.integers(len(own), size=length)]
        samples = _join([read_audio(clip.path, SAMPLE_RATE) for clip in chosen], generator)
        name = f"{split}-{number:05d}-{speaker}"
        path = output_folder / "audio" / split / f"{name}.flac"
        write_audio(path, samples, SAMPLE_RATE)
        text = " ".join(WORDS[clip.digit] for clip in chosen)
        yield Utterance(name, path, len(samples) / SAMPLE_RATE, speaker, text)


def _join(recordings: list[torch.Tensor], generator: numpy.random.Generator) -> torch.Tensor:
    """The recordings with a pause of faint noise before, between and after them, (samples,)."""
    lengths = (generator.uniform(*_PAUSE_SECONDS, size=len(recordings) + 1) * SAMPLE_RATE).astype(int)
    pauses = [torch.from_numpy(generator.normal(0, _NOISE_DEVIATION, size=length)).float() for length in lengths]
    pieces = [piece for pair in zip(pauses, recordings, strict=False) for piece in pair]
    return torch.cat([*pieces, pauses[-1]])
