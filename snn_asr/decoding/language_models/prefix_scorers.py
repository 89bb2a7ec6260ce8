"""How a language model scores the prefixes of a beam search: by words or by tokens, all of them or only known ones.

With a closed vocabulary, a prefix is never extended to letters that no known word begins with. The probability of the
likeliest word with these letters is counted as soon as they are there, and taken back at the end of the word (unigram
look-ahead, Ortmanns & Ney 2000). The score of whole words is the same, but unfinished words can be compared.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from snn_asr.data.tokens import Tokens
from snn_asr.decoding.hypothesis import WORD_START
from snn_asr.decoding.language_models.language_model import AUTO, SPACE, TOKEN, UNITS, WORD, LanguageModel, spelled
from snn_asr.decoding.language_models.ngram_model import END, START, UNKNOWN
from snn_asr.errors import DataError, UsageError, unknown_name
from snn_asr.network.tasks import BLANK

log = logging.getLogger(__name__)

FEW_KNOWN = 0.5  # of the words or tokens that both models could share, below which a warning is due
CACHED_SCORES = 1 << 20
CACHED_ROWS = 1 << 14
LONGEST_WORD = 1000  # letters, in a closed vocabulary, all of whose beginnings are kept in memory
NEVER = -np.inf


class PrefixScorer(Protocol):
    """How a language model scores a growing prefix. Gains are (log10 p, units); rows have an entry for each token."""

    start: Any

    def follow(self, state: Any, token: int) -> Any:
        """The state after a token."""

    def gains(self, state: Any) -> tuple[np.ndarray, np.ndarray]:
        """The gains of each possible next token."""

    def finish(self, state: Any) -> tuple[float, int]:
        """The gains of the end of the sentence."""


class TokenScorer:
    """For a model whose words are the tokens; a token of white space is written ``<space>``.

    With a closed vocabulary, tokens that the model does not know are impossible.
    """

    def __init__(self, model: LanguageModel, tokens: Tokens, closed_vocabulary: bool = False) -> None:
        self.start = model.start
        self._words = spelled(tokens)
        known = [not closed_vocabulary or (word in model and word.lower() != UNKNOWN) for word in self._words]
        self._never = np.where(known, 0.0, NEVER)
        self._score = lru_cache(CACHED_SCORES)(model.score)
        self._units = np.ones(tokens.size)
        self._row = lru_cache(CACHED_ROWS)(self._scores)

    def follow(self, state: Hashable, token: int) -> Hashable:
        return self._score(self._words[token], state)[1]

    def gains(self, state: Hashable) -> tuple[np.ndarray, np.ndarray]:
        return self._row(state), self._units

    def finish(self, state: Hashable) -> tuple[float, int]:
        return self._score(END, state)[0], 0

    def _scores(self, state: Hashable) -> np.ndarray:
        """The scores of all tokens; that of the blank, which never extends a prefix, is 0."""
        return self._never + [0.0, *(self._score(word, state)[0] for word in self._words[BLANK + 1 :])]


class WordScorer:
    """For a model of words, which are spelled by characters between white space, or by SentencePiece's pieces.

    The state is that of the model before the word that is being spelled, and the letters of that word so far.
    """

    def __init__(self, model: LanguageModel, tokens: Tokens) -> None:
        self.start = (model.start, "")
        bounds = [label.isspace() or label.startswith(WORD_START) for label in tokens.labels]
        self._bounds = np.array(bounds, dtype=float)
        self._letters = [label.replace(WORD_START, "").strip() for label in tokens.labels]
        self._score = lru_cache(CACHED_SCORES)(model.score)
        self._none = np.zeros(tokens.size)

    def follow(self, state: tuple[Hashable, str], token: int) -> tuple[Hashable, str]:
        context, word = state
        if not self._bounds[token]:
            return context, word + self._letters[token]
        return (self._score(word, context)[1] if word else context), self._letters[token]

    def gains(self, state: tuple[Hashable, str]) -> tuple[np.ndarray, np.ndarray]:
        context, word = state
        if not word:
            return self._none, self._none
        return self._score(word, context)[0] * self._bounds, self._bounds

    def finish(self, state: tuple[Hashable, str]) -> tuple[float, int]:
        context, word = state
        total = 0.0
        if word:
            total, context = self._score(word, context)
        return total + self._score(END, context)[0], int(bool(word))


class KnownWordScorer(WordScorer):
    """``WordScorer`` with a closed vocabulary: only words that the model knows are possible.

    Raises UsageError for a model that does not tell its words.
    """

    def __init__(self, model: LanguageModel, tokens: Tokens, where: object = None) -> None:
        super().__init__(model, tokens)
        if model.vocabulary is None:
            what = "a binary file, which does not tell the words of a closed vocabulary"
            raise UsageError(what, where, "give the ARPA file")
        self._known = frozenset(word for word in spoken(model.vocabulary) if len(word) <= LONGEST_WORD)
        self._ahead = {"": 0.0}  # for every beginning of a word, log10 p of the likeliest word with it, without context
        for word in self._known:
            log10 = model.score(word, model.contextless)[0]
            for end in range(1, len(word) + 1):
                self._ahead[word[:end]] = max(self._ahead.get(word[:end], NEVER), log10)
        self._row = lru_cache(CACHED_ROWS)(self._looked_ahead)

    def gains(self, state: tuple[Hashable, str]) -> tuple[np.ndarray, np.ndarray]:
        word = state[1]
        if word and word not in self._known:  # it cannot end here, so the model is not asked about it
            return self._row(word), self._bounds
        log10, units = super().gains(state)
        return log10 + self._row(word), units

    def finish(self, state: tuple[Hashable, str]) -> tuple[float, int]:
        word = state[1]
        if word and word not in self._known:
            return NEVER, 0
        log10, units = super().finish(state)
        return log10 - self._ahead[word], units

    def _looked_ahead(self, word: str) -> np.ndarray:
        """The change of the look-ahead by each next token; NEVER for one that continues no known word."""
        before, ended = self._ahead[word], not word or word in self._known
        row = np.full(len(self._letters), NEVER)
        for token, (letters, bound) in enumerate(zip(self._letters, self._bounds, strict=True)):
            if not bound:
                row[token] = self._ahead.get(word + letters, NEVER) - before
            elif ended:
                row[token] = self._ahead.get(letters, NEVER) - before
        return row


def scorer_of(
    model: LanguageModel, tokens: Tokens, unit: str, closed_vocabulary: bool, where: object = None
) -> PrefixScorer:
    """The scorer by the ``unit`` that ``choose_unit`` gave. Raises what ``KnownWordScorer`` raises."""
    if unit == TOKEN:
        return TokenScorer(model, tokens, closed_vocabulary)
    if closed_vocabulary:
        return KnownWordScorer(model, tokens, where)
    if model.vocabulary is not None and not any(each.lower() == UNKNOWN for each in model.vocabulary):
        what = "%s: has no <unk>, so words that it does not know run together, as if they were one; %s"
        log.warning(what, where, "take --closed-vocabulary, or make it anew with <unk> (SRILM: -unk)")
    return WordScorer(model, tokens)


def choose_unit(model: LanguageModel, tokens: Tokens, unit: str, where: object) -> str:
    """Whether a model predicts words or tokens; ``auto`` decides by the words that it knows.

    Raises UsageError for an unknown unit, and DataError if model and tokens have nothing in common.
    """
    if unit not in UNITS:
        raise unknown_name("unit of a language model", unit, UNITS, "--lm-unit")
    words = spelled(tokens)[BLANK + 1 :]
    apart = tokens.kind in ("characters", "sentencepiece")  # else every token is a word: one unit is the other
    if unit == AUTO:
        marks = [word for word in words if word == SPACE or word.startswith(WORD_START)] if apart else words
        unit = TOKEN if any(word in model for word in marks) or not apart else WORD
    if not apart or unit == TOKEN:
        known = sum(word in model for word in words)
        _check_known(known, len(words), f"{tokens.kind} of the model", where)
        return TOKEN
    if model.vocabulary is not None:
        said = spoken(model.vocabulary)
        letters = set("".join(tokens.labels[BLANK + 1 :]))
        spelt = sum(letters.issuperset(word) for word in said)
        _check_known(spelt, len(said), f"words that the model's {tokens.kind} can spell", where)
    return WORD


def _check_known(known: int, of: int, what: str, where: object) -> None:
    """Raise DataError if a language model knows nothing that the network writes, and warn if it knows little of it."""
    if not known:
        raise DataError(f"knows none of the {what}", where, "check upper and lower case")
    if known < of * FEW_KNOWN:
        log.warning("%s: knows only %d %s (of %d); check upper and lower case", where, known, what, of)


def spoken(vocabulary: frozenset[str]) -> frozenset[str]:
    """The words of a language model that can be spoken."""
    return vocabulary - {START, END, *(each for each in vocabulary if each.lower() == UNKNOWN)}
