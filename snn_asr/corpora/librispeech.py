"""LibriSpeech: 1,000 hours of read English (CC BY 4.0), as distributed at openslr.org/12.

    LibriSpeech/train-clean-100/<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac, <speaker>-<chapter>.trans.txt

Utterances, speakers and minutes of every split are checked against the published numbers, unless ``partial``. The
manifests point at the recordings, which may be FLAC as published or in the format of a mirror (.wav, .mp3, .ogg,
.opus). The function ``clean`` cleans all transcripts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from snn_asr.corpora import download
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
from snn_asr.data.audio_folder import is_audio_name
from snn_asr.data.manifest import Utterance
from snn_asr.errors import DataError, UsageError, describing, unknown_name
from snn_asr.sharding import Shard

BASE_URL = "https://www.openslr.org/resources/12"
DEFAULT_SPLITS = ("train-clean-100", "dev-clean", "test-clean")
_MINUTES_TOLERANCE = 0.005  # relative: the published minutes are rounded for every speaker
_THREADS = 8  # these mostly wait for the disk
_MANIFEST_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SPLIT_NAME = re.compile(r"\w[\w.-]*")
_RECORDING_NAME = re.compile(r"\d+-\d+-\d+")


@dataclass(frozen=True)
class Published:
    """The published numbers of a split; ``minutes`` is the sum over its readers in SPEAKERS.TXT of the corpus."""

    utterances: int
    speakers: int
    minutes: float
    sha256: str  # of its .tar.gz


PUBLISHED = {
    "train-clean-100": Published(
        28539, 251, 6035.41, "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2"
    ),
    "train-clean-360": Published(
        104014, 921, 21816.4, "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf"
    ),
    "train-other-500": Published(
        148688, 1166, 29811.4, "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2"
    ),
    "dev-clean": Published(2703, 40, 323.28, "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3"),
    "dev-other": Published(2864, 33, 307.28, "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365"),
    "test-clean": Published(2620, 40, 324.20, "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23"),
    "test-other": Published(2939, 33, 320.51, "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29"),
}


def prepare(
    data_folder: str | Path | None,
    output_folder: str | Path,
    splits: object = DEFAULT_SPLITS,
    partial: bool = False,
    download: bool = False,
    base_url: str = BASE_URL,
    shard: Shard | None = None,
) -> dict[str, Any]:
    """Write a manifest for every name in ``splits`` (see ``plan``); ``data_folder`` is LibriSpeech or its parent.

    With ``partial`` any folders with the layout of the corpus are accepted, and utterances without a recording or a
    transcript are left out. With ``download`` the splits that ``data_folder`` lacks are first fetched from
    ``base_url``; an interrupted download continues, archives are checked by SHA-256 and kept. Returns utterances, hours
    and speakers of every manifest. Raises UsageError for an option that cannot work, and DataError if the corpus is not
    as published.
    """
    manifests = plan(splits)
    chosen = [split for each in manifests.values() for split in each]
    require_flags("librispeech", partial=partial, download=download)
    if not partial or download:
        _require_published(chosen, download)
    root = corpus_folder("librispeech", data_folder, "LibriSpeech")
    if download and shard is not None:
        raise UsageError("shards do not download", "corpus librispeech", "fetch the splits first, without --shard")
    if download:
        _fetch_missing(root, chosen, str(base_url))
    recordings = _find_recordings(root, chosen, partial)
    source = source_fingerprint(recordings)
    options = {"corpus": "librispeech", "splits": manifests, "partial": partial, "source": source}
    preparation = Preparation(
        options, tuple(manifests),
        items=lambda: {name: [each for split in own for each in recordings[split]] for name, own in manifests.items()},
        make=_utterance,
        title=f"Reading the headers of {sum(map(len, recordings.values()))} recordings",
        threads=_THREADS,
        leave_out_unreadable=partial,
        writes_audio=False,
        complete=None if partial else lambda utterances: _check_minutes(utterances, recordings, root),
    )
    return preparation.run(Path(output_folder), shard)


def plan(splits: object) -> dict[str, list[str]]:
    """Return the splits that each manifest holds, by the name of the manifest.

    In a list (or names separated by commas) all train-* together become train, the first dev-* becomes dev and the
    first test-* becomes test. Every other split gets its own name with underscores, such as test_other. A mapping gives
    the names explicitly: ``{train: [train-clean-100, train-clean-360], dev: dev-clean, test: test-clean}``. Raises
    UsageError for anything else, for a name that cannot be the name of a file, and for a split that occurs twice.
    """
    if isinstance(splits, str):
        splits = [each.strip() for each in splits.split(",")]
    manifests: dict[Any, Any] = {}  # as given: what they hold is checked below
    if isinstance(splits, Mapping):
        manifests = {name: [members] if isinstance(members, str) else members for name, members in splits.items()}
    elif isinstance(splits, (list, tuple)):
        for split in splits:
            manifests.setdefault(_manifest_name(str(split), manifests), []).append(split)
    if not manifests or not all(_is_manifest(name, members) for name, members in manifests.items()):
        todo = "write for example splits=[train-clean-100,dev-clean,test-clean] or splits='{test: test-other}'"
        raise UsageError(f"splits={splits}", "corpus librispeech", todo)
    chosen = [split for members in manifests.values() for split in members]
    twice = [split for split in chosen if chosen.count(split) > 1]
    if twice:
        raise UsageError(f"split '{twice[0]}' is given twice", "corpus librispeech", "give it once")
    return {name: list(members) for name, members in manifests.items()}


def clean(text: str) -> str:
    """Return a transcript as words of lower-case letters, digits and apostrophes, separated by single spaces.

    Accents are removed, a typographic apostrophe becomes a plain one, and everything else becomes a space: "THE
    CAFÉ-OWNER’S." becomes "the cafe owner's". Words that consist only of apostrophes vanish. (In the published
    transcripts this changes nothing but the case.)
    """
    decomposed = unicodedata.normalize("NFKD", text.replace("\u2019", "'")).lower()
    letters = (character for character in decomposed if not unicodedata.combining(character))
    kept = "".join(character if character.isalnum() or character == "'" else " " for character in letters)
    return " ".join(word for word in kept.split() if word.strip("'"))


def _manifest_name(split: str, taken: Mapping[str, object]) -> str:
    if split.startswith("train-"):
        return "train"
    role = split.split("-")[0]
    return role if role in ("dev", "test") and role not in taken else split.replace("-", "_").lower()


def _is_manifest(name: object, members: object) -> bool:
    """Return whether the arguments can be the name of a manifest and a list of at least one split."""
    if not isinstance(members, (list, tuple)) or name == "prepared" or not _MANIFEST_NAME.fullmatch(str(name)):
        return False
    return bool(members) and all(isinstance(split, str) and _SPLIT_NAME.fullmatch(split) for split in members)


def _require_published(splits: list[str], download: bool) -> None:
    for split in splits:
        if split not in PUBLISHED:
            where = "corpus librispeech" if download else "corpus librispeech (--partial takes any folder)"
            raise unknown_name("split", split, PUBLISHED, where)


def _fetch_missing(root: Path, splits: list[str], base_url: str) -> None:
    for split in splits:
        if not (root / split).is_dir():
            archive = root / f"{split}.tar.gz"
            download.fetch(f"{base_url.rstrip('/')}/{archive.name}", archive, PUBLISHED[split].sha256)
            download.unpack(archive, root)


def _find_recordings(root: Path, splits: list[str], partial: bool) -> dict[str, list[Recording]]:
    """Return the recordings of every split, in the order of their paths.

    Raises one DataError that names everything that is not as published.
    """
    missing = [split for split in splits if not (root / split).is_dir()]
    if missing:
        todo = "give the folder LibriSpeech, choose others with splits=..., or fetch these with --download"
        raise DataError(f"no folder {', '.join(missing)}", root, todo)
    recordings, problems = {}, []
    for split in splits:
        recordings[split], unmatched = _read_split(root / split)
        if not recordings[split]:
            what = "no recording <speaker>/<chapter>/*.flac (or .wav, .mp3, .ogg, .opus) with a transcript"
            raise DataError(what, root / split, "check the path")
        problems += [f"{split}: {problem}" for problem in unmatched]
        speakers = len({each.speaker for each in recordings[split]})
        published = PUBLISHED.get(split)
        if published and (len(recordings[split]), speakers) != (published.utterances, published.speakers):
            found = f"{split}: {len(recordings[split])} utterances of {speakers} speakers"
            problems.append(f"{found}, published are {published.utterances} of {published.speakers}")
    report(problems, root, partial)
    return recordings


def _read_split(folder: Path) -> tuple[list[Recording], list[str]]:
    """Return the recordings that have a transcript, and what is wrong with the others."""
    recordings: list[Recording] = []
    silent: list[str] = []
    unread: list[str] = []
    twice: list[str] = []
    for chapter in sorted(chapter for speaker in _folders(folder) for chapter in _folders(speaker)):
        transcript = chapter / f"{chapter.parent.name}-{chapter.name}.trans.txt"
        texts = published_transcripts(transcript) if transcript.is_file() else {}
        found = [path for path in sorted(chapter.iterdir()) if _is_recording(path)]
        paths = {path.stem: path for path in reversed(found)}  # if there are several formats, the first by name wins
        paths = {id: paths[id] for id in sorted(paths)}
        twice += [path.name for path in found if paths[path.stem] != path]
        speaker = chapter.parent.name
        recordings += [Recording(id, paths[id], speaker, clean(texts[id])) for id in paths if id in texts]
        unread += [id for id in paths if id not in texts]
        silent += [id for id in texts if id not in paths]
    problems = counted("recordings without transcript", unread) + counted("transcripts without recording", silent)
    return recordings, problems + counted("recordings in a second format", twice)


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder. Raises DataError if it may not be read: its speakers would be left out."""
    with describing(folder):
        return [path for path in folder.iterdir() if path.is_dir()]


def _is_recording(path: Path) -> bool:
    return is_audio_name(path.name) and _RECORDING_NAME.fullmatch(path.stem) is not None


def _utterance(recording: Recording) -> Utterance:
    duration = recorded_seconds(recording.path)
    return Utterance(recording.id, recording.path, duration, recording.speaker, recording.text)


def _check_minutes(
    manifests: dict[str, list[Utterance]], recordings: dict[str, list[Recording]], root: Path
) -> None:
    problems, utterances = [], (each for members in manifests.values() for each in members)
    for split, members in recordings.items():
        minutes = sum(each.duration for each in islice(utterances, len(members))) / 60
        published = PUBLISHED[split].minutes
        if abs(minutes - published) > _MINUTES_TOLERANCE * published:
            problems.append(f"{split}: {minutes:.2f} minutes, published are {published:.2f}")
    report(problems, root, partial=False)
