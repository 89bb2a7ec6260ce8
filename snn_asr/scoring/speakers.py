"""Who speaks in which utterance: from a manifest, from Kaldi's utt2spk, or from the utterance ids."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from snn_asr.data.transcripts.json_formats import is_json, json_entries
from snn_asr.data.transcripts.lines import numbered_lines
from snn_asr.errors import DataError

GIVE_FILE = "give --speakers FILE, a manifest or lines of 'utterance speaker'"


@dataclass(frozen=True)
class Speakers:
    """``by_utterance``: utterance id to speaker; ``source`` says where from, for people."""

    by_utterance: dict[str, str]
    source: str

    @property
    def count(self) -> int:
        return len(set(self.by_utterance.values()))


def find_speakers(
    identifiers: Iterable[str], transcripts: Sequence[str | Path], speakers_file: str | Path | None = None
) -> Speakers:
    """The speaker of every utterance, from the first of these that tells of any:

    1. ``speakers_file`` (see ``read_speakers``)
    2. those of the files in ``transcripts`` that are JSON with a ``speaker`` in their objects, as manifests have
    3. the ids: the speaker is what precedes the last "-" or "_", as in TIMIT's ``fcjf0_sx37`` (but ``1272-128104``
       in LibriSpeech's ``1272-128104-0003`` is a speaker's chapter, and in AN4's ``an416-fjlp-b`` the speaker stands
       in the middle: score those against the manifest, or give the file)

    Raises DataError where an utterance has no speaker, or where by the ids no speaker has two utterances.
    """
    wanted = list(identifiers)
    if speakers_file is not None:
        return _checked(wanted, read_speakers(speakers_file), speakers_file)
    for path in map(Path, transcripts):
        if path.is_file() and is_json(path) and (known := dict(_json_speakers(path))):
            return _checked(wanted, known, path)
    return _from_ids(wanted)


def read_speakers(path: str | Path) -> dict[str, str]:
    """Utterance id to speaker from JSON objects with ``speaker``, or from lines ``utterance speaker`` (utt2spk).

    Raises DataError, with the line where there is one, for what is missing, malformed or there twice.
    """
    path = Path(path)
    if is_json(path):
        speakers = dict(_json_speakers(path))
    else:
        speakers = {}
        for number, line in numbered_lines(path):
            fields = line.split()
            if len(fields) != 2:
                raise DataError("not of the form 'utterance speaker'", f"{path}:{number}", "write two words a line")
            if fields[0] in speakers:
                raise DataError(f"utterance '{fields[0]}' is there twice", f"{path}:{number}", "keep one of them")
            speakers[fields[0]] = fields[1]
    if not speakers:
        raise DataError("names no speakers", path, "give a manifest, or lines of 'utterance speaker'")
    return {unicodedata.normalize("NFC", name): speaker for name, speaker in speakers.items()}  # as in Transcripts


def _json_speakers(path: Path) -> Iterator[tuple[str, str]]:
    for identifier, entry, _where in json_entries(path):
        speaker = entry.get("speaker")
        if isinstance(speaker, str):
            yield identifier, speaker


def _checked(wanted: list[str], known: dict[str, str], source: str | Path) -> Speakers:
    for identifier in wanted:
        if identifier not in known:
            raise DataError(f"utterance '{identifier}' has no speaker", source, GIVE_FILE)
    return Speakers({identifier: known[identifier] for identifier in wanted}, str(source))


def _from_ids(wanted: list[str]) -> Speakers:
    speakers = {identifier: _before_last_mark(identifier) for identifier in wanted}
    for identifier, speaker in speakers.items():
        if not speaker:
            raise DataError(f"the utterance id '{identifier}' holds no speaker (before a '-' or '_')", todo=GIVE_FILE)
    if len(speakers) > 1 and max(Counter(speakers.values()).values()) == 1:
        identifier, speaker = next(iter(speakers.items()))
        what = f"the ids do not tell the speakers: what precedes the last '-' or '_' differs in all ('{speaker}'"
        raise DataError(f"{what} in '{identifier}', ...)", todo=GIVE_FILE)
    return Speakers(speakers, "the utterance ids (what precedes the last '-' or '_')")


def _before_last_mark(identifier: str) -> str:
    return identifier[: max(identifier.rfind("-"), identifier.rfind("_"), 0)]
