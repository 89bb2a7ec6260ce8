"""A recognizer for ``snn-asr align``: of a recording it returns the known transcript, with the times of its words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snn_asr.data.transcripts import read_transcripts
from snn_asr.decoding.hypothesis import Hypothesis
from snn_asr.decoding.recognizer import Recognizer, Waveform
from snn_asr.errors import DataError, shortened
from snn_asr.files import read_text


class Aligner:
    """Aligns recordings with their transcripts; decode_files works with it as with a Recognizer.

    ``transcripts`` is text by id: the path of a recording in its folder without the suffix, or its name alone.
    """

    batch_files = 1

    def __init__(self, recognizer: Recognizer, transcripts: dict[str, str]) -> None:
        self._recognizer, self._transcripts = recognizer, transcripts
        names = Counter(_last(each) for each in transcripts)
        self._by_name = {_last(each): text for each, text in transcripts.items() if names[_last(each)] == 1}

    def settings_of(self, name: str) -> dict[str, Any]:
        """All that determines a result, besides the recording. Raises DataError for one without a transcript."""
        return self._recognizer.settings_of(name) | {"transcript": self.transcript(name)}

    def waveform(self, source: Path) -> Waveform:
        """A file in blocks, which raise their errors as they are read."""
        return self._recognizer.waveform(source)

    def recognize(self, utterances: Sequence[tuple[str, Waveform]]) -> list[Hypothesis | Exception]:
        """The transcript of each (id, waveform) with its times, or what went wrong."""
        results: list[Hypothesis | Exception] = []
        for name, waveform in utterances:
            try:
                results.append(self._recognizer.aligned(name, waveform, self.transcript(name)))
            except Exception as error:  # one bad file, whatever is wrong with it, ends no other
                results.append(error)
        return results

    def transcript(self, name: str) -> str:
        """The text of a recording. Raises DataError where there is none."""
        for found, key in ((self._transcripts, name), (self._by_name, _last(name))):
            if key in found:
                return found[key]
        known = ", ".join(shortened(each) for each in list(self._transcripts)[:3])
        raise DataError("no transcript", name, f"transcripts are known by the names of the recordings, here: {known}")


def transcripts_for(audio: str, path: Path, unit: str) -> dict[str, str]:
    """The transcripts of a file or folder of audio.

    Of one recording a ``.txt`` file is the text; all else is read as ``score`` reads references (data/transcripts.py),
    and ``unit`` is that of the model's tokens. Raises DataError for what is missing or malformed.
    """
    if Path(audio).is_file() and path.suffix == ".txt" and path.is_file() and not path.name.endswith(".trans.txt"):
        return {Path(audio).stem: " ".join(read_text(path).split())}
    return dict(read_transcripts(path, unit))


def _last(name: str) -> str:
    return name.rpartition("/")[2]
