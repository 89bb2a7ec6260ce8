"""The demo corpus: digits, spelled words and commands spoken by espeak-ng's voices, with phones, noise and rooms.

Needs the extra ``demo`` and no download. The same utterances are written in LibriSpeech's layout and in TIMIT's:

    audio/librispeech/{train,dev,test}-demo/<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac, .trans.txt
    audio/timit/{TRAIN,TEST}/DR?/<speaker>/SX<number>.{WAV,PHN,WRD,TXT}     development lies in TEST, as in TIMIT
    train.json, dev.json, test.json                                         manifests, pointing at the FLAC files

No speaker and no sentence is in two splits. A seed gives one corpus, byte for byte, with one version of espeak-ng,
numpy and libsndfile: every utterance is spoken by a process of its own and has its own random generators.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch

from snn_asr.corpora.demo import espeak
from snn_asr.corpora.demo.phones import PhoneSegment, fit, segments, word_bounds
from snn_asr.corpora.demo.room import degrade
from snn_asr.corpora.demo.sentences import KINDS, Sentence, draw
from snn_asr.corpora.demo.voices import SPLITS, Speaker, speakers
from snn_asr.corpora.preparation import Preparation
from snn_asr.corpora.prepared_folder import PreparedFolder
from snn_asr.data.audio import write_audio
from snn_asr.data.manifest import Utterance
from snn_asr.data.resampling import resample
from snn_asr.devices import available_processors
from snn_asr.errors import UsageError
from snn_asr.files import write_text
from snn_asr.sharding import Shard

SAMPLE_RATE = 16000
_TIMIT_SUFFIXES = (".WAV", ".PHN", ".WRD", ".TXT")
_SUFFIXES = (".flac", ".txt", *_TIMIT_SUFFIXES)
_SPOKEN = {"a": "eigh"}  # the letter: espeak-ng would read "a" as the article
_RATE_WORDS_PER_MINUTE, _PITCH, _PITCH_RANGE = (135, 165), (40, 60), (35, 65)  # espeak-ng's scales
_SILENCE_SECONDS = (0.08, 0.2)


@dataclass(frozen=True)
class Item:
    """One utterance to be made: who says what, and its number in its split."""

    speaker: Speaker
    sentence: Sentence
    number: int

    @property
    def name(self) -> str:
        """Id in LibriSpeech's manner: speaker-chapter-number; the chapter is the kind of sentence."""
        return f"{self.speaker.number}-{self.chapter}-{self.number:04d}"

    @property
    def chapter(self) -> str:
        return str(1 + KINDS.index(self.sentence.kind))

    @property
    def librispeech_folder(self) -> Path:
        return Path("audio", "librispeech", f"{self.speaker.split}-demo", self.speaker.number, self.chapter)

    @property
    def timit_folder(self) -> Path:
        part = "TRAIN" if self.speaker.split == "train" else "TEST"
        return Path("audio", "timit", part, self.speaker.region, self.speaker.code)


def prepare(
    data_folder: str | Path | None,
    output_folder: str | Path,
    seed: int = 0,
    train: int = 1400,
    dev: int = 100,
    test: int = 150,
    shard: Shard | None = None,
) -> dict:
    """Synthesise the corpus into ``output_folder``; ``train``, ``dev`` and ``test`` are numbers of utterances.

    ``data_folder`` has to be None. Doing it again with the same options does nothing. Returns, for every split,
    utterances, hours, speakers and words. Raises UsageError where espeak-ng is not installed or an option is out of
    range, DataError where espeak-ng fails or a file cannot be written.
    """
    counts = {"train": train, "dev": dev, "test": test}
    for option, value, least in (("seed", seed, 0), *((split, count, 1) for split, count in counts.items())):
        if value < least:
            raise UsageError(f"{option}={value}", "corpus demo", f"choose {least} or more")
    if data_folder is not None:
        raise UsageError("the demo corpus is synthesised and takes no data", data_folder, "leave out --data-folder")
    output_folder = Path(output_folder)
    options = {"corpus": "demo", "seed": seed, **counts}
    if not PreparedFolder(output_folder, options).finished:
        espeak.installation()
    items = {split: plan(split, count, seed) for split, count in counts.items()}

    every = [item for split in SPLITS for item in items[split]]

    def complete(_: dict[str, list[Utterance]]) -> None:
        _remove_leftovers(every, output_folder)
        _write_transcripts(every, output_folder)

    preparation = Preparation(
        options, SPLITS,
        items=lambda: items,
        make=lambda item: _make(item, seed, output_folder),
        title="Speaking the demo corpus",
        threads=2 * available_processors(),  # one waits for the disk
        complete=complete,
        measures=("utterances", "hours", "speakers", "words"),
        files=lambda: [output_folder / path for path in _files(every)],
    )
    return preparation.run(output_folder, shard)


