"""Dividing one recording into segments: which frames the network is given, where it starts anew, what it recognised.

Both engines and live streams use this, so that all find the same segments. Their loop is:

    segmenter.accept(samples)                       # or finish(), at the end
    while len(frames := segmenter.waiting(limit)):
        if segmenter.anew: state = None             # the frames begin a segment: start from the zero state
        segmenter.hear(logits of the frames)        # takes all of them, or those up to the end of the segment
    for found in segmenter.results(): ...

The noise gate (noise_gate.py) keeps silence and steady noise from the network. A segment ends when the gate finds rest,
or after blanks, as the endpointer decides (endpointing.py). Between segments the network returns to its zero state, in
which every utterance began in training. Tokens have the times of their sound (spans.py).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.tokens import Tokens
from snn_asr.decoding.encoder_inputs import EncoderInputs
from snn_asr.decoding.greedy import STREAMS, Emission
from snn_asr.decoding.segments.endpointing import DEFAULT, Endpointer, EndpointSettings, require_settings
from snn_asr.decoding.segments.noise_gate import Gate, group_energies
from snn_asr.decoding.segments.spans import Spans
from snn_asr.network.tasks import TRANSCRIPTION

_ALL = 1 << 62  # frames


@dataclass(frozen=True)
class Found:
    """Tokens that have ended, and whether their segment has ended with them.

    ``first_frame`` is where the segment begins. For a segment that has ended, ``loud`` says which of its frames rise
    above the noise, if the segmenter keeps this.
    """

    emissions: list[Emission]
    ended: bool
    first_frame: int
    loud: tuple[bool, ...] = ()


class _End:
    """Marks the end of a segment among the waiting frames."""


class Segmenter:
    """Divides one recording. It is a single segment without ``endpointing``, and for a model that classifies.

    With ``whole`` the network is given a segment only when its end is known, as a bidirectional one needs. With
    ``with_loud`` all loud frames of a segment are remembered to its end, for a search over the whole segment; otherwise
    only as many as a token may still need.
    """

    def __init__(
        self, inputs: EncoderInputs, features: FeatureSettings, task: str, tokens: Tokens,
        endpointing: EndpointSettings | None, whole: bool = False, with_loud: bool = False,
    ) -> None:
        require_settings(endpointing)
        self._inputs, self._features, self._whole, self._with_loud = inputs, features, whole, with_loud
        self._decoder = STREAMS[task]()
        timed = task == TRANSCRIPTION and not features.segments
        self._endpointing = endpointing if timed else None
        self._spans = Spans(tokens.kind, tokens.labels, features.stacked_seconds) if timed else None
        self._gate = Gate(features.stacked_seconds, (endpointing or DEFAULT).silence_seconds) if timed else None
        self._loud: list[bool] = []  # of the frames from _first_loud on: whether they rise above the noise
        self._first_loud = 0
        self._held = torch.empty(0, dtype=torch.float32)  # frames before the gate, (t, D), while it is not open
        self._queue: deque[Tensor | int | _End] = deque()  # frames; numbers of frames left out; ends
        self._results: list[Found] = []
        self._first_frame = self._frames = 0
        self._begin()

    def accept(self, samples: Tensor) -> None:
        """Take samples (n,)."""
        self._sort(*self._inputs.accept(samples))

    def finish(self) -> None:
        """End the recording and its last segment. Frames that the gate holds go to the network if they may be
        speech."""
        self._sort(*self._inputs.finish())
        if self._gate is not None and len(self._held):
            self._enqueue(self._held if self._gate.passes_at_the_end else len(self._held))
        self._queue.append(_End())

    @property
    def frames(self) -> int:
        """The number of frames so far, with those that the network was not given."""
        return self._frames

    @property
    def open(self) -> Emission | None:
        """The unfinished token of the last frame that was heard, or None."""
        token = self._decoder.open
        return token if token is None or self._spans is None else self._spans.of(token, self._loud, self._first_loud)

    @property
    def room(self) -> int:
        """A number of frames in which the segment cannot end before the last of them."""
        return _ALL if self._endpointer is None else self._endpointer.room

    @property
    def whole_segment(self) -> bool:
        """Whether the waiting frames reach to the end of their segment."""
        return len(self._queue) > 1

    def waiting(self, limit: int | None = None) -> Tensor:
        """The next frames (t, D) for the network, at most ``limit`` (by default ``room``); none if more sound is
        needed.

        They stay here until they are heard.
        """
        while self._queue:
            head = self._queue[0]
            if isinstance(head, Tensor):
                ready = not self._whole or self.whole_segment
                most = _ALL if self._whole else limit or self.room
                return head[: min(len(head), most)] if ready else head[:0]
            self._queue.popleft()
            if isinstance(head, int):
                self._decoder.skip(head)
                self._frames += head
                self._begin()
            else:
                self._end()
        return torch.empty(0, dtype=torch.float32)

    def hear(self, logits: Tensor) -> int:
        """Take the logits (t, N) of the first waiting frames up to the end of the segment, and return how many that
        are."""
        self.anew, heard = False, 0
        while heard < len(logits):
            some = logits[heard : heard + self.room]
            emissions = self._decoder.accept(some)
            if emissions:
                self._results.append(Found(self._spanned(emissions), False, self._first_frame))
            heard += len(some)
            self._frames += len(some)
            self._forget_loud()
            if self._endpointer and self._endpointer.accept(len(some), self._decoder.trailing_blanks):
                self._end()
                break
        head = self._queue.popleft()
        if isinstance(head, Tensor) and heard < len(head):
            self._queue.appendleft(head[heard:])
        return heard

    def results(self) -> list[Found]:
        """What was found since the last call."""
        found, self._results = self._results, []
        return found

    def _sort(self, inputs: Tensor, plain: Tensor) -> None:
        """Let frames pass the gate, hold them, or drop them."""
        if self._gate is None:
            self._enqueue(inputs)
            return
        if self._endpointing is None:
            for energies in group_energies(plain, self._features):
                self._gate.step(energies)
                self._loud.append(self._gate.above)
            self._enqueue(inputs)
            return
        frames = torch.cat((self._held, inputs)) if len(self._held) else inputs
        begin, place = 0, len(self._held)
        for energies in group_energies(plain, self._features):
            place, decided = place + 1, self._gate.decided
            moves = self._gate.step(energies)
            self._loud.append(self._gate.above)
            if not moves:
                continue
            if self._gate.open:
                lead = max(begin, place - self._gate.lead) if decided else begin
                self._enqueue(lead - begin)
                begin = lead
            else:
                self._enqueue(frames[begin : max(begin, place - self._gate.doubtful)])
                self._queue.append(_End())
                self._enqueue(min(self._gate.doubtful, place - begin))
                begin = place
        if self._gate.open:
            passed = max(begin, len(frames) - self._gate.doubtful)
            self._enqueue(frames[begin:passed])
            begin = passed
        elif self._gate.decided:
            lead = max(begin, len(frames) - self._gate.lead)
            self._enqueue(lead - begin)
            begin = lead
        self._held = frames[begin:]

    def _enqueue(self, item: Tensor | int) -> None:
        last = self._queue[-1] if self._queue else None
        if isinstance(item, int):
            if item and isinstance(last, int):
                self._queue[-1] = last + item
            elif item:
                self._queue.append(item)
        elif len(item):
            if isinstance(last, Tensor):
                self._queue[-1] = torch.cat((last, item))
            else:
                self._queue.append(item)

    def _spanned(self, emissions: list[Emission]) -> list[Emission]:
        return emissions if self._spans is None else self._spans.accept(emissions, self._loud, self._first_loud)

    def _forget_loud(self) -> None:
        """Forget loud frames that no later token can reach back to."""
        if self._spans is not None and not self._with_loud:
            token = self._decoder.open
            needed = (self._frames if token is None else token.start_frame) - self._spans.reach
            del self._loud[: max(0, needed - self._first_loud)]
            self._first_loud = max(needed, self._first_loud)

    def _end(self) -> None:
        loud = tuple(self._loud[: self._frames - self._first_loud]) if self._with_loud else ()
        self._results.append(Found(self._spanned(self._decoder.finish()), True, self._first_frame, loud))
        self._begin()

    def _begin(self) -> None:
        self.anew, self._first_frame = True, self._frames
        if self._spans is not None:
            self._spans.restart(self._frames)
            del self._loud[: self._frames - self._first_loud]
            self._first_loud = self._frames
        settings = None if self._whole else self._endpointing
        self._endpointer = None if settings is None else Endpointer(settings, self._features.stacked_seconds)
