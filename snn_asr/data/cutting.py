"""Training on the beginnings of utterances: the part of a transcript that is spoken before the sound is cut."""

from __future__ import annotations

from snn_asr.data.manifest import Utterance
from snn_asr.data.tokens import Tokens

LONGER = LEFT_OUT, CUT = ("left_out", "cut")  # what a curriculum does with utterances that are too long for it


def cut_transcript(utterance: Utterance, tokens: Tokens, seconds: float) -> str:
    """The transcript of the first ``seconds`` of an utterance.

    Of phones with times in the manifest, those are kept that have ended by then. Words have no times: they are taken as
    spoken at an even pace, and those are kept that would have ended.
    """
    if tokens.kind == "phones" and utterance.phones is not None:
        return tokens.normalize(" ".join(label for label, end in utterance.phones if end <= seconds))
    words = tokens.transcript(utterance).split()
    return " ".join(words[: int(len(words) * min(seconds / utterance.duration, 1.0))])
