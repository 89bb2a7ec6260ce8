"""Decoding without a search, from logits to tokens with times and confidences: greedy CTC, or one class."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snn_asr.decoding.hypothesis import Token
from snn_asr.errors import DataError
from snn_asr.network.tasks import BLANK, CLASSIFICATION, TRANSCRIPTION, class_logits


@dataclass(frozen=True)
class Emission:
    """A decoded token: its id, the frames [start, end) on which it was best, and its mean posterior there.

    segments/spans.py moves the start to where the sound of the token begins.
    """

    token: int
    start_frame: int
    end_frame: int
    confidence: float

    def later(self, frames: int) -> Emission:
        """The same token, moved later by ``frames``."""
        return Emission(self.token, self.start_frame + frames, self.end_frame + frames, self.confidence)

    def timed(self, labels: Sequence[str], step_seconds: float) -> Token:
        """The token with its label and times in seconds; ``step_seconds`` is the time from one frame to the next."""
        start, end = self.start_frame * step_seconds, self.end_frame * step_seconds
        return Token(labels[self.token], start, end, self.confidence)


def greedy(logits: Tensor, lengths: Tensor) -> list[list[Emission]]:
    """The best class of every frame with repeats merged and blanks dropped, from logits (B, T, N) and lengths (B,)."""
    posteriors, best = logits.softmax(dim=-1).max(dim=-1)
    rows = zip(best.tolist(), posteriors.tolist(), lengths.tolist(), strict=True)
    return [merge_repeats(classes[:length], scores[:length]) for classes, scores, length in rows]


def classify(logits: Tensor, lengths: Tensor) -> list[list[Emission]]:
    """The best class at the last frame, as one token over all frames, from logits (B, T, N) and lengths (B,).

    An utterance without frames has no token.
    """
    posteriors, best = class_logits(logits, lengths).softmax(dim=-1).max(dim=-1)
    rows = zip((best + BLANK + 1).tolist(), posteriors.tolist(), lengths.tolist(), strict=True)
    return [[Emission(token, 0, length, score)] if length else [] for token, score, length in rows]


DECODERS: dict[str, Callable[[Tensor, Tensor], list[list[Emission]]]] = {
    TRANSCRIPTION: greedy,
    CLASSIFICATION: classify,
}


def decode(task: str, logits: Tensor, lengths: Tensor) -> list[list[Emission]]:
    """The tokens of every utterance for a model of this task, from logits (B, T, N) and lengths (B,)."""
    return DECODERS[task](logits, lengths)


def merge_repeats(classes: list[int], scores: list[float]) -> list[Emission]:
    """Greedy CTC from the best class of every frame and its posterior: repeats merged, blanks dropped."""
    stream = GreedyStream()
    return [*stream.merge(classes, scores), *stream.finish()]


class GreedyStream:
    """Greedy CTC of frames that arrive in chunks: a token is returned once it is no longer the best."""

    def __init__(self) -> None:
        self._frames, self.trailing_blanks = 0, 0
        self._token = BLANK
        self._scores: list[float] = []

    @property
    def open(self) -> Emission | None:
        """The unfinished token of the last frame, whose end and confidence may still change, or None."""
        if self._token == BLANK:
            return None
        confidence = sum(self._scores) / len(self._scores)
        return Emission(self._token, self._frames - len(self._scores), self._frames, confidence)

    def accept(self, logits: Tensor) -> list[Emission]:
        """Take logits (T, N) and return the tokens that have ended. Raises DataError for logits that are not
        numbers."""
        posteriors, best = logits.softmax(dim=-1).max(dim=-1)
        scores = posteriors.tolist()
        require_numbers(scores)
        return self.merge(best.tolist(), scores)

    def merge(self, classes: list[int], scores: list[float]) -> list[Emission]:
        """Like ``accept``, from the best class of each frame and its posterior."""
        ended = []
        for token, score in zip(classes, scores, strict=True):
            if token != self._token:
                ended += self.finish()
                self._token = token
            self._frames += 1
            if token == BLANK:
                self.trailing_blanks += 1
            else:
                self._scores.append(score)
        return ended

    def skip(self, frames: int) -> None:
        """Count frames that the network was not given, between ``finish`` and the next ``accept``."""
        self._frames += frames

    def finish(self) -> list[Emission]:
        """End the open token, if there is one, and return it. Trailing blanks are counted from 0 again, frames are
        not."""
        token = self.open
        self._token, self._scores, self.trailing_blanks = BLANK, [], 0
        return [] if token is None else [token]


class ClassStream:
    """``classify`` for frames that arrive in chunks: only the last frame counts."""

    open, trailing_blanks = None, 0

    def __init__(self) -> None:
        self._frames = 0
        self._last: Tensor | None = None

    def accept(self, logits: Tensor) -> list[Emission]:
        self._frames, self._last = self._frames + len(logits), logits[-1:]
        return []

    def skip(self, frames: int) -> None:
        """Nothing to do: frames outside a segment do not count."""

    def finish(self) -> list[Emission]:
        """The class, if there was a frame. Raises DataError for logits that are not numbers."""
        if self._last is None:
            return []
        (token,) = classify(self._last.unsqueeze(0), torch.ones(1, dtype=torch.int64))[0]
        require_numbers([token.confidence])
        frames, self._frames, self._last = self._frames, 0, None
        return [Emission(token.token, 0, frames, token.confidence)]


def require_numbers(posteriors: Iterable[float]) -> None:
    """Raise DataError for NaN, which results from logits that are NaN or infinite, because weights are far too
    large."""
    if any(map(math.isnan, posteriors)):
        raise DataError("what the model computes from it overflows: these are no numbers", todo="train the model again")


STREAMS: dict[str, type[GreedyStream] | type[ClassStream]] = {
    TRANSCRIPTION: GreedyStream,
    CLASSIFICATION: ClassStream,
}
