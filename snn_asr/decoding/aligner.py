"""What ``snn-asr align`` runs in the place of a recognizer: it finds the times of the words of known transcripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snn_asr.data.transcripts import by_ending, by_place, read_transcripts, recordings_of
from snn_asr.decoding.files.named_files import NamedFile
from snn_asr.decoding.hypothesis import Hypothesis
from snn_asr.decoding.recognizer import Recognizer, Waveform
from snn_asr.errors import DataError, shortened
from snn_asr.files import read_text


class Aligner:
    """Aligns recordings with their transcripts. ``decode_files`` uses it like a Recognizer.

    ``transcripts`` are texts by id, which is the path of a recording below its folder without the suffix, or only the
    last part of that path.
    """

    batch_files = 1

    def __init__(self, recognizer: Recognizer, transcripts: dict[str, str]) -> None:
        self._recognizer, self._transcripts = recognizer, transcripts
        names = Counter(_last(each) for each in transcripts)
        self._by_name = {_last(each): text for each, text in transcripts.items() if names[_last(each)] == 1}

    def settings_of(self, name: str) -> dict[str, Any]:
        """Everything that a result depends on besides the recording. Raises DataError if there is no transcript."""
        return self._recognizer.settings_of(name) | {"transcript": self.transcript(name)}

    def waveform(self, source: Path) -> Waveform:
        """A file in blocks, which raise their errors when they are read."""
        return self._recognizer.waveform(source)

    def recognize(self, utterances: Sequence[tuple[str, Waveform]]) -> list[Hypothesis | Exception]:
        """The transcript of each (id, waveform) with its times, or the error of that recording."""
        results: list[Hypothesis | Exception] = []
        for name, waveform in utterances:
            try:
                results.append(self._recognizer.aligned(name, waveform, self.transcript(name)))
            except Exception as error:  # one bad file, whatever is wrong with it, ends no other
                results.append(error)
        return results

    def transcript(self, name: str) -> str:
        """The text of a recording. Raises DataError if there is none."""
        for found, key in ((self._transcripts, name), (self._by_name, _last(name))):
            if key in found:
                return found[key]
        known = ", ".join([*map(shortened, list(self._transcripts)[:3]), *["..."] * (len(self._transcripts) > 3)])
        raise DataError("no transcript", name, f"transcripts are known by the names of the recordings, here: {known}")


def transcripts_for(audio: str, files: Sequence[NamedFile], path: Path, unit: str) -> dict[str, str]:
    """The transcripts, by id, for the file or folder ``audio``, in which ``files`` were found.

    For one recording, a ``.txt`` file is its text. Anything else is read as ``score`` reads references
    (data/transcripts/), with the ``unit`` of the model's tokens. If a manifest names one of the files, its text is
    that of the utterance there, whatever their names are. Raises DataError for a missing or malformed file.
    """
    if Path(audio).is_file() and path.suffix == ".txt" and path.is_file() and not path.name.endswith(".trans.txt"):
        return {Path(audio).stem: " ".join(read_text(path).split())}
    transcripts = dict(read_transcripts(path, unit))
    recordings = recordings_of(path)
    ids = by_ending((each.name for each in files if each.name not in transcripts), recordings)
    ids |= by_place({each.name: each.path for each in files}, recordings)
    return transcripts | {name: transcripts[identifier] for name, identifier in ids.items()}


def _last(name: str) -> str:
    return name.rpartition("/")[2]
