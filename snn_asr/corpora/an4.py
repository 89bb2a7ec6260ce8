"""CMU AN4, the census database: an hour of spelled names, numbers and commands by 84 speakers, free for any use.

    an4/etc/an4_{train,test}.fileids, .transcription    an4/wav/an4{,test}_clstk/<speaker>/<id>.sph (or .raw)

The official training set has 948 utterances of 74 speakers, the test set 130 utterances of 10 other speakers. The
development set is taken from the training set: every tenth of its speakers in the order of their names (fkdo, ftmj,
mdcs, mgah, mmaf, mrcb, mtcv). Headerless .raw files (16 kHz, 16 bits, either byte order) are converted to FLAC.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy
import torch

from snn_asr.corpora.preparation import Preparation
from snn_asr.corpora.recordings import (
    Recording,
    corpus_folder,
    counted,
    published_transcripts,
    recorded_seconds,
    report,
    require_flags,
    source_fingerprint,
)
from snn_asr.data.audio import write_audio
from snn_asr.data.manifest import Utterance
from snn_asr.errors import DataError
from snn_asr.files import read_text
from snn_asr.sharding import Shard

log = logging.getLogger(__name__)

SAMPLE_RATE = 16000  # of .raw files
OFFICIAL_UTTERANCES = {"train": 948, "test": 130}
DEVELOPMENT_STEP = 10
_SUFFIXES = (".sph", ".raw")
_MARK = re.compile(r"<\S*>|\+\+\S*\+\+")  # silence and noises
_BYTE_ORDER_RECORDINGS = 20
# There are copies of the corpus whose lists of the test set leave out the 13 recordings of the speaker fcaw (an empty
# line stands for them). These are the transcripts of the complete list (copyright 1991-2005 Carnegie Mellon University,
# free for any use).
_OMITTED_SPEAKER = "an4test_clstk/fcaw"
_OMITTED = {
    "an406-fcaw-b": "RUBOUT G M E F THREE NINE",
    "an407-fcaw-b": "ERASE C Q Q F SEVEN",
    "an408-fcaw-b": "B A O Z FIVE THREE",
    "an409-fcaw-b": "GO",
    "an410-fcaw-b": "RUBOUT N I M N ONE",
    "cen1-fcaw-b": "W O O D",
    "cen2-fcaw-b": "C I N D Y",
    "cen3-fcaw-b": "ONE THREE SEVEN",
    "cen4-fcaw-b": "M E L V I N",
    "cen5-fcaw-b": "P L E A S A N T H I L L S",
    "cen6-fcaw-b": "ONE FIVE TWO THREE SIX",
    "cen7-fcaw-b": "SIX FIVE FIVE EIGHT SEVEN FOUR ZERO",
    "cen8-fcaw-b": "ELEVEN TWENTY SEVEN FIFTY SEVEN",
}


def prepare(
    data_folder: str | Path | None, output_folder: str | Path, partial: bool = False, shard: Shard | None = None
) -> dict[str, Any]:
    """Write the manifests train, dev and test; ``data_folder`` is an4 or its parent.

    With ``partial`` an incomplete copy is accepted, and utterances without a recording or a transcript are left out.
    Returns utterances, hours and speakers of every split. Raises UsageError for an option that cannot work, and
    DataError if the corpus is not as distributed.
    """
    require_flags("an4", partial=partial)
    recordings = find_recordings(data_folder, partial)
    options = {"corpus": "an4", "development_step": DEVELOPMENT_STEP, "source": source_fingerprint(recordings)}
    raw = [each.path for split in recordings.values() for each in split if each.path.suffix == ".raw"]
    order = _byte_order(raw) if raw else ""
    audio = Path(output_folder) / "audio"
    preparation = Preparation(
        options, tuple(recordings),
        items=lambda: {split: [(each, audio / split) for each in members] for split, members in recordings.items()},
        make=lambda item: _utterance(item[0], item[1], order),
        title="Reading AN4",
        leave_out_unreadable=partial,
        writes_audio=bool(raw),
    )
    return preparation.run(Path(output_folder), shard)


def find_recordings(data_folder: str | Path | None, partial: bool = False) -> dict[str, list[Recording]]:
    """Return the recordings of train, dev and test, in the order of the official lists.

    Raises UsageError if there is no such folder. Raises one DataError that names everything that is not as distributed
    (unless ``partial``), or if a split would be empty.
    """
    root = corpus_folder("an4", data_folder, "an4")
    official, problems = {}, []
    for split, count in OFFICIAL_UTTERANCES.items():
        official[split], without = _read_split(root, split)
        problems += [f"{split}: {problem}" for problem in without]
        if len(official[split]) != count:
            problems.append(f"{split}: {len(official[split])} utterances, published are {count}")
    report(problems, root, partial)
    held_out = development_speakers(each.speaker for each in official["train"])
    recordings = {
        "train": [each for each in official["train"] if each.speaker not in held_out],
        "dev": [each for each in official["train"] if each.speaker in held_out],
        "test": official["test"],
    }
    empty = [split for split, members in recordings.items() if not members]
    if empty:
        todo = "training needs two speakers, one of them for development; test needs one"
        raise DataError(f"no recordings for {', '.join(empty)}", root, todo)
    return recordings


def development_speakers(training_speakers: Iterable[str]) -> set[str]:
    """Return every tenth training speaker in the order of names or, if there are fewer than ten, the last one.

    Of the 74 official speakers these are 7, with 91 of the 948 utterances: two women and five men (names begin with f
    or m).
    """
    ordered = sorted(set(training_speakers))
    return set(ordered[DEVELOPMENT_STEP - 1 :: DEVELOPMENT_STEP] or ordered[-1:])


def clean(text: str) -> str:
    """Return a transcript in lower case, without marks of silence (<s>, </s>) and noise (++...++)."""
    return " ".join(word for word in text.lower().split() if not _MARK.fullmatch(word))


def _read_split(root: Path, split: str) -> tuple[list[Recording], list[str]]:
    """Return the recordings of an official split, and what is wrong with the others."""
    places = _read_list(root / "etc" / f"an4_{split}.fileids")
    texts = published_transcripts(root / "etc" / f"an4_{split}.transcription")
    if split == "test":
        omitted = {f"{_OMITTED_SPEAKER}/{id}": text for id, text in _OMITTED.items() if id not in texts}
        found = [place for place in omitted if _path(root, place)]
        if found and not set(found) & set(places):
            log.warning("%s leaves out the speaker fcaw: her published transcripts are taken", root / "etc")
            texts |= {place.rsplit("/", 1)[1]: omitted[place] for place in found}
            places = [*found, *places]
    recordings, unread, silent = [], [], []
    for place in places:
        folder, _, id = place.rpartition("/")
        path = _path(root, place)
        if path is None:
            silent.append(id)
        elif id not in texts:
            unread.append(id)
        else:
            recordings.append(Recording(id, path, folder.rpartition("/")[2], clean(texts[id])))
    problems = counted("utterances without recording", silent) + counted("utterances without transcript", unread)
    return recordings, problems


def _read_list(path: Path) -> list[str]:
    """Return the lines of a list: paths below wav/, without suffix."""
    try:
        text = read_text(path, regular=True)
    except DataError as error:
        raise DataError(f"cannot read ({error.what})", path, "give the folder an4, which holds etc and wav") from error
    return [line.strip() for line in text.split("\n") if line.strip()]


def _path(root: Path, place: str) -> Path | None:
    """Return the recording that a line of a list names."""
    candidates = (root / "wav" / f"{place}{suffix}" for suffix in _SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def _utterance(recording: Recording, audio_folder: Path, byte_order: str) -> Utterance:
    """Return the recording itself, or a FLAC file in ``audio_folder`` made from a .raw file."""
    path = recording.path
    if path.suffix == ".raw":
        samples = _read_raw(path, byte_order)
        path = audio_folder / f"{recording.id}.flac"
        write_audio(path, torch.from_numpy(samples / numpy.float32(32768)), SAMPLE_RATE)
    return Utterance(recording.id, path, recorded_seconds(path), recording.speaker, recording.text)


def _byte_order(paths: list[Path]) -> str:
    """Return ">" or "<". Speech is smooth, so neighbouring samples differ less if the byte order is right."""
    def roughness(order: str) -> float:
        some = paths[:_BYTE_ORDER_RECORDINGS]
        return float(sum(numpy.abs(numpy.diff(_read_raw(path, order))).mean() for path in some))

    return min("><", key=roughness)


def _read_raw(path: Path, byte_order: str) -> numpy.ndarray:
    """Return samples (n,) in float32, between -32768 and 32767."""
    content = path.read_bytes()
    if len(content) < 4 or len(content) % 2:
        raise DataError(f"{len(content)} bytes are no recording of 16-bit samples", path, "restore the file")
    return numpy.frombuffer(content, dtype=f"{byte_order}i2").astype(numpy.float32)
