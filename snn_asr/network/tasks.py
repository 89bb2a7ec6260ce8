"""What the logits of a model mean: tokens in time with the CTC blank as class 0, or one class for the utterance."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

BLANK = 0
TRANSCRIPTION, CLASSIFICATION = TASKS = ("transcription", "classification")
CLASS_ERRORS = ("last", "every")  # the steps at which training on classes has an error


def class_logits(logits: Tensor, lengths: Tensor) -> Tensor:
    """(B, T, N) to (B, N - 1): at the last valid frame, without the blank. Zeros where there is no frame."""
    padded = functional.pad(logits, (0, 0, 1, 0))  # row by row, frame ``length`` is now the last valid one
    return padded[torch.arange(len(lengths), device=lengths.device), lengths, BLANK + 1 :]
