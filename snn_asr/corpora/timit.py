"""TIMIT (LDC93S1): sentences read by 630 speakers, with phones and words marked by hand. Licensed, so never fetched.

    TRAIN|TEST/DR<n>/<speaker>/<sentence>.{WAV,PHN,WRD}    names in either letter case, audio NIST SPHERE or RIFF

The lines of .PHN and .WRD are "first sample, end sample, label". The dialect sentences SA1 and SA2, which every speaker
reads, are left out, so each speaker has eight sentences. The customary sets are the 462 speakers of TRAIN and, from the
168 speakers of TEST, 50 for development and the core test of 24 (timit_speakers.txt): 3,696, 400 and 192 utterances.

The manifests keep the 61 labels as marked, with their ends, and the words as text. Which labels to train on (39, 48, 61
or words) is chosen in training, so one preparation serves all of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from snn_asr.corpora.preparation import Preparation
from snn_asr.corpora.recordings import recorded_seconds, report, require_flags, sha256_of_lines
from snn_asr.data.manifest import REQUIRED_SPLITS, Utterance
from snn_asr.data.phone_sets import phone_folding
from snn_asr.errors import DataError, UsageError, listed, unknown_name
from snn_asr.files import read_text
from snn_asr.sharding import Shard

MARK_RATE_HZ = 16000  # of the sample numbers in .PHN and .WRD
PARTS = ("TRAIN", "TEST")
TEST_SETS = ("core", "full")
SENTENCES_PER_SPEAKER = 8
_HELD_OUT_EVERY = 20
_SHOWN = 100  # names that one may have to choose from, or to look at one by one
_GAPS_SHOWN = 20  # names of what the corpus lacks: of a small part of TIMIT, six hundred speakers
_SENTENCE = re.compile(r"(S[IX]\d+)\.WAV")  # SA1 and SA2 are left out


@dataclass(frozen=True)
class TimitRecording:
    """One utterance in the tree. ``part`` is TRAIN or TEST; all names are upper-case, whatever the files' own are."""

    part: str
    speaker: str
    sentence: str
    audio: Path
    phones: Path
    words: Path

    @property
    def name(self) -> str:
        return f"{self.speaker}_{self.sentence}"


def prepare(
    data_folder: str | Path | None,
    output_folder: str | Path,
    partial: bool = False,
    test_set: str = "core",
    development_speakers: str | list[str] | None = None,
    test_speakers: str | list[str] | None = None,
    fold: str | None = None,
    shard: Shard | None = None,
) -> dict:
    """Write train.json, dev.json and test.json, which point at the audio of the corpus itself.

    ``test_set`` is "core" (24 speakers) or "full": all 168 speakers of TEST, 1,344 utterances. These include the
    customary development speakers, so with "full" every twentieth speaker of TRAIN becomes development (23 speakers,
    184 utterances), and 3,512 utterances remain to train on.

    ``development_speakers`` and ``test_speakers`` (ids separated by commas, or a list) name other speakers of TRAIN or
    TEST; the remaining speakers of TRAIN are for training. ``fold``, such as "2/6", is for a part of the corpus. From
    its speakers in order, every sixth from the second on is tested, every sixth from the third on is development, and
    the others train, so that six folds test every speaker once. Seven speakers read each SX sentence: TRAIN and TEST
    have none in common, but the speakers of one part do.

    Missing speakers or sentences are an error, or with ``partial`` a warning. Preparing again with the same options
    does nothing. Returns utterances, hours and speakers of each set. Raises UsageError for options that cannot work,
    and DataError for an incomplete tree or marks that cannot be read.
    """
    require_flags("timit", partial=partial)
    if test_set not in TEST_SETS:
        raise unknown_name("test_set", str(test_set), TEST_SETS, "corpus timit")
    if test_set == "full" and test_speakers is not None:
        raise UsageError("test_set=full beside test_speakers", "corpus timit", "give one of the two")
    if data_folder is None:
        raise UsageError("no data folder", "corpus timit", "give --data-folder, the folder that holds TRAIN and TEST")
    named = {
        "dev": _speaker_ids("development_speakers", development_speakers),
        "test": _speaker_ids("test_speakers", test_speakers),
    }
    recordings = find_recordings(data_folder)
    if fold is not None:
        if test_set != "core" or any(named.values()):
            raise UsageError(f"fold={fold} beside other sets", "corpus timit", "give the fold alone")
        named = _fold(fold, sorted({each.speaker for each in recordings}))
    report(_gaps(recordings), Path(data_folder), partial)
    sets = _choose(recordings, test_set, named, ("TRAIN",) if fold is None else PARTS)
    options = {
        "corpus": "timit", "partial": partial, "test_set": test_set, "development_speakers": named["dev"],
        "test_speakers": named["test"], "source": _source_fingerprint(recordings), **({"fold": fold} if fold else {}),
    }
    preparation = Preparation(options, REQUIRED_SPLITS, lambda: sets, _utterance, "Reading TIMIT", writes_audio=False)
    return preparation.run(Path(output_folder), shard)


