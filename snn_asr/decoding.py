"""From logits to tokens with times and confidences: greedy CTC, or one class for the whole utterance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

BLANK = 0
TRANSCRIPTION, CLASSIFICATION = "transcription", "classification"


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
    return [merge_repeats(classes[:length], scores[:length]) for classes, scores, length in rows]


def classify(logits: Tensor, lengths: Tensor) -> list[list[Emission]]:
    """Best class at the last frame, as one token over all frames; none for an utterance without a frame.

    logits (B, T, N), lengths (B,) frames.
    """
    posteriors, best = class_logits(logits, lengths).softmax(dim=-1).max(dim=-1)
    rows = zip((best + BLANK + 1).tolist(), posteriors.tolist(), lengths.tolist(), strict=True)
    return [[Emission(token, 0, length, score)] if length else [] for token, score, length in rows]


DECODERS: dict[str, Callable[[Tensor, Tensor], list[list[Emission]]]] = {
    TRANSCRIPTION: greedy,
    CLASSIFICATION: classify,
}
TASKS = tuple(DECODERS)


def decode(task: str, logits: Tensor, lengths: Tensor) -> list[list[Emission]]:
    """The tokens of every utterance, as the model's task reads its logits (B, T, N), lengths (B,) frames."""
    return DECODERS[task](logits, lengths)


def class_logits(logits: Tensor, lengths: Tensor) -> Tensor:
    """(B, T, N) to (B, N - 1): at the last valid frame, without the blank. Zeros where there is no frame."""
    padded = functional.pad(logits, (0, 0, 1, 0))  # row by row, frame ``length`` is now the last valid one
    return padded[torch.arange(len(lengths), device=lengths.device), lengths, BLANK + 1 :]


def merge_repeats(classes: list[int], scores: list[float]) -> list[Emission]:
    """Greedy CTC from the best class of every frame and its posterior: repeats merged, blanks dropped."""
    emissions = []
    start = 0
    for end in range(1, len(classes) + 1):
        if end < len(classes) and classes[end] == classes[start]:
            continue
        if classes[start] != BLANK:
            emissions.append(Emission(classes[start], start, end, sum(scores[start:end]) / (end - start)))
        start = end
    return emissions
