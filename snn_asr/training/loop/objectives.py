"""The losses that training minimises, one for each task: from logits (B, T, N), lengths and a batch to a mean loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from snn_asr.data.batches import Batch
from snn_asr.network.lengths import Lengths
from snn_asr.network.tasks import BLANK, CLASSIFICATION, TRANSCRIPTION, class_logits


def ctc(logits: Tensor, lengths: Lengths, batch: Batch) -> Tensor:
    """The CTC loss: -log of the summed probability of all alignments, divided by the target's length, as a mean.

    For an utterance that is too short for its target the loss is infinite in training, where such targets are refused
    beforehand, so that none goes unnoticed. On development data, where they are allowed, it counts as 0.
    """
    frames = logits if logits.shape[1] else functional.pad(logits, (0, 0, 0, 1))  # torch needs at least one
    return functional.ctc_loss(
        frames.log_softmax(dim=-1).transpose(0, 1), batch.targets, torch.tensor(lengths.counts),
        batch.target_lengths, blank=BLANK, zero_infinity=not logits.requires_grad,
    )


def last_frame_cross_entropy(logits: Tensor, lengths: Lengths, batch: Batch) -> Tensor:
    """The cross-entropy of the one token at the last valid frame. The blank is not a class, and its output is not
    trained.

    An utterance without a frame counts as a guess among all classes.
    """
    return functional.cross_entropy(class_logits(logits, lengths.tensor), batch.targets[:, 0] - (BLANK + 1))


OBJECTIVES: dict[str, Callable[[Tensor, Lengths, Batch], Tensor]] = {
    TRANSCRIPTION: ctc,
    CLASSIFICATION: last_frame_cross_entropy,
}
