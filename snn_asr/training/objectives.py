"""What training minimises, one function a task: (logits (B, T, N), their lengths, batch) to a mean loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from snn_asr.data.batches import Batch
from snn_asr.network.lengths import Lengths
from snn_asr.network.tasks import BLANK, CLASSIFICATION, TRANSCRIPTION, class_logits


def ctc(logits: Tensor, lengths: Lengths, batch: Batch) -> Tensor:
    """-log of the summed probability of all alignments, for each token of the target, averaged over utterances.

    An utterance too short for its target is infinite in training, where targets were checked, so that it cannot go
    unnoticed; it counts as 0 without gradient, on development data, where it may stay.
    """
    frames = logits if logits.shape[1] else functional.pad(logits, (0, 0, 0, 1))  # torch wants one at least
    return functional.ctc_loss(
        frames.log_softmax(dim=-1).transpose(0, 1), batch.targets, torch.tensor(lengths.counts),
        batch.target_lengths, blank=BLANK, zero_infinity=not logits.requires_grad,
    )


def last_frame_cross_entropy(logits: Tensor, lengths: Lengths, batch: Batch) -> Tensor:
    """Cross-entropy of the one token at the last valid frame. The blank is no class: its output is not trained.

    An utterance without a frame counts as a guess among all classes.
    """
    return functional.cross_entropy(class_logits(logits, lengths.tensor), batch.targets[:, 0] - (BLANK + 1))


OBJECTIVES: dict[str, Callable[[Tensor, Lengths, Batch], Tensor]] = {
    TRANSCRIPTION: ctc,
    CLASSIFICATION: last_frame_cross_entropy,
}
