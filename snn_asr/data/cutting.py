"""Training on the beginnings of utterances: which part of a transcript has been spoken when the sound is cut."""

from __future__ import annotations

from snn_asr.data.manifest import Utterance
from snn_asr.data.tokens import Tokens

LONGER = LEFT_OUT, CUT = ("left_out", "cut")  # what a curriculum does to utterances that are too long for it


def cut_transcript(utterance: Utterance, tokens: Tokens, seconds: float) -> str:
    """The transcript of the first ``seconds`` of an utterance.

    Phones whose ends the manifest tells are those that have ended. Of words no times are known: they count as spoken
    at an even pace, and only those that would have ended are kept.
    """
    if tokens.kind == "phones" and utterance.phones is not None:
        return tokens.normalize(" ".join(label for label, end in utterance.phones if end <= seconds))
    words = tokens.transcript(utterance).split()
    return " ".join(words[: int(len(words) * min(seconds / utterance.duration, 1.0))])
