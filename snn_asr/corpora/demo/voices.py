"""The voices of the demo corpus: accent x voice variant x length of the vocal tract, each in one split alone.

``source_rate`` is the rate at which espeak-ng's 22,050 samples a second are taken to be: 21,000 makes a longer vocal
tract and a lower voice, 23,000 a shorter one (formants and pitch scale by source_rate / 22050; every time, by its
inverse). Variants with an echo are left out: it fills the closures of stops. So are those with breath:
their samples change from one process to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

SPLITS = ("train", "dev", "test")
_REGIONS = {"en-us": "DR1", "en-us-nyc": "DR6"}  # TIMIT's DR6 is New York City


@dataclass(frozen=True)
class Speaker:
    """One voice. ``number`` is its id in the LibriSpeech layout, ``code`` the one in the TIMIT layout (sex first)."""

    number: str
    code: str
    split: str
    accent: str
    variant: str
    source_rate: int

    @property
    def voice(self) -> str:
        """Name for espeak-ng: the accent alone, or accent+variant."""
        return f"{self.accent}+{self.variant}" if self.variant else self.accent

    @property
    def region(self) -> str:
        """TIMIT's dialect folder: one an accent."""
        return _REGIONS[self.accent]


# Development and test voices bear codes of TIMIT's own development and core-test speakers, so that the usual lists of
# speakers split this corpus, laid out as TIMIT, where it is split here.
_VOICES = """
    MDMA0 train en-us      -      22050
    FDMB0 train en-us      f1     22050
    MDMC0 train en-us      m1     22050
    FDMD0 train en-us      belinda 21000
    MDME0 train en-us      m4     22050
    FDMF0 train en-us      f1     23000
    MDMG0 train en-us      m3     21000
    FDMH0 train en-us      steph  22050
    MDMI0 train en-us-nyc  Alex   22050
    FDMJ0 train en-us-nyc  linda  22050
    MDMK0 train en-us      m7     22050
    FDML0 train en-us      grandma 22050
    MDMM0 train en-us      m3     23000
    FDMN0 train en-us      linda  22050
    MDMO0 train en-us      quincy 22050
    FDMP0 train en-us      linda  21000
    MDMQ0 train en-us      m8     23000
    FDMR0 train en-us      f1     21000
    MDMS0 train en-us      rob    23000
    FDMT0 train en-us      belinda 22050
    MDMU0 train en-us      antonio 22050
    MDMV0 train en-us      pedro  22050
    MDMW0 train en-us      ed     22050
    MDMX0 train en-us      john   21000
    MDMY0 train en-us      norbert 22050
    MDMZ0 train en-us      m5     22050
    MDNC0 train en-us      antonio 23000
    FDND0 train en-us      Andrea 21000
    FDNE0 train en-us      steph  21000
    FDNF0 train en-us      belinda 23000
    MJAR0 dev   en-us      max    22050
    FAKS0 dev   en-us      anika  22050
    MMDM2 dev   en-us      m6     21000
    MDAB0 test  en-us      Mike   22050
    FELC0 test  en-us      Annie  21000
    MTAS1 test  en-us      robert 22050
    FPAS0 test  en-us      aunty  22050
"""


def speakers(split: str) -> list[Speaker]:
    """The voices of ``split`` in a fixed order; their numbers run from 101 over all splits."""
    rows = [line.split() for line in _VOICES.strip().splitlines()]
    everyone = [
        Speaker(str(101 + index), code, of_split, accent, variant.strip("-"), int(source_rate))
        for index, (code, of_split, accent, variant, source_rate) in enumerate(rows)
    ]
    return [speaker for speaker in everyone if speaker.split == split]
