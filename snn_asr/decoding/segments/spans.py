"""Where the sound of a token begins, which is earlier than where the network is sure of it.

A network trained by CTC answers in peaks: a token is the best class on one or two frames, with blanks around it. The
network hears a sound before it names it, so the peak lies where the sound ends: a word that is one token peaks at its
end. A token is therefore given the time from where its sound may have begun to the end of its peak. It may have begun

    where the token before it ended (white space has no sound and gives its time to the token behind it),
    at most REACH_SECONDS before the peak,
    and not in quiet: frames at the noise floor (noise_gate.py) before the sound are left out, and with them the last
    TAIL_SECONDS of the token before, if that one peaked a little early.

Nothing looks ahead, so that live streams give the times of whole files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from snn_asr.decoding.greedy import Emission

REACH_SECONDS = {"characters": 0.1, "phones": 0.1, "sentencepiece": 0.25, "words": 0.5}
TAIL_SECONDS = 0.06


class Spans:
    """The tokens of one recording, in their order, each from the beginning of its sound to the end of its peak.

    ``labels`` and ``kind`` are those of the model's tokens (``Tokens``); ``step_seconds`` is the time from one frame to
    the next.
    """

    def __init__(self, kind: str, labels: Sequence[str], step_seconds: float) -> None:
        self._labels = labels
        self.reach = max(1, round(REACH_SECONDS[kind] / step_seconds))
        self.tail = round(TAIL_SECONDS / step_seconds)
        self.restart(0)

    def restart(self, frame: int) -> None:
        """Start a segment: the next token cannot begin before this frame."""
        self._previous_end = self._first = frame

    def accept(self, emissions: Iterable[Emission], loud: Sequence[bool], first_frame: int) -> list[Emission]:
        """The next tokens with their spans; ``loud`` says which frames from ``first_frame`` on rise above the noise."""
        found = []
        for each in emissions:
            found.append(self.of(each, loud, first_frame))
            if not self._labels[each.token].isspace():
                self._previous_end = each.end_frame
        return found

    def of(self, emission: Emission, loud: Sequence[bool], first_frame: int) -> Emission:
        """Like ``accept``, for one token that may still grow."""
        peak = emission.start_frame
        earliest = min(peak, max(self._previous_end, peak - self.reach))
        before = [loud[frame - first_frame] for frame in range(earliest, peak)]
        follows = earliest == self._previous_end > self._first
        skipped = _run(before, True) if follows else 0
        if skipped == len(before) or skipped > self.tail:
            skipped = 0
        skipped += _run(before[skipped:], False)
        return replace(emission, start_frame=earliest + skipped)


def _run(frames: Sequence[bool], value: bool) -> int:
    """How many frames at the beginning are ``value``."""
    return next((index for index, each in enumerate(frames) if each != value), len(frames))
