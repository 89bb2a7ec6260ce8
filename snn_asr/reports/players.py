"""How a page plays recordings: by their path relative to it or, if browsers cannot play their format, within the page.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from snn_asr.data.audio import audio_bytes, read_audio
from snn_asr.data.manifest import Utterance
from snn_asr.errors import DataError

PLAYED = (".wav", ".flac", ".mp3", ".ogg", ".opus")  # by browsers, if the file is what its name says
LONGEST_SECONDS = 20.0  # of a recording within the page
RATE_HZ = 16000  # of recordings within the page


@dataclass(frozen=True)
class Players:
    """The addresses of recordings for a page that will lie at ``page``.

    With ``within``, recordings that browsers cannot play are put into the page itself.
    """

    page: Path
    within: bool

    def address(self, utterance: Utterance | None) -> str:
        """Return what a player in the page is given: a relative address, the recording itself, or "" if it has neither.
        """
        if utterance is None or not utterance.wav.is_file():
            return ""
        if utterance.wav.suffix.lower() in PLAYED:
            return relative_address(utterance.wav, self.page)
        if not self.within or utterance.duration > LONGEST_SECONDS:
            return ""
        try:
            samples = read_audio(utterance.wav, RATE_HZ)
            content = base64.b64encode(audio_bytes(samples, RATE_HZ, "FLAC")).decode()
        except DataError:
            return ""
        return f"data:audio/flac;base64,{content}"


def relative_address(recording: Path, page: Path) -> str:
    """Return the address of a recording for a browser: its path from the page, with special characters escaped."""
    relative = os.path.relpath(os.path.abspath(recording), os.path.dirname(os.path.abspath(page)))
    return quote(os.fsencode(relative))
