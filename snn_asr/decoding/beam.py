"""CTC prefix beam search over log posteriors, with an n-gram model by words or by tokens.

A prefix y is scored by the sum over all its alignments with the frames so far, those that end in a blank and those
that end in its last token apart (Graves 2012; Hannun et al. 2014), and by what the language model says of it:

    score(y) = ln P_ctc(y) + weight · ln P_lm(y) + bonus · units(y)

units are words (level word, scored where a word ends) or tokens; the end of the sentence is scored, but is no unit.
Nothing is approximated but the beam: one wide enough for all prefixes gives exact scores.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from snn_asr.data.tokens import Tokens
from snn_asr.decoding.hypothesis import WORD_START
from snn_asr.decoding.language_model import END, SPACE, START, UNKNOWN, LanguageModel, load_language_model
from snn_asr.errors import DataError, UsageError, unknown_name
from snn_asr.files import sha256
from snn_asr.network.tasks import BLANK

log = logging.getLogger(__name__)

LEVELS = AUTO, WORD, TOKEN = "auto", "word", "token"
LN_10 = math.log(10)
FEW_KNOWN = 0.5  # of what model and language model could have in common: below it one is warned
CACHED_SCORES = 1 << 20
CACHED_ROWS = 1 << 14
WIDEST = 10_000  # prefixes: they are held against one another in pairs
LARGEST_WEIGHT = 1e6


@dataclass(frozen=True)
class BeamSettings:
    """``width`` prefixes are kept at every frame, ``alternatives`` reported; the others weigh the language model."""

    width: int = 10
    language_weight: float = 0.5
    insertion_bonus: float = 0.0
    alternatives: int = 10

    def __post_init__(self) -> None:
        for name in ("width", "alternatives"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)}", "beam search", "must be a whole number from 1")
        if self.width > WIDEST:
            raise UsageError(f"width {self.width}", "beam search", f"must be at most {WIDEST}")
        for name in ("language_weight", "insertion_bonus"):
            if not abs(getattr(self, name)) <= LARGEST_WEIGHT:
                todo = f"must be a number from {-LARGEST_WEIGHT:g} to {LARGEST_WEIGHT:g}"
                raise UsageError(f"{name} {getattr(self, name)}", "beam search", todo)


@dataclass(frozen=True)
class Candidate:
    """A whole token sequence: its score, of which ``acoustic`` is ln P_ctc."""

    tokens: tuple[int, ...]
    score: float
    acoustic: float


class Level(Protocol):
    """How a language model follows a growing prefix. Gains are (log10 p, units), rows of them one entry a token."""

    start: Any

    def follow(self, state: Any, token: int) -> Any:
        """The state after a token."""

    def gains(self, state: Any) -> tuple[np.ndarray, np.ndarray]:
        """What each next token would add."""

    def finish(self, state: Any) -> tuple[float, int]:
        """What the end adds."""


class TokenLevel:
    """Every token is a word of the model; one that is white space is written ``<space>``."""

    def __init__(self, model: LanguageModel, tokens: Tokens) -> None:
        self.start = model.start
        self._words = spelled(tokens)
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
        """The blank, which never extends a prefix, is left at 0."""
        return np.array([0.0, *(self._score(word, state)[0] for word in self._words[BLANK + 1 :])])


class WordLevel:
    """Words of characters, apart by white space, or of SentencePiece's pieces, of which the first begins with its mark.

    The state is the model's before the word that is being spelt, and its letters so far.
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


class BeamDecoder:
    """Beam search for one set of tokens, with a language model or without."""

    def __init__(
        self, tokens: Tokens, settings: BeamSettings, model_path: str | Path | None = None, level: str = AUTO
    ) -> None:
        self.settings, self.model_path, self.level = settings, model_path, None
        self.identity: dict[str, Any] = asdict(settings)
        if model_path is not None:
            model = load_language_model(model_path)
            level = choose_level(model, tokens, level, model_path)
            self.level = (TokenLevel if level == TOKEN else WordLevel)(model, tokens)
            self.identity |= {"language_model": sha256(model_path), "level": level}

    def __call__(self, log_posteriors: np.ndarray) -> list[Candidate]:
        return search(log_posteriors, self.settings, self.level)


def choose_level(model: LanguageModel, tokens: Tokens, level: str, where: object) -> str:
    """The level a model is used at; ``auto`` finds out from the words that it knows.

    Raises UsageError for an unknown level, DataError where model and tokens have nothing in common.
    """
    if level not in LEVELS:
        raise unknown_name("level of a language model", level, LEVELS)
    words = spelled(tokens)[BLANK + 1 :]
    apart = tokens.kind in ("characters", "sentencepiece")  # else every token is a word: one level is the other
    if level == AUTO:
        marks = [word for word in words if word == SPACE or word.startswith(WORD_START)] if apart else words
        level = TOKEN if any(word in model for word in marks) or not apart else WORD
    if not apart or level == TOKEN:
        known = sum(word in model for word in words)
        _check_known(known, len(words), f"{tokens.kind} of the model", where)
        return TOKEN
    if model.vocabulary is not None:
        spoken = model.vocabulary - {START, END, *(each for each in model.vocabulary if each.lower() == UNKNOWN)}
        letters = set("".join(tokens.labels[BLANK + 1 :]))
        spelt = sum(letters.issuperset(word) for word in spoken)
        _check_known(spelt, len(spoken), f"words that the model's {tokens.kind} can spell", where)
    return WORD


