"""Output formats for decoded utterances: plain text, JSON, NIST trn and ctm, SubRip and WebVTT subtitles."""

from __future__ import annotations

import html
import json
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from snn_asr.errors import unknown_name

FORMATS = {"txt": ".txt", "json": ".json", "trn": ".trn", "ctm": ".ctm", "srt": ".srt", "vtt": ".vtt"}
KINDS = ("characters", "sentencepiece", "words", "phones")  # of tokens.Tokens.kind
WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's mark of a word's first piece

CUE_LINE_CHARACTERS = 42  # the usual limits of subtitles: two lines of 42 characters, one to seven seconds
CUE_LINES = 2
CUE_MAXIMUM_SECONDS = 7.0
CUE_MINIMUM_SECONDS = 1.0
CUE_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Token:
    """One token of the decoder, or one word made of several; ``confidence`` in 0..1."""

    label: str
    start_seconds: float
    end_seconds: float
    confidence: float


@dataclass(frozen=True)
class Alternative:
    """One text of an n-best list, with the score of its best token sequence, and what of it is acoustic (ln P_ctc)."""

    text: str
    score: float
    acoustic_score: float


@dataclass(frozen=True)
class Hypothesis:
    """What was recognised in one utterance; times count from its beginning.

    ``alternatives``, of beam search alone, are different texts, best first: the first is ``text``.
    """

    id: str
    text: str
    tokens: tuple[Token, ...]
    duration_seconds: float
    alternatives: tuple[Alternative, ...] = ()


def render(hypothesis: Hypothesis, format: str, kind: str = "words") -> str:
    """The hypothesis in one of FORMATS, ending in a line feed (or empty, where the format has nothing to say).

    ``kind`` is the kind of token, from which ctm, srt and vtt derive words (see ``words``).
    Raises UsageError for an unknown format or kind.
    """
    renderers: dict[str, Callable[[], str]] = {
        "txt": lambda: _one_line(hypothesis.text) + "\n",
        "json": lambda: json.dumps(record(hypothesis), indent=2, ensure_ascii=False) + "\n",
        "trn": lambda: f"{_one_line(hypothesis.text)} ({_nist_id(hypothesis.id)})".lstrip() + "\n",
        "ctm": lambda: _ctm(hypothesis, kind),
        "srt": lambda: _srt(hypothesis, kind),
        "vtt": lambda: _vtt(hypothesis, kind),
    }
    if format not in renderers:
        raise unknown_name("format", format, renderers)
    return renderers[format]()


def record(hypothesis: Hypothesis) -> dict:
    """The hypothesis as JSON values: times to the millisecond, confidences and scores to four digits."""
    nbest = [
        {"text": each.text, "score": round(each.score, 4), "acoustic_score": round(each.acoustic_score, 4)}
        for each in hypothesis.alternatives
    ]
    return {
        "id": hypothesis.id,
        "text": hypothesis.text,
        "duration": round(hypothesis.duration_seconds, 3),
        "tokens": [
            {
                "label": token.label,
                "start": round(token.start_seconds, 3),
                "end": round(token.end_seconds, 3),
                "confidence": round(token.confidence, 4),
            }
            for token in hypothesis.tokens
        ],
    } | ({"nbest": nbest} if nbest else {})


def words(hypothesis: Hypothesis, kind: str) -> tuple[Token, ...]:
    """The words of a hypothesis with their times.

    characters: runs between tokens that are white space; sentencepiece: a word begins at a piece with "▁";
    words and phones: every token is one. A word lasts from its first token to its last and is as confident as its
    least confident one. Raises UsageError for an unknown kind.
    """
    if kind not in KINDS:
        raise unknown_name("kind of token", kind, KINDS)
    if kind in ("words", "phones"):
        return hypothesis.tokens
    groups: list[list[Token]] = [[]]
    for token in hypothesis.tokens:
        separator = kind == "characters" and token.label.isspace()
        if separator or (kind == "sentencepiece" and token.label.startswith(WORD_START)):
            groups.append([])
        if not separator:
            groups[-1].append(token)
    merged = (_merge(group) for group in groups if group)
    return tuple(word for word in merged if word.label)


def _merge(tokens: list[Token]) -> Token:
    label = "".join(token.label for token in tokens).replace(WORD_START, "")
    confidence = min(token.confidence for token in tokens)
    return Token(label, tokens[0].start_seconds, tokens[-1].end_seconds, confidence)


def _ctm(hypothesis: Hypothesis, kind: str) -> str:
    """One line a word: id, channel, start and duration in seconds, word, confidence."""
    lines = []
    for word in words(hypothesis, kind):
        start, end = round(word.start_seconds, 3), round(word.end_seconds, 3)
        times = f"{start:.3f} {end - start:.3f}"
        lines.append(f"{_nist_id(hypothesis.id)} 1 {times} {word.label} {word.confidence:.4f}\n")
    return "".join(lines)


def _srt(hypothesis: Hypothesis, kind: str) -> str:
    blocks = [
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n"
        for number, (start, end, text) in enumerate(_cues(hypothesis, kind), start=1)
    ]
    return "\n".join(blocks)


def _vtt(hypothesis: Hypothesis, kind: str) -> str:
    blocks = [
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{html.escape(text, quote=False)}\n"
        for start, end, text in _cues(hypothesis, kind)
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def _cues(hypothesis: Hypothesis, kind: str) -> list[tuple[float, float, str]]:
    """Subtitles (start, end, text): words until a pause or a limit.

    A cue stays for at least CUE_MINIMUM_SECONDS where neither the next cue nor the end of the audio forbids it.
    """
    groups: list[list[Token]] = []
    for word in words(hypothesis, kind):
        if groups and _fits(groups[-1], word):
            groups[-1].append(word)
        else:
            groups.append([word])
    cues = []
    for index, group in enumerate(groups):
        following = groups[index + 1][0].start_seconds if index + 1 < len(groups) else hypothesis.duration_seconds
        start, end = group[0].start_seconds, group[-1].end_seconds
        end = max(end, min(start + CUE_MINIMUM_SECONDS, following))
        cues.append((start, end, "\n".join(_lines(group))))
    return cues


def _fits(group: list[Token], word: Token) -> bool:
    return (
        word.start_seconds - group[-1].end_seconds < CUE_PAUSE_SECONDS
        and word.end_seconds - group[0].start_seconds <= CUE_MAXIMUM_SECONDS
        and len(_lines([*group, word])) <= CUE_LINES
    )


def _lines(group: list[Token]) -> list[str]:
    text = " ".join(word.label for word in group)
    return textwrap.wrap(text, CUE_LINE_CHARACTERS, break_long_words=False, break_on_hyphens=False)


def _clock(seconds: float, point: str) -> str:
    """hours:minutes:seconds with milliseconds after ``point``."""
    total, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, whole_seconds = divmod(total, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{whole_seconds:02}{point}{milliseconds:03}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _nist_id(identifier: str) -> str:
    """NIST formats cannot hold white space or parentheses in an id."""
    return re.sub(r"[\s()]", "_", identifier)