def plan(split: str, count: int, seed: int) -> list[Item]:
    """The utterances of a split: its speakers take turns."""
    voices = speakers(split)
    sentences = draw(random.Random(f"{seed} {split}"), count, split)
    return [Item(voices[number % len(voices)], sentence, number) for number, sentence in enumerate(sentences)]


def render(item: Item, seed: int) -> tuple[numpy.ndarray, list[PhoneSegment]]:
    """Speak one item without noise: (samples,) float64 at 16 kHz, digital zeros in h#, and its segments."""
    generator = random.Random(f"{seed} {item.name}")
    speech = espeak.synthesise(
        [_SPOKEN.get(word, word) for word in item.sentence.words],
        item.speaker.voice,
        rate=generator.randint(*_RATE_WORDS_PER_MINUTE),
        pitch=generator.randint(*_PITCH),
        pitch_range=generator.randint(*_PITCH_RANGE),
    )
    lead, trail = (round(generator.uniform(*_SILENCE_SECONDS) * SAMPLE_RATE) for _ in range(2))
    at_source = segments(speech, item.speaker.accent)
    spoken = numpy.array(speech.samples[at_source[0].start : at_source[-1].end], dtype=numpy.float64) / 32768
    # In double precision, so that rounding to 16 bits hides what differs between processors.
    heard = resample(torch.from_numpy(spoken), item.speaker.source_rate, SAMPLE_RATE).numpy()
    samples = numpy.concatenate([numpy.zeros(lead), heard, numpy.zeros(trail)])
    return samples, fit(at_source, SAMPLE_RATE / item.speaker.source_rate, lead, len(samples))


def _make(item: Item, seed: int, output_folder: Path) -> Utterance:
    clean, marks = render(item, seed)
    mixer = numpy.random.default_rng([seed, SPLITS.index(item.speaker.split), item.number])
    samples = torch.from_numpy(degrade(clean, SAMPLE_RATE, mixer))
    path = output_folder / item.librispeech_folder / f"{item.name}.flac"
    write_audio(path, samples, SAMPLE_RATE)
    _write_timit(item, samples, marks, output_folder)
    phones = tuple((mark.label, mark.end / SAMPLE_RATE) for mark in marks)
    return Utterance(item.name, path, len(samples) / SAMPLE_RATE, item.speaker.number, item.sentence.text, phones)


def _write_timit(item: Item, samples: torch.Tensor, marks: list[PhoneSegment], output_folder: Path) -> None:
    stem = output_folder / item.timit_folder / f"SX{item.number}"
    write_audio(stem.with_suffix(".WAV"), samples, SAMPLE_RATE)
    rows = [(mark.start, mark.end, mark.label) for mark in marks]
    write_text(stem.with_suffix(".PHN"), _lines(rows))
    write_text(stem.with_suffix(".WRD"), _lines(word_bounds(marks, item.sentence.words)))
    write_text(stem.with_suffix(".TXT"), f"0 {len(samples)} {item.sentence.text.capitalize()}.\n")


def _lines(rows: list[tuple[int, int, str]]) -> str:
    return "".join(f"{start} {end} {label}\n" for start, end, label in rows)


def _transcript_path(item: Item) -> Path:
    return item.librispeech_folder / f"{item.speaker.number}-{item.chapter}.trans.txt"


def _write_transcripts(items: list[Item], output_folder: Path) -> None:
    """LibriSpeech's .trans.txt: one a chapter, upper-case."""
    chapters: dict[Path, list[str]] = {}
    for item in items:
        chapters.setdefault(_transcript_path(item), []).append(f"{item.name} {item.sentence.text.upper()}\n")
    for path, lines in chapters.items():
        write_text(output_folder / path, "".join(lines))


def _files(items: list[Item]) -> set[Path]:
    """The files of these items in both layouts, below the output folder."""
    librispeech = {item.librispeech_folder / f"{item.name}.flac" for item in items} | set(map(_transcript_path, items))
    return librispeech | {
        item.timit_folder / f"SX{item.number}{suffix}" for item in items for suffix in _TIMIT_SUFFIXES
    }


def _remove_leftovers(items: list[Item], output_folder: Path) -> None:
    """Remove what interrupted preparations left: files in the folders of this corpus' own speakers but of ``items``."""
    wanted = _files(items)
    for speaker in (speaker for split in SPLITS for speaker in speakers(split)):
        librispeech = output_folder.glob(f"audio/librispeech/{speaker.split}-demo/{speaker.number}/*/*")
        timit = output_folder.glob(f"audio/timit/*/{speaker.region}/{speaker.code}/*")
        for path in (*librispeech, *timit):
            if path.suffix in _SUFFIXES and path.relative_to(output_folder) not in wanted:
                path.unlink()