def _check_known(known: int, of: int, what: str, where: object) -> None:
    """Raise DataError where a language model knows nothing of what the network writes; warn where it knows little."""
    if not known:
        raise DataError(f"knows none of the {what}", where, "check upper and lower case")
    if known < of * FEW_KNOWN:
        log.warning("%s: knows only %d %s (of %d); check upper and lower case", where, known, what, of)


def spelled(tokens: Tokens) -> list[str]:
    """Every label as a language model of tokens has it, the blank first."""
    return [SPACE if label.isspace() else label for label in tokens.labels]


def search(log_posteriors: np.ndarray, settings: BeamSettings, level: Level | None = None) -> list[Candidate]:
    """The ``width`` best token sequences for log posteriors (T, N), best first; without a frame the empty one."""
    beam = _Beam(settings, level, log_posteriors.shape[1])
    for frame in log_posteriors.astype(np.float64):
        beam.advance(frame)
    return beam.candidates()


class _Beam:
    """The prefixes alive, as arrays over them, and the tree of all prefixes that ever were.

    ``blank`` and ``label``: ln of the summed alignments that end in a blank or in the last token; ``extra``: what the
    language model and the bonus add; ``gains`` (K, N): what they would add for each next token.
    """

    def __init__(self, settings: BeamSettings, level: Level | None, size: int) -> None:
        self.settings, self.level, self.size = settings, level, size
        self.tree = [(-1, BLANK)]  # of every node: the node before it and its last token
        self.children: dict[tuple[int, int], int] = {}
        self.states: list[Hashable] = [level.start if level else None]
        self.nodes, self.parents, self.last = np.array([0]), np.array([-1]), np.array([BLANK])
        self.blank, self.label, self.extra = np.zeros(1), np.full(1, -np.inf), np.zeros(1)
        self.gains = self._gains([0])

    def advance(self, frame: np.ndarray) -> None:
        """Go on by one frame of log posteriors (N,)."""
        total = np.logaddexp(self.blank, self.label)
        blank, label = total + frame[BLANK], self.label + frame[self.last]
        grown = total[:, None] + frame
        grown[np.arange(len(total)), self.last] = self.blank + frame[self.last]  # twice the same needs a blank between
        grown[:, BLANK] = -np.inf
        # A prefix grown into one that is alive itself joins it.
        before, alive = np.nonzero(self.nodes[:, None] == self.parents)
        label[alive] = np.logaddexp(label[alive], grown[before, self.last[alive]])
        grown[before, self.last[alive]] = -np.inf
        stayed = np.logaddexp(blank, label) + self.extra
        ranked = grown + (self.extra[:, None] if self.gains is None else self.extra[:, None] + self.gains)
        best = _highest(np.concatenate([stayed, ranked.ravel()]), self.settings.width)
        kept, fresh = best[best < len(total)], best[best >= len(total)] - len(total)
        sources, tokens = np.divmod(fresh, self.size)
        self.blank = np.concatenate([blank[kept], np.full(len(fresh), -np.inf)])
        self.label = np.concatenate([label[kept], grown[sources, tokens]])
        self._select(kept, sources, tokens)

    def _select(self, kept: np.ndarray, sources: np.ndarray, tokens: np.ndarray) -> None:
        """Let the prefixes ``kept`` live on, and add those at ``sources`` grown by ``tokens``."""
        added = [self._node(*pair) for pair in zip(self.nodes[sources].tolist(), tokens.tolist(), strict=True)]
        gained = 0.0 if self.gains is None else self.gains[sources, tokens]
        self.extra = np.concatenate([self.extra[kept], self.extra[sources] + gained])
        self.parents = np.concatenate([self.parents[kept], self.nodes[sources]])
        self.nodes = np.concatenate([self.nodes[kept], np.array(added, dtype=np.int64)])
        self.last = np.concatenate([self.last[kept], tokens])
        if self.gains is not None:
            self.gains = np.concatenate([self.gains[kept], self._gains(added)])

    def _node(self, parent: int, token: int) -> int:
        """The node of a prefix and a token: the old one where it was alive before."""
        node = self.children.setdefault((parent, token), len(self.tree))
        if node == len(self.tree):
            self.tree.append((parent, token))
            self.states.append(self.level.follow(self.states[parent], token) if self.level else None)
        return node

    def _gains(self, nodes: Sequence[int]) -> np.ndarray | None:
        if self.level is None:
            return None
        rows = np.empty((len(nodes), self.size))
        for row, node in zip(rows, nodes, strict=True):
            row[:] = self._weighed(*self.level.gains(self.states[node]))
        return rows

    def _weighed(self, log10: Any, units: Any) -> Any:
        """Gains in the score, of numbers or of arrays: log10 p and units, each by its weight."""
        return self.settings.language_weight * LN_10 * log10 + self.settings.insertion_bonus * units

    def candidates(self) -> list[Candidate]:
        found = []
        acoustic = np.logaddexp(self.blank, self.label)
        for node, score, extra in zip(self.nodes.tolist(), acoustic.tolist(), self.extra.tolist(), strict=True):
            if self.level:
                extra += self._weighed(*self.level.finish(self.states[node]))
            found.append(Candidate(self._tokens(node), score + extra, score))
        return sorted(found, key=lambda each: (-each.score, each.tokens))

    def _tokens(self, node: int) -> tuple[int, ...]:
        tokens = []
        while node:
            node, token = self.tree[node]
            tokens.append(token)
        return tuple(reversed(tokens))


def _highest(scores: np.ndarray, count: int) -> np.ndarray:
    """Indices of the ``count`` highest scores that are possible at all, in no order."""
    best = np.argpartition(scores, -count)[-count:] if len(scores) > count else np.arange(len(scores))
    return best[scores[best] > -np.inf]
