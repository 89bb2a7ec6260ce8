"""CTC prefix beam search over log posteriors, with an n-gram model of words or tokens.

The score of a prefix y is the sum over all its alignments with the frames so far (kept apart by whether they end in a
blank or in the last token; Graves 2012; Hannun et al. 2014), combined with a language model:

    score(y) = ln P_ctc(y) + weight · ln P_lm(y) + bonus · units(y)

Units are words (scored at the end of each word) or tokens. The end of the sentence is scored,
but is not a unit. Only the width of the beam is an approximation: one wide enough for all prefixes gives exact scores.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from snn_asr.data.tokens import Tokens
from snn_asr.decoding.greedy import require_numbers
from snn_asr.decoding.language_models.language_model import AUTO, load_language_model
from snn_asr.decoding.language_models.prefix_scorers import NEVER, PrefixScorer, choose_unit, scorer_of
from snn_asr.errors import UsageError
from snn_asr.files import sha256
from snn_asr.network.tasks import BLANK

LN_10 = math.log(10)
WIDEST = 10_000  # prefixes, which are compared in pairs
LARGEST_WEIGHT = 1e6


@dataclass(frozen=True)
class BeamSettings:
    """The options of a beam search. Raises UsageError for values that cannot work.

    ``width`` prefixes are kept at every frame, and ``alternatives`` are reported. With ``closed_vocabulary`` only words
    (or tokens, with a model of tokens) that the language model knows are found.
    """

    width: int = 10
    language_weight: float = 0.5
    insertion_bonus: float = 0.0
    alternatives: int = 10
    closed_vocabulary: bool = False

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
    """A complete token sequence with its score, of which ``acoustic`` is the part ln P_ctc."""

    tokens: tuple[int, ...]
    score: float
    acoustic: float


class BeamDecoder:
    """Beam search for one set of tokens, with or without a language model.

    ``identity`` holds everything that its results depend on.
    """

    def __init__(
        self, tokens: Tokens, settings: BeamSettings, model_path: str | Path | None = None, unit: str = AUTO
    ) -> None:
        self.settings, self.model_path = settings, model_path
        self.scorer: PrefixScorer | None = None
        self.identity: dict[str, Any] = asdict(settings)
        if settings.closed_vocabulary and model_path is None:
            raise UsageError("there is no language model", "closed vocabulary", "give one, whose words it is")
        if model_path is not None:
            model = load_language_model(model_path)
            unit = choose_unit(model, tokens, unit, model_path)
            self.scorer = scorer_of(model, tokens, unit, settings.closed_vocabulary, model_path)
            self.identity |= {"language_model": sha256(model_path), "level": unit}  # as journals of decode have it

    def __call__(self, log_posteriors: np.ndarray) -> list[Candidate]:
        return search(log_posteriors, self.settings, self.scorer)


def search(log_posteriors: np.ndarray, settings: BeamSettings, scorer: PrefixScorer | None = None) -> list[Candidate]:
    """The ``width`` best token sequences for log posteriors (T, N), best first; without frames the empty one.

    With a closed vocabulary, sequences that end within a word are left out; if all do, they are cut before that word.

    Raises DataError for posteriors that are not numbers.
    """
    frames = log_posteriors.astype(np.float64)
    require_numbers([frames.sum()])
    beam = _Beam(settings, scorer, log_posteriors.shape[1])
    for frame in frames:
        beam.advance(frame)
    return beam.candidates() or beam.candidates_cut_short(frames)


def _acoustic_score(frames: np.ndarray, tokens: Sequence[int]) -> float:
    """ln P_ctc of a token sequence, from log posteriors (T, N)."""
    targets = torch.tensor([tokens], dtype=torch.long)
    lengths = torch.tensor([len(frames)]), torch.tensor([len(tokens)])
    return -functional.ctc_loss(torch.from_numpy(frames)[:, None], targets, *lengths, BLANK, "sum").item()


class _Beam:
    """The prefixes in the beam, as arrays over them, and the tree of all prefixes that have been in it.

    ``blank`` and ``label`` are the logarithms of the summed alignments that end in a blank and in the last token.
    ``extra`` is what the language model and the bonus have added, and ``gains`` (K, N) what they would add for each
    next token.
    """

    def __init__(self, settings: BeamSettings, scorer: PrefixScorer | None, size: int) -> None:
        self.settings, self.scorer, self.size = settings, scorer, size
        self.tree = [(-1, BLANK)]  # for every node its parent and its last token
        self.children: dict[tuple[int, int], int] = {}
        self.states: list[Hashable] = [scorer.start if scorer else None]
        self.nodes, self.parents, self.last = np.array([0]), np.array([-1]), np.array([BLANK])
        self.blank, self.label, self.extra = np.zeros(1), np.full(1, -np.inf), np.zeros(1)
        self.gains = self._gains([0])

    def advance(self, frame: np.ndarray) -> None:
        """Extend the prefixes by one frame of log posteriors (N,)."""
        total = np.logaddexp(self.blank, self.label)
        blank, label = total + frame[BLANK], self.label + frame[self.last]
        grown = total[:, None] + frame
        grown[np.arange(len(total)), self.last] = self.blank + frame[self.last]  # repeating it needs a blank between
        grown[:, BLANK] = -np.inf
        # A prefix that grows into another one of the beam is added to it.
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
        """Keep the prefixes ``kept``, and add those at ``sources`` extended by ``tokens``."""
        added = [self._node(*pair) for pair in zip(self.nodes[sources].tolist(), tokens.tolist(), strict=True)]
        gained = 0.0 if self.gains is None else self.gains[sources, tokens]
        self.extra = np.concatenate([self.extra[kept], self.extra[sources] + gained])
        self.parents = np.concatenate([self.parents[kept], self.nodes[sources]])
        self.nodes = np.concatenate([self.nodes[kept], np.array(added, dtype=np.int64)])
        self.last = np.concatenate([self.last[kept], tokens])
        if self.gains is not None:
            self.gains = np.concatenate([self.gains[kept], self._gains(added)])

    def _node(self, parent: int, token: int) -> int:
        """The node of a prefix extended by a token: the existing one if the prefix has been in the beam before."""
        node = self.children.setdefault((parent, token), len(self.tree))
        if node == len(self.tree):
            self.tree.append((parent, token))
            self.states.append(self.scorer.follow(self.states[parent], token) if self.scorer else None)
        return node

    def _gains(self, nodes: Sequence[int]) -> np.ndarray | None:
        if self.scorer is None:
            return None
        rows = np.empty((len(nodes), self.size))
        for row, node in zip(rows, nodes, strict=True):
            row[:] = self._weighed(*self.scorer.gains(self.states[node]))
        return rows

    def _weighed(self, log10: Any, units: Any) -> Any:
        """The gain in score of log10 p and units, numbers or arrays, each times its weight; NEVER stays NEVER."""
        possible = np.isfinite(log10)
        gained = self.settings.language_weight * LN_10 * np.where(possible, log10, 0.0)
        return np.where(possible, gained + self.settings.insertion_bonus * units, NEVER)

    def candidates(self) -> list[Candidate]:
        found = []
        acoustic = np.logaddexp(self.blank, self.label)
        for node, score, extra in zip(self.nodes.tolist(), acoustic.tolist(), self.extra.tolist(), strict=True):
            found.append(Candidate(self._tokens(node), score + extra + self._finished(node), score))
        return _ranked(found)

    def candidates_cut_short(self, frames: np.ndarray) -> list[Candidate]:
        """The prefixes cut before the word that they end within, scored over all ``frames`` (T, N)."""
        assert self.scorer is not None  # without a language model every prefix may end anywhere
        found: dict[int, Candidate] = {}
        for node, extra in zip(self.nodes.tolist(), self.extra.tolist(), strict=True):
            while (finished := self._finished(node)) == NEVER:
                parent, token = self.tree[node]
                extra -= float(self._weighed(*(each[token] for each in self.scorer.gains(self.states[parent]))))
                node = parent
            if node not in found:
                acoustic = _acoustic_score(frames, self._tokens(node))
                found[node] = Candidate(self._tokens(node), acoustic + extra + finished, acoustic)
        return _ranked(found.values())

    def _finished(self, node: int) -> float:
        """The gain in score of a prefix from the end of the sentence."""
        return float(self._weighed(*self.scorer.finish(self.states[node]))) if self.scorer else 0.0

    def _tokens(self, node: int) -> tuple[int, ...]:
        tokens = []
        while node:
            node, token = self.tree[node]
            tokens.append(token)
        return tuple(reversed(tokens))


def _ranked(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The possible candidates, best first."""
    possible = [each for each in candidates if each.score > NEVER]
    return sorted(possible, key=lambda each: (-each.score, each.tokens))


def _highest(scores: np.ndarray, count: int) -> np.ndarray:
    """The indices of the ``count`` highest possible scores, in no particular order."""
    best = np.argpartition(scores, -count)[-count:] if len(scores) > count else np.arange(len(scores))
    return best[scores[best] > NEVER]
