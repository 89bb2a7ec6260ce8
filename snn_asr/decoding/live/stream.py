"""Recognition while the sound arrives, frame by frame, with work only for events.

    stream = recognizer.stream()
    for samples in microphone:                  # float in [-1, 1] or 16-bit, any number at a time
        for event in stream.accept(samples):
            print(event.kind, event.text)
    stream.finish()

Samples become frames as in a whole file (features.FeatureStream), and the segmenter (segments/segmenter.py) decides
which of them the network is given. The event engine (events/engine.py) computes their logits in one compiled call, and
greedy CTC turns these into tokens. The results do not depend on how the samples are cut, and are those of the batch
engine except for the rounding of sums. Partial words are stable: they grow and become final, and nothing is taken back.

A stream holds some ten kilobytes (``Stream.nbytes``). All streams of a recogniser share the weights, which no stream
writes to, so that each may run in a thread of its own. A single stream may be used by one thread at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from snn_asr.data.audio import Downmix, Samples
from snn_asr.data.features import FeatureExtractor
from snn_asr.data.tokens import Tokens
from snn_asr.decoding.encoder_inputs import EncoderInputs
from snn_asr.decoding.greedy import Emission
from snn_asr.decoding.hypothesis import WORD_START, Token, Word, words
from snn_asr.decoding.segments.endpointing import EndpointSettings
from snn_asr.decoding.segments.segmenter import Segmenter
from snn_asr.network.model import AcousticModel

if TYPE_CHECKING:
    from snn_asr.events.engine import EventNetwork

PARTIAL, WORD, SEGMENT = "partial", "word", "segment"


@dataclass(frozen=True)
class StreamEvent:
    """Something that became known. Times count from the start of the stream.

    ``kind`` is ``partial`` (the word being spoken has grown to ``text``), ``word`` (a word is final) or ``segment`` (a
    stretch of speech, with all its ``tokens``, has ended).
    """

    kind: str
    text: str
    start_seconds: float
    end_seconds: float
    confidence: float | None = None
    tokens: tuple[Token, ...] = ()

    def record(self) -> dict:
        """JSON values: times to the millisecond, the confidence to four digits."""
        record = {
            "type": self.kind, "text": self.text, "start": round(self.start_seconds, 3),
            "end": round(self.end_seconds, 3),
        }
        return record if self.confidence is None else record | {"confidence": round(self.confidence, 4)}


class Stream:
    """The recognition of one waveform of any length at the model's sample rate; ``Recognizer.stream`` makes it.

    Raises UsageError for a model whose features need whole utterances.
    """

    def __init__(
        self, model: AcousticModel, tokens: Tokens, extractor: FeatureExtractor, network: EventNetwork,
        endpointing: EndpointSettings | None,
    ) -> None:
        extractor.settings.require_streaming()
        self._inputs, self._features = EncoderInputs(model, extractor), extractor.settings
        self._task = model.settings.task
        self._network, self._state = network, network.initial_state()
        self._input_coder, self._coded = model.encoder.input_coder, None
        self._tokens, self._endpointing = tokens, endpointing
        self._begin()

    @property
    def nbytes(self) -> int:
        """The size of the network's state in bytes."""
        return self._state.nbytes

    @property
    def sent(self) -> np.ndarray:
        """The numbers (L + 1,) of events so far, of the features and of each layer."""
        return self._state.sent

    def accept(self, samples: Samples) -> list[StreamEvent]:
        """Take samples (``audio.waveform`` says of which types), and return what has become known.

        Raises DataError for samples that are not finite, and if the channels were in opposite phase for a second: their
        average is silence.
        """
        mono = self._downmix.waveform(samples)
        if self._downmix.samples >= self._features.sample_rate:
            self._downmix.require_sound()
        self._segmenter.accept(mono)
        return [*self._recognize(), *self._words.grown(self._segmenter.open)]

    def finish(self) -> list[StreamEvent]:
        """The last events at the end of the waveform. The stream is then ready for another one.

        Raises DataError if all of its channels were in opposite phase.
        """
        try:
            self._downmix.require_sound()
            self._segmenter.finish()
            return self._recognize()
        finally:
            self._begin()

    def _begin(self) -> None:
        self._downmix = Downmix()
        self._segmenter = Segmenter(self._inputs, self._features, self._task, self._tokens, self._endpointing)
        self._words = WordStream(self._tokens, self._features.stacked_seconds)

    @torch.no_grad()
    def _recognize(self) -> list[StreamEvent]:
        while len(frames := self._segmenter.waiting()):
            if self._segmenter.anew:
                self._state.reset()
                self._coded = None
            self._segmenter.hear(self._logits(frames))
        events = []
        for found in self._segmenter.results():
            events += self._words.accept(found.emissions)
            if found.ended:
                events += self._words.finish()
        return events

    def _logits(self, frames: Tensor) -> Tensor:
        """The logits (T, N) of encoder inputs (T, D)."""
        if self._input_coder is not None:
            coded, self._coded = self._input_coder(frames.unsqueeze(0), torch.tensor([len(frames)]), self._coded)
            frames = coded.squeeze(0)
        return torch.from_numpy(self._network.run(frames.contiguous().numpy(), self._state))


class WordStream:
    """Turns tokens into the events of a stream as soon as they are certain."""

    def __init__(self, tokens: Tokens, step_seconds: float) -> None:
        self._tokens, self._step_seconds = tokens, step_seconds
        self._segment: list[Emission] = []
        self._pending: list[Token] = []  # of the word that has not ended
        self._shown = ""  # of that word, in a partial event

    def accept(self, ended: list[Emission]) -> list[StreamEvent]:
        """The words that end with these tokens."""
        events = []
        for each in ended:
            self._segment.append(each)
            token = self._timed(each)
            if self._begins_word(token):
                events += self._end_word()
            self._pending.append(token)
            if self._tokens.kind in ("words", "phones"):
                events += self._end_word()
        return events

    def grown(self, open_token: Emission | None) -> list[StreamEvent]:
        """The unfinished word, with the token that is still open, if it has changed since the last event."""
        pending = self._pending if open_token is None else [*self._pending, self._timed(open_token)]
        if open_token is not None and self._begins_word(pending[-1]):
            pending = pending[-1:]
        found = words(pending, self._tokens.kind)
        if not found or found[-1].text == self._shown:
            return []
        self._shown = found[-1].text
        return [_event(PARTIAL, found[-1])]

    def finish(self) -> list[StreamEvent]:
        """The last word and the segment; nothing if there was no token."""
        events, segment = self._end_word(), self._segment
        self._segment = []
        if not segment:
            return events
        tokens = tuple(self._timed(each) for each in segment)
        text = self._tokens.decode(each.token for each in segment)
        start, end = tokens[0].start_seconds, tokens[-1].end_seconds
        return [*events, StreamEvent(SEGMENT, text, start, end, min(each.confidence for each in tokens), tokens)]

    def _end_word(self) -> list[StreamEvent]:
        ended = words(self._pending, self._tokens.kind)
        self._pending, self._shown = [], ""
        return [_event(WORD, each) for each in ended]

    def _begins_word(self, token: Token) -> bool:
        if self._tokens.kind == "characters":
            return token.label.isspace()
        return self._tokens.kind == "sentencepiece" and token.label.startswith(WORD_START)

    def _timed(self, each: Emission) -> Token:
        return each.timed(self._tokens.labels, self._step_seconds)


def _event(kind: str, word: Word) -> StreamEvent:
    return StreamEvent(kind, word.text, word.start, word.end, word.confidence)
