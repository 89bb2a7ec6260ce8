"""The result of recognition: tokens with times and confidences, their words, and the segments between pauses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from snn_asr.errors import unknown_name

KINDS = ("characters", "sentencepiece", "words", "phones")  # values of tokens.Tokens.kind
WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's mark of a word's first piece


@dataclass(frozen=True)
class Token:
    """One decoded token, with times in seconds from the beginning of the audio and a ``confidence`` from 0 to 1."""

    label: str
    start_seconds: float
    end_seconds: float
    confidence: float


@dataclass(frozen=True)
class Word:
    """One word: ``start`` and ``end`` in seconds from the beginning of the audio, ``confidence`` from 0 to 1."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Alternative:
    """One text of an n-best list, with the score of its best token sequence and the acoustic part of that (ln
    P_ctc)."""

    text: str
    score: float
    acoustic_score: float


@dataclass(frozen=True)
class Segment:
    """A stretch of speech between two pauses, recognised on its own. It has at least one token.

    ``alternatives``, from beam search only, are its different texts, best first: the first is ``text``.
    """

    text: str
    tokens: tuple[Token, ...]
    alternatives: tuple[Alternative, ...] = ()

    @property
    def start_seconds(self) -> float:
        """Where the first token begins."""
        return self.tokens[0].start_seconds

    @property
    def end_seconds(self) -> float:
        """Where the last token ends."""
        return self.tokens[-1].end_seconds


@dataclass(frozen=True)
class Hypothesis:
    """Everything that was recognised in one recording; times count from its beginning.

    ``kind`` is the kind of the tokens, from which the words follow. ``segments`` are the stretches of speech between
    pauses; if none are given, all tokens are one segment. ``alternatives``, from beam search only, are different texts
    of the whole recording, best first: the first is ``text``.
    """

    id: str
    text: str
    tokens: tuple[Token, ...]
    duration_seconds: float
    alternatives: tuple[Alternative, ...] = ()
    kind: str = "words"
    segments: tuple[Segment, ...] = ()

    def __post_init__(self) -> None:
        if self.tokens and not self.segments:
            object.__setattr__(self, "segments", (Segment(self.text, self.tokens, self.alternatives),))

    @classmethod
    def joined(
        cls, identifier: str, segments: Iterable[Segment], duration_seconds: float, kind: str, alternatives: int = 0
    ) -> Hypothesis:
        """The hypothesis of a recording made of these segments, with at most ``alternatives`` texts."""
        parts = tuple(segments)
        tokens = tuple(token for each in parts for token in each.tokens)
        best = _joined_alternatives([each.alternatives for each in parts], alternatives)
        return cls(identifier, _joined_text(each.text for each in parts), tokens, duration_seconds, best, kind, parts)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words with their times. No word extends over two segments."""
        return tuple(word for each in self.segments for word in words(each.tokens, self.kind))


def words(tokens: Sequence[Token], kind: str) -> tuple[Word, ...]:
    """The words that the tokens of one segment spell, with their times.

    Characters make words between tokens of white space; with sentencepiece a word begins at a piece with "▁"; of words
    and phones every token is a word. A word lasts from its first token to its last, and is as confident as the least
    confident of them. Raises UsageError for an unknown kind.
    """
    if kind not in KINDS:
        raise unknown_name("kind of token", kind, KINDS)
    if kind in ("words", "phones"):
        return tuple(Word(each.label, each.start_seconds, each.end_seconds, each.confidence) for each in tokens)
    groups: list[list[Token]] = [[]]
    for token in tokens:
        separator = kind == "characters" and token.label.isspace()
        if separator or (kind == "sentencepiece" and token.label.startswith(WORD_START)):
            groups.append([])
        if not separator:
            groups[-1].append(token)
    merged = (_merge(group) for group in groups if group)
    return tuple(word for word in merged if word.text)


def _merge(tokens: list[Token]) -> Word:
    text = "".join(token.label for token in tokens).replace(WORD_START, "")
    confidence = min(token.confidence for token in tokens)
    return Word(text, tokens[0].start_seconds, tokens[-1].end_seconds, confidence)


def _joined_text(texts: Iterable[str]) -> str:
    return " ".join(text for text in texts if text)


def _joined_alternatives(lists: Sequence[tuple[Alternative, ...]], limit: int) -> tuple[Alternative, ...]:
    """The ``limit`` best combinations of one alternative from each segment; a score is the sum of its parts' scores."""
    if not lists:
        return ()
    best = lists[0]
    for following in lists[1:]:
        pairs = (
            Alternative(
                _joined_text((first.text, second.text)), first.score + second.score,
                first.acoustic_score + second.acoustic_score,
            )
            for first in best for second in following
        )
        best = tuple(sorted(pairs, key=lambda each: -each.score)[:limit])
    return best[:limit]
