"""One recording on its way through a network: which frames it is given, where it starts anew, what was recognised.

Both engines and live streams divide a recording here, so that all find the same segments. The loop around it:

    segmenter.accept(samples)                       # or finish(), at the end
    while len(frames := segmenter.waiting(limit)):
        if segmenter.anew: state = None             # the frames begin a segment: the network starts from zero
        segmenter.hear(logits of the frames)        # takes some of them or all
    for found in segmenter.results(): ...

The gate (noise_gate.py) keeps silence and steady noise from the network; segments end at the gate's rest, or after
blanks, as the endpointer says (endpointing.py). Between segments the network goes back to its zero state, in which
every utterance of the training began. Tokens come with the times of their sound (spans.py).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.tokens import Tokens
from snn_asr.decoding.encoder_inputs import EncoderInputs
from snn_asr.decoding.endpointing import DEFAULT, Endpointer, EndpointSettings
from snn_asr.decoding.greedy import STREAMS, Emission
from snn_asr.decoding.noise_gate import Gate, group_energies
from snn_asr.decoding.spans import Spans
from snn_asr.network.tasks import TRANSCRIPTION

_ALL = 1 << 62  # frames


@dataclass(frozen=True)
class Found:
    """Tokens that have ended, and whether a segment ended with them; ``first_frame`` is where the segment began.

    ``loud``, of a segment that has ended, tells which of its frames rise above the noise, if the segmenter keeps it.
    """

    emissions: list[Emission]
    ended: bool
    first_frame: int
    loud: tuple[bool, ...] = ()


class _End:
    """Marks the end of a segment among the frames that wait."""


class Segmenter:
    """One recording; without ``endpointing``, and of a model that classifies, it is one segment from start to end.

    ``whole``: the network needs a segment to its end before it begins (a bidirectional one). ``with_loud``: keep which
    frames of a segment are loud to its end, for who searches it as a whole; otherwise what a token may still ask for.
    """

    def __init__(
        self, inputs: EncoderInputs, features: FeatureSettings, task: str, tokens: Tokens,
        endpointing: EndpointSettings | None, whole: bool = False, with_loud: bool = False,
    ) -> None:
        self._inputs, self._features, self._whole, self._with_loud = inputs, features, whole, with_loud
        self._decoder = STREAMS[task]()
        timed = task == TRANSCRIPTION and not features.segments
        self._endpointing = endpointing if timed else None
        self._spans = Spans(tokens.kind, tokens.labels, features.stacked_seconds) if timed else None
        self._gate = Gate(features.stacked_seconds, (endpointing or DEFAULT).silence_seconds) if timed else None
        self._loud: list[bool] = []  # of the frames from _first_loud on: whether they rise above the noise
        self._first_loud = 0
        self._held = torch.empty(0)  # frames before the gate, (t, D), while it is not open
        self._queue: deque[Tensor | int | _End] = deque()  # frames; numbers of frames left out; ends
        self._results: list[Found] = []
        self._first_frame = self._frames = 0
        self._begin()

    def accept(self, samples: Tensor) -> None:
        """Take samples (n,)."""
        self._sort(*self._inputs.accept(samples))

    def finish(self) -> None:
        """The recording has ended: what is held goes to the network if it may be speech, and the last segment ends."""
        self._sort(*self._inputs.finish())
        if self._gate is not None and len(self._held):
            self._enqueue(self._held if self._gate.open or not self._gate.decided else len(self._held))
        self._queue.append(_End())

    @property
    def frames(self) -> int:
        """Frames so far, those that were heard and those that were left out."""
        return self._frames

    @property
    def open(self) -> Emission | None:
        """The token of the last frame that was heard, as far as it has come."""
        token = self._decoder.open
        return token if token is None or self._spans is None else self._spans.of(token, self._loud, self._first_loud)

    @property
    def room(self) -> int:
        """So many frames are sure not to hold the end of a segment before the last of them."""
        return _ALL if self._endpointer is None else self._endpointer.room

    @property
    def whole_segment(self) -> bool:
        """The frames that wait reach to the end of their segment."""
        return len(self._queue) > 1

    def waiting(self, limit: int | None = None) -> Tensor:
        """The next frames (t, D) for the network, at most ``limit`` or, without, ``room``; none where more sound is
        needed. They stay here until they are heard."""
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
        return torch.empty(0)

    def hear(self, logits: Tensor) -> int:
        """Take logits (t, N) of the first frames that wait, as far as the segment reaches; returns how many."""
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
        """What was found since this was last asked for."""
        found, self._results = self._results, []
        return found

    def _sort(self, inputs: Tensor, plain: Tensor) -> None:
        """Let the frames through the gate, or hold them before it."""
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
        """No token to come begins so long ago."""
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