def find_recordings(data_folder: str | Path) -> list[TimitRecording]:
    """Return all utterances except SA1 and SA2, by speaker and sentence.

    ``data_folder`` holds TRAIN or TEST, or a folder TIMIT that does. Raises DataError if there are no utterances, or if
    .PHN or .WRD files are missing beside their audio.
    """
    root = _entries(Path(data_folder))
    while not any(part in root for part in PARTS) and "TIMIT" in root:
        root = _entries(root["TIMIT"])
    recordings, lacking = [], []
    for part in PARTS:
        for speaker, folder in _speaker_folders(root.get(part)):
            files = _entries(folder)
            for name, audio in files.items():
                if match := _SENTENCE.fullmatch(name):
                    phones, words = (files.get(f"{match[1]}.{suffix}") for suffix in ("PHN", "WRD"))
                    if phones is None or words is None:
                        lacking.append(str(audio))
                    else:
                        recordings.append(TimitRecording(part, speaker, match[1], audio, phones, words))
    if lacking:
        what = f"no .PHN or .WRD beside {len(lacking)} recordings: {listed(lacking, _SHOWN)}"
        raise DataError(what, data_folder, "copy the corpus anew, or take these recordings away")
    if not recordings:
        raise DataError("no TRAIN or TEST with DR<n>/<speaker>/<sentence>.WAV", data_folder, "give TIMIT's folder")
    return sorted(recordings, key=lambda each: (each.speaker, each.sentence))


