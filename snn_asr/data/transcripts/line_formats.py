"""Transcripts line by line: the formats of NIST (trn, ctm, stm), and Kaldi's text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from snn_asr.data.transcripts.lines import Line, Utterance
from snn_asr.errors import DataError

Parser = Callable[[Sequence[Line]], Iterator[Utterance]]

TRN_LINE = re.compile(r"(.*?)\s*\(([^()\s]+)\)")
IGNORED = "IGNORE_TIME_SEGMENT_IN_SCORING"  # of an stm: a stretch of sound whose words do not count


def nist_id(name: str) -> str:
    """Return the name as an id in trn and ctm, which has no white space or parentheses, and begins no comment."""
    return re.sub(r"[\s()]|^;(?=;)", "_", name)


def parse_trn(lines: Iterable[Line]) -> Iterator[Utterance]:
    """Yield the utterances of NIST's ``text (id)``. Marks of alternatives and optional words stay in the text."""
    for where, line in lines:
        match = TRN_LINE.fullmatch(line)
        if match is None:
            raise DataError("not of the form 'text (id)'", where, "end the line with the utterance id in parentheses")
        yield match[2], match[1], where


def parse_kaldi(lines: Sequence[Line]) -> Iterator[Utterance]:
    """Yield the utterances of Kaldi's ``id text``. If every line has a tab, it ends the id, which may contain spaces.
    """
    separator = "\t" if lines and all("\t" in line for _, line in lines) else None
    for where, line in lines:
        identifier, *rest = line.split(separator, 1)
        yield identifier.strip(), " ".join(" ".join(rest).split()), where


def parse_ctm(lines: Iterable[Line]) -> Iterator[Utterance]:
    """Yield the utterances of NIST's ``id channel start duration word [confidence]``.

    The words of an id are put in the order of their starts. The place of an utterance is that of its first word.
    """
    words: dict[str, list[tuple[float, str]]] = {}
    channels: dict[str, tuple[str, str]] = {}
    for where, line in lines:
        fields = line.split()
        times = [_finite(field) for field in fields[2:4]]
        if len(fields) < 5 or times[0] is None or times[1] is None:
            what = "not of the form 'id channel start duration word', times in seconds"
            raise DataError(what, where, "write one word a line, without alternatives")
        _check_channel(channels, fields[0], fields[1], where)
        words.setdefault(fields[0], []).append((times[0], fields[4]))
    for identifier, spoken in words.items():
        ordered = sorted(spoken, key=lambda start_and_word: start_and_word[0])
        yield identifier, " ".join(word for _start, word in ordered), channels[identifier][1]


def parse_stm(lines: Iterable[Line]) -> Iterator[Utterance]:
    """Yield the utterances of NIST's ``recording channel speaker begin end [<labels>] text``.

    The segments of a recording are put in the order of time. Raises DataError for a recording with two channels, and
    for segments whose words shall not count, because without the times of all words no error rate would be right.
    """
    segments: dict[str, list[tuple[float, str]]] = {}
    channels: dict[str, tuple[str, str]] = {}
    for where, line in lines:
        fields = line.split(maxsplit=5)
        times = [_finite(field) for field in fields[3:5]]
        if len(fields) < 5 or times[0] is None or times[1] is None or times[1] < times[0]:
            what = "not of the form 'recording channel speaker begin end <labels> text', times in seconds"
            raise DataError(what, where, "write one segment a line")
        text = re.sub(r"^<[^<>]*>\s*", "", fields[5]) if len(fields) > 5 else ""
        if text.strip().upper() == IGNORED:
            raise DataError(f"a segment of {IGNORED}", where, "cut it out of the recording, and take out the line")
        _check_channel(channels, fields[0], fields[1], where)
        segments.setdefault(fields[0], []).append((times[0], text))
    for identifier, spoken in segments.items():
        ordered = sorted(spoken, key=lambda start_and_text: start_and_text[0])
        yield identifier, " ".join(text for _start, text in ordered if text), channels[identifier][1]


def _check_channel(channels: dict[str, tuple[str, str]], identifier: str, channel: str, where: str) -> None:
    expected = channels.setdefault(identifier, (channel, where))[0]
    if channel != expected:
        what = f"utterance '{identifier}' has channels {expected} and {channel}"
        raise DataError(what, where, "give each channel an id of its own")


def _finite(field: str) -> float | None:
    try:
        value = float(field)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
