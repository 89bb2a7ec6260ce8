"""Free Spoken Digit Dataset: 3,000 clips {digit}_{speaker}_{index}.wav, 8 kHz, 6 speakers (CC BY-SA 4.0).

Clips 0-4 of each digit and speaker are the test split of the data set itself, clips 5-9 become development, and the
rest is training. Connected digits are joined from clips of one speaker and one split, so no recording occurs in two
splits.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import torch

from snn_asr.corpora.preparation import Preparation
from snn_asr.corpora.recordings import recorded_seconds, sha256_of_lines
from snn_asr.data.audio import read_audio, write_audio
from snn_asr.data.manifest import Utterance
from snn_asr.errors import DataError, UsageError, listed
from snn_asr.sharding import Shard

log = logging.getLogger(__name__)

SAMPLE_RATE = 8000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPLITS = ("train", "dev", "test")
MANIFESTS = (*SPLITS, *(f"isolated_{split}" for split in SPLITS))
_DIGITS_PER_UTTERANCE = (3, 7)
_PAUSE_SECONDS = (0.05, 0.2)
_NOISE_DEVIATION = 1e-4  # -80 dB, because real recordings have no digital silence
_MOST_UTTERANCES = 1_000_000  # of connected ones, which are all planned before the first is made
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


@dataclass(frozen=True)
class Connected:
    """Digits to be joined, and the state of the random generator from which their pauses are drawn."""

    split: str
    number: int
    clips: list[Clip]
    generator_state: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.split}-{self.number:05d}-{self.clips[0].speaker}"


def prepare(
    data_folder: str | Path | None,
    output_folder: str | Path,
    seed: int = 0,
    train: int = 1500,
    dev: int = 150,
    test: int = 300,
    shard: Shard | None = None,
) -> dict[str, Any]:
    """Write manifests train, dev and test (connected digits, made here as FLAC) and isolated_* (the clips as they are).

    ``data_folder`` is the data set or its folder ``recordings``. ``train``, ``dev`` and ``test`` are numbers of
    connected utterances. The same clips and options give the same bytes. Returns utterances and hours of every
    manifest. Raises DataError if a split has no recordings, and UsageError for an option that is not a whole number.
    """
    counts = {"train": train, "dev": dev, "test": test}
    for name, value, least in (*((split, count, 1) for split, count in counts.items()), ("seed", seed, 0)):
        if type(value) is not int or value < least:
            raise UsageError(f"{name}={value}", "corpus fsdd", f"must be a whole number, {least} or more")
        if least and value > _MOST_UTTERANCES:
            raise UsageError(f"{name}={value}", "corpus fsdd", f"must be {_MOST_UTTERANCES} or less")
    clips = find_clips(data_folder)
    options = {"corpus": "fsdd", "seed": seed, **counts, "source": _source_fingerprint(clips)}
    preparation = Preparation(
        options, MANIFESTS,
        items=lambda: _items(clips, counts, seed),
        make=partial(_utterance, output_folder=Path(output_folder)),
        title="Joining digits",
        measures=("utterances", "hours"),
    )
    return preparation.run(Path(output_folder), shard)


def find_clips(data_folder: str | Path | None) -> list[Clip]:
    """Return all clips in the order of digit, speaker, index.

    Raises UsageError if there is no such folder, and DataError if a split would have no clip.
    """
    if data_folder is None:
        raise UsageError("no data folder", "corpus fsdd", "give --data-folder, the folder of the data set")
    folder = Path(data_folder)
    if (folder / "recordings").is_dir():
        folder = folder / "recordings"
    matches = [(path, _CLIP_NAME.fullmatch(path.name)) for path in sorted(folder.glob("*.wav"))]
    others = [path.name for path, match in matches if not match]
    if others:
        what = "%s: %d recordings are not named {digit}_{speaker}_{index}.wav, and are left out: %s"
        log.warning(what, folder, len(others), listed(others, limit=5))
    clips = [Clip(path.absolute(), int(match[1]), match[2], int(match[3])) for path, match in matches if match]
    missing = [split for split in SPLITS if not any(clip.split == split for clip in clips)]
    if missing:
        what = f"no recordings {{digit}}_{{speaker}}_{{index}}.wav for {', '.join(missing)}"
        todo = "give the folder of the Free Spoken Digit Dataset; clips 0-4 are test, 5-9 dev, the rest train"
        raise DataError(what, folder, todo)
    return sorted(clips, key=lambda clip: (clip.digit, clip.speaker, clip.index))


def _source_fingerprint(clips: list[Clip]) -> str:
    """Return a fingerprint of where the clips lie, their names and sizes, because the manifests point at them."""
    return sha256_of_lines(f"{clip.path} {clip.path.stat().st_size}" for clip in clips)


def _items(clips: list[Clip], counts: dict[str, int], seed: int) -> dict[str, Sequence[Clip | Connected]]:
    """Return for each manifest the items that become its utterances."""
    of_split = {split: [clip for clip in clips if clip.split == split] for split in SPLITS}
    items: dict[str, Sequence[Clip | Connected]] = {
        split: list(_plan(of_split[split], split, count, seed)) for split, count in counts.items()
    }
    return items | {f"isolated_{split}": chosen for split, chosen in of_split.items()}


def _plan(clips: list[Clip], split: str, count: int, seed: int) -> Iterator[Connected]:
    """Plan ``count`` utterances of 3 to 7 digits, each by one speaker; the generator of a split is independent of
    others."""
    generator = numpy.random.default_rng([seed, SPLITS.index(split)])
    clips_of = {clip.speaker: [other for other in clips if other.speaker == clip.speaker] for clip in clips}
    speakers = sorted(clips_of)
    for number in range(count):
        speaker = speakers[generator.integers(len(speakers))]
        own, length = clips_of[speaker], generator.integers(_DIGITS_PER_UTTERANCE[0], _DIGITS_PER_UTTERANCE[1] + 1)
        chosen = [own[index] for index in generator.integers(len(own), size=length)]
        yield Connected(split, number, chosen, generator.bit_generator.state)
        _pauses(len(chosen) + 1, generator)  # advances the generator, whichever shard makes the utterance


def _utterance(item: Clip | Connected, output_folder: Path) -> Utterance:
    """Return the clip as it is, or the connected digits in a FLAC file."""
    if isinstance(item, Clip):
        return Utterance(item.path.stem, item.path, recorded_seconds(item.path), item.speaker, WORDS[item.digit])
    generator = numpy.random.default_rng()
    generator.bit_generator.state = item.generator_state
    recordings = [read_audio(clip.path, SAMPLE_RATE) for clip in item.clips]
    pauses = _pauses(len(recordings) + 1, generator)
    pieces = [piece for pair in zip(pauses, recordings, strict=False) for piece in pair]
    samples = torch.cat([*pieces, pauses[-1]])
    path = output_folder / "audio" / item.split / f"{item.name}.flac"
    write_audio(path, samples, SAMPLE_RATE)
    text = " ".join(WORDS[clip.digit] for clip in item.clips)
    return Utterance(item.name, path, len(samples) / SAMPLE_RATE, item.clips[0].speaker, text)


def _pauses(count: int, generator: numpy.random.Generator) -> list[torch.Tensor]:
    """Return faint noise (samples,) to put before, between and after recordings."""
    lengths = (generator.uniform(*_PAUSE_SECONDS, size=count) * SAMPLE_RATE).astype(int)
    return [torch.from_numpy(generator.normal(0, _NOISE_DEVIATION, size=length)).float() for length in lengths]
