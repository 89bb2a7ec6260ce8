"""When the tokens of a known transcript are said: the best alignment that CTC has for them.

``hear`` takes a recording of any length through the network as decoding does, divided at its pauses, and ``align``
finds the best way of the tokens through all its frames (as in Kürzinger et al. 2020, CTC-Segmentation, with the whole
table in place of their window). In frames that the gate keeps from the network the blank is all but certain.
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
from snn_asr.decoding.segmenter import Segmenter
from snn_asr.errors import DataError
from snn_asr.network.model import AcousticModel
from snn_asr.network.tasks import BLANK

log = logging.getLogger(__name__)

UNHEARD = -30.0  # ln of the posterior of every token where the network was given nothing
POOR = 0.1  # mean posterior of the tokens: below it the transcript is hardly that of the recording
MOST_CELLS = 1 << 31  # frames times states, as torchaudio's indices have 32 bits


def align(log_posteriors: np.ndarray, tokens: Sequence[int]) -> list[Emission]:
    """Times of a token sequence in log posteriors (T, N): those of its best single alignment (Viterbi).

    The states are blank, token 1, blank, ..., token L, blank; each follows itself, the one before, or the token before
    a blank that may be left out, which it may not between equal tokens. Raises DataError where the frames are too few
    for the tokens, or both are too many.
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
    """A whole recording: log posteriors (T, N), which of its frames rise above the noise, its samples."""

    log_posteriors: np.ndarray
    loud: list[bool]
    samples: int


@torch.no_grad()
def hear(model: AcousticModel, segmenter: Segmenter, blocks: Iterable[Tensor], device: str, most_frames: int) -> Heard:
    """Take the blocks (samples,) of a recording through the network, at most so many frames at a time."""
    bidirectional = bool(model.settings.encoder_options.get("bidirectional"))
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
    """Token indices of a transcript, in capitals or small letters where these are what the tokens spell.

    Raises DataError naming what no token can spell.
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
    """Say so where a transcript is hardly that of its recording."""
    mean = sum(each.confidence for each in emissions) / max(len(emissions), 1)
    if emissions and mean < POOR:
        log.warning("%s: the transcript hardly fits (mean confidence %.2f): is it that of the recording?", name, mean)
