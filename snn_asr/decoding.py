"""Greedy CTC decoding with token times and confidences."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

BLANK = 0


@dataclass(frozen=True)
class Emission:
    """A decoded token: its id, the frames [start, end) on which it was best, and its mean posterior there."""

    token: int
    start_frame: int
    end_frame: int
    confidence: float


def greedy(logits: Tensor, lengths: Tensor) -> list[list[Emission]]:
    """Best class of every frame, repeats merged, blanks dropped. logits (B, T, N), lengths (B,) frames."""
    posteriors, best = logits.softmax(dim=-1).max(dim=-1)
    rows = zip(best.tolist(), posteriors.tolist(), lengths.tolist(), strict=True)
    return [_merge(classes[:length], scores[:length]) for classes, scores, length in rows]


def _merge(classes: list[int], scores: list[float]) -> list[Emission]:
    emissions = []
    start = 0
    for end in range(1, len(classes) + 1):
        if end < len(classes) and classes[end] == classes[start]:
            continue
        if classes[start] != BLANK:
            emissions.append(Emission(classes[start], start, end, sum(scores[start:end]) / (end - start)))
        start = end
    return emissions
