"""From espeak-ng's phonemes to TIMIT's labels, with ends and word boundaries to the sample.

espeak-ng reports where each phoneme's sound begins, to the sample; before a stop or an affricate it is silent, to
the digital zero, for the closure. So closures are measured, not guessed: zeros just before such a phoneme become
TIMIT's closure label (bcl ... tcl), counted to the stop's word. Where there are none, as in "seconds", the stop has no
closure label, as in TIMIT. Other gaps of 20 ms or more are ``epi``, shorter ones stay with the phone before. The
closure of an utterance's first sound is part of h#, as in TIMIT. One boundary alone is not the synthesiser's: the
r-coloured vowels of American English, one phoneme to espeak-ng, are split in the middle (aa r, ao r).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from snn_asr.corpora.demo.espeak import Phoneme, Speech
from snn_asr.errors import DataError

SILENCE = "h#"
_PAUSE = "epi"
_CLOSURES = {
    "b": "bcl", "d": "dcl", "g": "gcl", "p": "pcl", "t": "tcl", "k": "kcl", "ch": "tcl", "jh": "dcl",
}  # fmt: skip
_LABELS = {
    "b": "b", "d": "d", "g": "g", "p": "p", "t": "t", "t2": "t", "t#": "dx", "k": "k", "tS": "ch", "dZ": "jh",
    "f": "f", "v": "v", "T": "th", "D": "dh", "s": "s", "z": "z", "S": "sh", "Z": "zh", "h": "hh",
    "m": "m", "n": "n", "N": "ng", "l": "l", "@L": "el", "r": "r", "r-": "r", "j": "y", ";": "y", "w": "w",
    "i:": "iy", "i": "iy", "i@": "ih", "I": "ih", "I2": "ix", "E": "eh", "a": "ae", "aa": "ae", "A:": "aa",
    "0": "aa", "O2": "ao", "O:": "ao", "V": "ah", "u:": "uw", "3:": "er", "3": "axr", "@": "ax", "@2": "ax", "@-": "ax",
    "a#": "ax", "eI": "ey", "aI": "ay", "aI@": "ay", "aU": "aw", "oU": "ow", "A@": "aa r", "O@": "ao r", "o@": "ao r",
}  # fmt: skip
_LABELS_RECEIVED = {"aa": "aa", "0": "ao"}  # British: the vowels of "last" and "stop"
_LABELS_NON_RHOTIC = {"A@": "aa", "O@": "ao", "o@": "ao", "3": "ax"}
_ZERO_LEVEL = 4  # of 32768: below it a sample is silent
_SHORTEST_CLOSURE_SECONDS, _SHORTEST_PAUSE_SECONDS = 0.005, 0.020


@dataclass(frozen=True)
class PhoneSegment:
    """A label from ``start`` to ``end`` (samples); ``word`` is its word's index, None for silence and pauses."""

    label: str
    start: int
    end: int
    word: int | None


def segments(speech: Speech, accent: str) -> list[PhoneSegment]:
    """Segments of the spoken part, from the first phoneme's start, without h#; each starts where the last one ends.

    Raises DataError for a phoneme that has no TIMIT label here.
    """
    starts = [phoneme.start for phoneme in speech.phonemes]
    end_of_speech = starts[-1] + _sounding(speech, starts[-1], speech.end)
    ends = [*starts[1:], end_of_speech]
    result: list[PhoneSegment] = []
    for index, (phoneme, end) in enumerate(zip(speech.phonemes, ends, strict=True)):
        following = speech.phonemes[index + 1] if index + 1 < len(speech.phonemes) else None
        labels = _labels(phoneme, accent)
        gap_label = _PAUSE if following is None else _CLOSURES.get(_labels(following, accent)[0], _PAUSE)
        shortest = _SHORTEST_PAUSE_SECONDS if gap_label == _PAUSE else _SHORTEST_CLOSURE_SECONDS
        sound_end = phoneme.start + _sounding(speech, phoneme.start, end)
        if following is None or end - sound_end < shortest * speech.sample_rate or sound_end == phoneme.start:
            sound_end = end
        bounds = numpy.linspace(phoneme.start, sound_end, len(labels) + 1).round().astype(int).tolist()
        result += [PhoneSegment(*each, phoneme.word) for each in zip(labels, bounds[:-1], bounds[1:], strict=True)]
        if sound_end < end:
            next_word = None if gap_label == _PAUSE or following is None else following.word
            result.append(PhoneSegment(gap_label, sound_end, end, next_word))
    return result


def _labels(phoneme: Phoneme, accent: str) -> list[str]:
    labels = _LABELS
    if not accent.startswith("en-us"):
        labels = {**_LABELS, **_LABELS_RECEIVED, **_LABELS_NON_RHOTIC}
    if phoneme.name not in labels:
        raise DataError(f"espeak-ng's phoneme '{phoneme.name}' has no TIMIT label", f"accent {accent}")
    return labels[phoneme.name].split()


def _sounding(speech: Speech, start: int, end: int) -> int:
    """Number of samples from ``start`` to the last one before ``end`` that is not silent."""
    loud = numpy.flatnonzero(numpy.abs(speech.samples[start:end].astype(int)) > _ZERO_LEVEL)
    return int(loud[-1]) + 1 if len(loud) else 0


def fit(segments_at_source: list[PhoneSegment], factor: float, lead: int, total: int) -> list[PhoneSegment]:
    """Move segments to another sampling: times ``factor``, after ``lead`` samples of h#, to ``total`` samples.

    The first segment's start becomes sample ``lead``. Segments that vanish are left out; h# is put at both ends.
    """
    origin = segments_at_source[0].start
    moved = [PhoneSegment(SILENCE, 0, lead, None)]
    for segment in segments_at_source:
        start, end = (lead + round((place - origin) * factor) for place in (segment.start, segment.end))
        if end > start:
            moved.append(PhoneSegment(segment.label, start, end, segment.word))
    return [*moved, PhoneSegment(SILENCE, moved[-1].end, total, None)]


def word_bounds(all_segments: list[PhoneSegment], words: tuple[str, ...]) -> list[tuple[int, int, str]]:
    """(start, end, word) of every word, as in TIMIT's .WRD files."""
    bounds = []
    for index, word in enumerate(words):
        own = [segment for segment in all_segments if segment.word == index]
        bounds.append((own[0].start, own[-1].end, word))
    return bounds
