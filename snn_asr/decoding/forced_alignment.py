"""Forced alignment: when the tokens of a known transcript are spoken, by the best CTC alignment of them.

``hear`` runs the network over a recording of any length, divided at its pauses as in decoding, and ``align`` finds the
best alignment of the tokens with all of its frames (as in Kürzinger et al. 2020, CTC-Segmentation, but with the whole
table instead of their window). In frames that the noise gate keeps from the network, the blank is almost certain.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchaudio.functional import forced_align

from snn_asr.data.tokens import Tokens, ctc_frames
from snn_asr.decoding.greedy import Emission
from snn_asr.decoding.segments.segmenter import Segmenter
from snn_asr.errors import DataError
from snn_asr.network.model import AcousticModel
from snn_asr.network.tasks import BLANK

log = logging.getLogger(__name__)

UNHEARD = -30.0  # ln of the posterior of every token in frames that the network was not given
POOR = 0.1  # mean posterior of the tokens, below which a transcript hardly belongs to its recording
MOST_CELLS = 1 << 31  # frames times states, as torchaudio's indices have 32 bits


def align(log_posteriors: np.ndarray, tokens: Sequence[int]) -> list[Emission]:
    """The times of a token sequence in log posteriors (T, N), from its best single alignment (Viterbi).

    The states are blank, token 1, blank, ..., token L, blank. Each state follows itself, the one before, or the token
    before a blank that is skipped; a blank between equal tokens cannot be skipped. Raises DataError if there are too
    few frames for the tokens, or too many of both.
    """
    if not tokens:
        return []
    targets = torch.tensor(tokens, dtype=torch.int32)
    needed = ctc_frames(targets)
    if len(log_posteriors) < needed:
        raise DataError(f"the transcript needs {needed} frames, and the recording has {len(log_posteriors)}")
    if len(log_posteriors) * (2 * len(tokens) + 1) >= MOST_CELLS:
        what = f"{len(log_posteriors)} frames and {len(tokens)} tokens are too many to align at once"
        raise DataError(what, todo="cut the recording and its transcript into parts")
    scores = torch.from_numpy(np.ascontiguousarray(log_posteriors, dtype=np.float32)).unsqueeze(0)
    path = forced_align(scores, targets.unsqueeze(0), blank=BLANK)[0][0].numpy()
    changes = np.flatnonzero(np.diff(path, prepend=BLANK, append=BLANK))
    emissions = []
    for start, end in zip(changes[:-1].tolist(), changes[1:].tolist(), strict=True):
        token = int(path[start])
        if token != BLANK:
            emissions.append(Emission(token, start, end, float(np.exp(log_posteriors[start:end, token]).mean())))
    return emissions


@dataclass(frozen=True, eq=False)
class Heard:
    """A whole recording as the network hears it: log posteriors (T, N), which frames rise above the noise, and the
    number of samples."""

    log_posteriors: np.ndarray
    loud: list[bool]
    samples: int


@torch.no_grad()
def hear(model: AcousticModel, segmenter: Segmenter, blocks: Iterable[Tensor], device: str, most_frames: int) -> Heard:
    """Run the network over the blocks (samples,) of a recording, at most ``most_frames`` frames at a time."""
    bidirectional = model.settings.bidirectional
    state, samples = None, 0
    parts: list[tuple[int, Tensor]] = []
    for block in (*blocks, None):
        if block is None:
            segmenter.finish()
        else:
            samples += len(block)
            segmenter.accept(block)
        while len(frames := segmenter.waiting(most_frames)):
            place = segmenter.frames
            before = None if segmenter.anew or bidirectional else state
            logits, state = model.encode(frames.unsqueeze(0).to(device), torch.tensor([len(frames)]), before)
            own = logits[0].cpu()
            parts.append((place, own[: segmenter.hear(own)].log_softmax(dim=-1)))
    posteriors = np.full((segmenter.frames, model.head.out_features), UNHEARD, dtype=np.float32)
    posteriors[:, BLANK] = 0.0
    for place, rows in parts:
        posteriors[place : place + len(rows)] = rows.numpy()
    loud = [False] * len(posteriors)
    for found in segmenter.results():
        loud[found.first_frame : found.first_frame + len(found.loud)] = found.loud
    return Heard(posteriors, loud, samples)


def spell(tokens: Tokens, text: str) -> list[int]:
    """The token indices of a transcript, in capital or small letters if the tokens spell only those.

    Raises DataError that names what no token can spell.
    """
    if not isinstance(text, str):
        raise DataError(f"a transcript of type {type(text).__name__}", todo="give it as one text")
    for variant in (text, text.lower(), text.upper()):
        try:
            return tokens.encode(variant)
        except DataError:
            continue
    return tokens.encode(text)


def warn_of_poor_fit(name: str, emissions: Sequence[Emission]) -> None:
    """Warn if a transcript hardly belongs to its recording."""
    mean = sum(each.confidence for each in emissions) / max(len(emissions), 1)
    if emissions and mean < POOR:
        log.warning("%s: the transcript hardly fits (mean confidence %.2f): is it that of the recording?", name, mean)