@cache
def standard_speakers() -> dict[str, list[str]]:
    """Return all 630 speakers by set: "train", "development", "core" (the core test), "other" (the rest of TEST)."""
    sets: dict[str, list[str]] = {}
    text = resources.files("snn_asr.corpora").joinpath("timit_speakers.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if not line.startswith("#"):
            name, *speakers = line.split()
            sets.setdefault(name, []).extend(speakers)
    return sets


def _entries(folder: Path) -> dict[str, Path]:
    """Return what a folder holds by upper-case name, or nothing if there is no such folder."""
    try:
        return {path.name.upper(): path for path in sorted(folder.absolute().iterdir())} if folder.is_dir() else {}
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", folder, "check its permissions") from error


def _speaker_folders(part: Path | None) -> Iterator[tuple[str, Path]]:
    for region, folder in _entries(part).items() if part else ():
        if re.fullmatch(r"DR\d", region):
            yield from _entries(folder).items()


def _gaps(recordings: list[TimitRecording]) -> list[str]:
    """Return lines that list missing speakers, speakers with missing sentences, and speakers unknown to TIMIT."""
    counts = Counter(f"{each.part}/{each.speaker}" for each in recordings)
    parts = {name: "TRAIN" if name == "train" else "TEST" for name in standard_speakers()}
    standard = {f"{parts[name]}/{each}" for name, speakers in standard_speakers().items() for each in speakers}
    uneven = {name: count for name, count in counts.items() if count != SENTENCES_PER_SPEAKER and name in standard}
    gaps = {
        f"of {len(standard)} speakers are missing": sorted(standard - counts.keys()),
        f"speakers have not {SENTENCES_PER_SPEAKER} sentences SI and SX": [f"{name} {uneven[name]}" for name in uneven],
        "speakers are not TIMIT's": sorted(counts.keys() - standard),
    }
    return [f"{len(names)} {what}: {listed(names, _GAPS_SHOWN)}" for what, names in gaps.items() if names]


def _choose(
    recordings: list[TimitRecording], test_set: str, named: dict[str, list[str] | None], parts: Sequence[str]
) -> dict[str, list[TimitRecording]]:
    """Return the recordings of train (from ``parts``), dev and test; ``named`` holds the speakers that options name."""
    present = {each.speaker for each in recordings}
    for speaker in sorted({*(named["dev"] or ()), *(named["test"] or ())} - present):
        raise unknown_name("speaker", speaker, present, "corpus timit")
    customary = _customary_speakers(recordings, test_set)
    wanted = {split: customary[split] if of is None else of for split, of in named.items()}
    dev, test = ({*wanted[split]} for split in ("dev", "test"))
    if dev & test:
        what = f"speakers both of development and of the test: {listed(sorted(dev & test), _SHOWN)}"
        raise UsageError(what, "corpus timit", "give development_speakers and test_speakers that share none")
    sets = {
        "train": [each for each in recordings if each.part in parts and each.speaker not in dev | test],
        "dev": [each for each in recordings if each.speaker in dev],
        "test": [each for each in recordings if each.speaker in test],
    }
    if empty := [split for split, chosen in sets.items() if not chosen]:
        among = listed(sorted(present), _SHOWN)
        todo = f"choose development_speakers=... and test_speakers=... from {among}, or give fold=1/6 instead"
        raise UsageError(f"no recordings for {', '.join(empty)}", "corpus timit", todo)
    return sets


def _fold(fold: str, speakers: list[str]) -> dict[str, list[str] | None]:
    """Return the speakers of dev and test of a fold such as "2/6"."""
    match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", str(fold))
    number, count = (int(each) for each in match.groups()) if match else (0, 0)
    if not 1 <= number <= count or count < 3:
        raise UsageError(f"fold={fold}", "corpus timit", "must be one of three folds or more, such as 2/6")
    if count > len(speakers):
        raise UsageError(f"fold={fold}", "corpus timit", f"must be one of at most {len(speakers)}, the speakers there")
    return {"test": speakers[number - 1 :: count], "dev": speakers[number % count :: count]}


def _customary_speakers(recordings: list[TimitRecording], test_set: str) -> dict[str, list[str]]:
    """Return the customary speakers of dev and test, whether they are present or not."""
    standard = standard_speakers()
    if test_set == "core":
        return {"dev": standard["development"], "test": standard["core"]}
    held_out = sorted(standard["train"])[_HELD_OUT_EVERY - 1 :: _HELD_OUT_EVERY]
    return {"dev": held_out, "test": [each.speaker for each in recordings if each.part == "TEST"]}


def _speaker_ids(option: str, value: object) -> list[str] | None:
    """Return the given speaker ids, upper-case and sorted."""
    if value is None:
        return None
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise UsageError(f"{option}={value}", "corpus timit", "must be ids apart by commas, such as FALK0,MADC0")
    return sorted({word.strip().upper() for word in words})


def _source_fingerprint(recordings: list[TimitRecording]) -> str:
    """Return a fingerprint of where the files lie and of their sizes, as the manifests depend on audio and marks."""
    paths = (path for each in recordings for path in (each.audio, each.phones, each.words))
    try:
        return sha256_of_lines(f"{path} {path.stat().st_size}" for path in paths)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", error.filename, "restore the file") from error


def _utterance(recording: TimitRecording) -> Utterance:
    marks = _read_marks(recording.phones)
    known, before = phone_folding("61"), 0
    for label, end in marks:
        if label not in known:
            raise DataError(f"'{label}' is none of TIMIT's 61 phones", recording.phones, "restore the file")
        if end <= before:
            what = f"phone '{label}' ends at sample {end}, not after {before}"
            raise DataError(what, recording.phones, "restore the file")
        before = end
    return Utterance(
        id=recording.name,
        wav=recording.audio,
        duration=recorded_seconds(recording.audio),
        speaker=recording.speaker,
        text=" ".join(word for word, _ in _read_marks(recording.words)),
        phones=tuple((label, end / MARK_RATE_HZ) for label, end in marks),
    )


def _read_marks(path: Path) -> list[tuple[str, int]]:
    """Return label and end, in samples, of every line of a .PHN or .WRD file."""
    try:
        rows = [line.split() for line in read_text(path, regular=True).split("\n") if line.strip()]
        marks = [(label, int(end)) for _start, end, label in rows]
    except DataError as error:
        raise DataError(error.what, path, "restore the file") from error
    except ValueError as error:  # wrong fields, or an end that is no number
        raise DataError(f"not lines of first sample, end sample, label ({error})", path, "restore the file") from error
    if not marks:
        raise DataError("no marks", path, "restore the file")
    return marks
