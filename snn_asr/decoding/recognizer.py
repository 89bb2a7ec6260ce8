"""A trained model at work: files, waveforms or live sound to transcripts.

    model = snn_asr.load_model("runs/fsdd")
    print(model.transcribe("digits.wav").text)
    stream = model.stream()                       # live/stream.py: live sound

There are two engines. ``batch`` takes several recordings together, block by block, on any device (batch_engine.py).
``event`` goes frame by frame on one CPU core and reads only the weights of units that have fired (events/engine.py).
Both divide a recording at its pauses in the same way (segments/segmenter.py); ``endpointing`` says how, and None leaves
it whole.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
import torch
from torch import Tensor

from snn_asr.data.audio import AudioSource, is_samples, read_audio, read_blocks
from snn_asr.data.batches import pad
from snn_asr.data.features import FeatureExtractor
from snn_asr.decoding.batch_engine import BLOCK_SECONDS, BatchRecording, recognize
from snn_asr.decoding.beam import BeamDecoder, BeamSettings
from snn_asr.decoding.encoder_inputs import EncoderInputs
from snn_asr.decoding.forced_alignment import align, hear, spell, warn_of_poor_fit
from snn_asr.decoding.greedy import require_numbers
from snn_asr.decoding.hypothesis import Hypothesis, Segment
from snn_asr.decoding.language_models.language_model import AUTO
from snn_asr.decoding.live.stream import SEGMENT, Stream
from snn_asr.decoding.segments.endpointing import DEFAULT, EndpointSettings
from snn_asr.decoding.segments.segmenter import Found, Segmenter
from snn_asr.decoding.segments.timed_segments import aligned_segment, searched_segment, timed_segment
from snn_asr.devices import choose_device
from snn_asr.errors import DataError, UsageError, as_user_error, unknown_name
from snn_asr.network import model_folder as models
from snn_asr.network.integers import FLOAT32, WEIGHT_PRECISIONS
from snn_asr.network.model import AcousticModel
from snn_asr.network.tasks import TRANSCRIPTION

if TYPE_CHECKING:
    from snn_asr.events.engine import EventNetwork

ENGINES = BATCH, EVENT = "batch", "event"
BATCH_FILES = 16
Waveform = Tensor | Iterable[Tensor]  # whole, or in blocks
_BLOCK_SAMPLES = 160_000


def require_search(engine: str, beam: object, option: str = "--beam") -> None:
    """Raise UsageError if a ``beam`` is asked for (anything but None), by this option, of an engine that has no
    search."""
    if engine == EVENT and beam is not None:
        raise UsageError("the event engine decodes greedily", option, "leave it out, or use --engine batch")


class Recognizer:
    """The model of a folder, or a shipped one by its name, ready for recordings, samples and live sound.

    ``model``, ``tokens`` and ``metrics`` are the content of the folder, and ``fingerprint`` stands for it.
    ``extractor`` makes frames as in training. ``endpointing`` may be set; ``use_engine`` and ``use_beam`` choose the
    engine and the beam search. ``device`` is as for ``snn_asr.load_model``. Raises DataError if the folder is missing
    or damaged, and UsageError for a device that does not exist.
    """

    def __init__(self, folder: str | Path, device: str | torch.device = "auto") -> None:
        self.device = choose_device(device)
        loaded = models.load(folder, self.device)
        self.model, self.tokens, self.metrics = loaded.model, loaded.tokens, loaded.metrics
        self.fingerprint = loaded.fingerprint
        self.extractor = FeatureExtractor(self.model.settings.features)
        self.beam: BeamDecoder | None = None
        self.endpointing: EndpointSettings | None = DEFAULT
        self.engine, self._precision = BATCH, self.model.precision
        self._networks: dict[tuple[str, bool], EventNetwork] = {}
        self._building = threading.Lock()

    @classmethod
    def with_engine(cls, folder: str | Path, engine: str, precision: str | None, device: str) -> Recognizer:
        """The model of a folder with its engine chosen, as ``use_engine`` does.

        Of ``auto`` the event engine takes the CPU, even if there is a GPU, because it runs on no other device.
        """
        recognizer = cls(folder, "cpu" if engine == EVENT and device == "auto" else device)
        recognizer.use_engine(engine, precision)
        return recognizer

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the event engine, which is built anew: for pickle, and so for other processes, and for
        copies."""
        return {name: value for name, value in self.__dict__.items() if name != "_building"} | {"_networks": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._building = threading.Lock()

    def use_engine(self, engine: str, precision: str | None = None) -> None:
        """Use the engine ``batch`` or ``event`` from now on, with weights of a ``precision`` as for ``network``.

        Raises UsageError for an unknown name, and if the event engine cannot run this model in this way.
        """
        if engine not in ENGINES:
            raise unknown_name("engine", engine, ENGINES)
        require_search(engine, self.beam)
        if engine == EVENT and self.device != "cpu":
            raise UsageError(f"the event engine runs on the CPU, not on {self.device}", "--device", "use --device cpu")
        if engine == EVENT:
            self.extractor.settings.require_streaming()
            self.network(precision)
        elif precision is not None:
            _refuse_precision(precision)
        self.engine, self._precision = engine, precision or self.model.precision

    @property
    def batch_files(self) -> int:
        """How many files to recognise at a time."""
        return BATCH_FILES if self.engine == BATCH else 1

    def settings_of(self, name: str) -> dict[str, Any]:
        """Everything that the result for the recording of this name depends on, besides the recording itself."""
        settings: dict[str, Any] = {"model": self.fingerprint}
        settings["endpointing"] = asdict(self.endpointing) if self.endpointing else None
        if self.engine != BATCH:
            settings["engine"] = f"{self.engine} {self._precision}"
        if self.beam:
            settings["beam"] = self.beam.identity
        return settings

    def network(self, precision: str | None = None, every: bool = False) -> EventNetwork:
        """The network of the event engine (events/engine.py), made once for each ``precision`` of its weights.

        The precision is float32, int8 or int4, by default that of the model folder. With ``every`` all products are
        taken, also those with zeros, for comparison.
        """
        from snn_asr.events.engine import event_network  # its kernels are for this engine alone

        precision = precision or self.model.precision
        with self._building:
            if (precision, every) not in self._networks:
                self._networks[precision, every] = event_network(self._on_the_cpu, precision, every)
            return self._networks[precision, every]

    @cached_property
    def _on_the_cpu(self) -> AcousticModel:
        """The model on the CPU, as the event engine needs it: itself, or a copy if it is on a GPU."""
        return self.model if self.device == "cpu" else copy.deepcopy(self.model).cpu()

    def stream(
        self, endpointing: EndpointSettings | None = DEFAULT, precision: str | None = None, every: bool = False
    ) -> Stream:
        """A new live stream (decoding/live/stream.py). All streams share their weights, also between threads.

        Without ``endpointing`` the sound is one segment from start to end. ``precision`` and ``every`` are as for
        ``network``. Raises UsageError for a model that needs whole utterances.
        """
        return Stream(self._on_the_cpu, self.tokens, self.extractor, self.network(precision, every), endpointing)

    def use_beam(
        self, settings: BeamSettings, language_model: str | Path | None = None, unit: str = AUTO
    ) -> None:
        """Decode with beam search from now on, and with an ARPA model of words or tokens (``unit``), if one is given.

        Raises UsageError for a model that classifies, DataError for a language model that cannot be used.
        """
        self.require_transcription("beam search", "decode without a beam and a language model")
        require_search(self.engine, settings)
        self.beam = BeamDecoder(self.tokens, settings, language_model, unit)

    @overload
    def transcribe(  # type: ignore[overload-overlap]  # a list of numbers is samples, one of files is not
        self, source: AudioSource, sample_rate: int | None = None
    ) -> Hypothesis: ...

    @overload
    def transcribe(self, source: Sequence[AudioSource], sample_rate: int | None = None) -> list[Hypothesis]: ...

    def transcribe(
        self, source: AudioSource | Sequence[AudioSource], sample_rate: int | None = None
    ) -> Hypothesis | list[Hypothesis]:
        """Recognise a file or samples in memory (data/audio.py says which types); a list of these gives a list.

        ``sample_rate`` in hertz is needed for samples that are not at the model's rate; files tell their own. Silence
        gives an empty text. A model that classifies always gives a class, unless the sound is shorter than a window.

        Raises DataError for audio that cannot be read or holds samples that are not finite.
        """
        if isinstance(source, (list, tuple)) and not is_samples(source):
            return [self.transcribe(each, sample_rate) for each in source]
        one = cast(AudioSource, source)
        return self.transcribe_batch([(_name_of(one), self.waveform(one, sample_rate))])[0]

    def align(self, source: AudioSource, text: str, sample_rate: int | None = None) -> Hypothesis:
        """The words and tokens of a known transcript with their times in a file or in samples.

        ``source`` and ``sample_rate`` are as for ``transcribe``; for a model of phones the text is phones. The result
        is the transcript as the model's tokens spell it, and its confidences tell how well it fits.

        Raises DataError for audio that cannot be read, for text that the model cannot spell, and for more tokens than
        frames; UsageError for a model that classifies.
        """
        return self.aligned(_name_of(source), self.waveform(source, sample_rate), text)

    def aligned(self, name: str, waveform: Waveform, text: str) -> Hypothesis:
        """The result of ``align`` for a waveform; ``name`` becomes the hypothesis' id."""
        self.require_alignment()
        settings = self.extractor.settings
        try:
            indices = spell(self.tokens, text)
        except DataError as error:
            raise DataError(error.what, name, error.todo) from error
        heard = hear(self.model, self._segmenter(with_loud=True), _blocks(waveform), self.device, self._block_frames)
        try:
            emissions = align(heard.log_posteriors, indices)
        except DataError as error:
            raise DataError(error.what, name, error.todo) from error
        warn_of_poor_fit(name, emissions)
        whole = Found(emissions, True, 0, tuple(heard.loud))
        duration = heard.samples / settings.sample_rate
        segment = aligned_segment(self.tokens, emissions, whole, settings.stacked_seconds)
        return Hypothesis(name, segment.text, segment.tokens, duration, kind=self.tokens.kind)

    def require_alignment(self) -> None:
        """Raise UsageError for a model that cannot align."""
        self.require_transcription("forced alignment", "take a model of tokens in time")

    def waveform(self, source: AudioSource, sample_rate: int | None = None) -> Waveform:
        """A file as blocks, which raise their errors when they are read; samples in memory as ``samples`` gives
        them."""
        if not is_samples(source):
            return read_blocks(source, self.extractor.settings.sample_rate)
        return self.samples(source, sample_rate)

    def samples(self, source: AudioSource, sample_rate: int | None = None) -> Tensor:
        """The whole waveform (samples,) of a file or of samples in memory, checked, at the model's sample rate."""
        return read_audio(source, self.extractor.settings.sample_rate, sample_rate)

    def transcribe_batch(self, utterances: Sequence[tuple[str, Waveform]]) -> list[Hypothesis]:
        """Recognise (id, waveform) pairs together; each result is what it would be alone.

        Raises the first error of a waveform that cannot be read, as an error for the user if it is a fault of the
        machine.
        """
        hypotheses = []
        for (name, _), each in zip(utterances, self.recognize(utterances), strict=True):
            if isinstance(each, Exception):
                raise as_user_error(each, name) or each
            hypotheses.append(each)
        return hypotheses

    def recognize(self, utterances: Sequence[tuple[str, Waveform]]) -> list[Hypothesis | Exception]:
        """Like ``transcribe_batch``, but the error of a waveform that cannot be read stands in the place of its
        result."""
        if self.engine == EVENT:
            return [self._streamed(*each) for each in utterances]
        frames, searched = self._block_frames, self.beam is not None
        recordings = [
            BatchRecording(_blocks(waveform), self._segmenter(with_loud=searched), frames, with_logits=searched)
            for _, waveform in utterances
        ]
        recognize(self.model, recordings, frames, self.device)
        return [
            self._hypothesis(name, each) if each.error is None else each.error
            for (name, _), each in zip(utterances, recordings, strict=True)
        ]

    @property
    def _block_frames(self) -> int:
        """The number of frames that the network is given of a recording at a time."""
        return max(1, round(BLOCK_SECONDS / self.extractor.settings.stacked_seconds))

    def _segmenter(self, with_loud: bool) -> Segmenter:
        settings, inputs = self.model.settings, EncoderInputs(self.model, self.extractor)
        return Segmenter(
            inputs, settings.features, settings.task, self.tokens, self.endpointing, settings.bidirectional, with_loud
        )

    def _hypothesis(self, name: str, recording: BatchRecording) -> Hypothesis:
        duration = recording.samples / self.extractor.settings.sample_rate
        step = self.extractor.settings.step_seconds(duration)
        beam, limit = self.beam, 0
        if beam is None:
            segments = [timed_segment(self.tokens, emissions, step) for emissions in recording.segments]
        else:
            limit = beam.settings.alternatives
            parts = zip(recording.segment_logits, recording.ends, strict=True)
            segments = [searched_segment(self.tokens, beam, logits, end, step) for logits, end in parts]
        found = (each for each in segments if each.tokens)
        return Hypothesis.joined(name, found, duration, self.tokens.kind, limit)

    def _streamed(self, name: str, waveform: Waveform) -> Hypothesis | Exception:
        """The result of the event engine, or the error of a waveform that cannot be read."""
        stream, samples, events = self.stream(self.endpointing, self._precision), 0, []
        try:
            for block in _blocks(waveform):
                samples += len(block)
                events += stream.accept(block)
            events += stream.finish()
        except Exception as error:  # one bad file, whatever is wrong with it, ends no other
            return error
        segments = [Segment(each.text, each.tokens) for each in events if each.kind == SEGMENT]
        return Hypothesis.joined(name, segments, samples / self.extractor.settings.sample_rate, self.tokens.kind)

    @torch.no_grad()
    def log_posteriors(self, utterances: Sequence[tuple[str, Tensor]]) -> list[np.ndarray]:
        """The natural logarithms of the posteriors, (T, N) for each (id, waveform).

        Raises UsageError for a model that classifies, and DataError if the network overflows on a waveform.
        """
        self.require_transcription("posteriors in time", "take 'logits'")
        logits, lengths = self.logits([samples for _, samples in utterances])
        rows = zip(logits.log_softmax(dim=-1).cpu().numpy(), lengths.tolist(), strict=True)
        found = [row[:length].copy() for row, length in rows]
        require_numbers(float(each.sum()) for each in found)
        return found

    @torch.no_grad()
    def logits(self, waveforms: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The logits (B, T, N) of whole waveforms, each as a single segment, and their lengths (B,) in frames."""
        frames, lengths = pad([self.extractor(samples) for samples in waveforms])
        logits, lengths, _ = self.model(frames.to(self.device), lengths.to(self.device))
        return logits, lengths

    def require_transcription(self, what: str, todo: str) -> None:
        """Raise UsageError, about ``what`` it cannot do, for a model that classifies."""
        if self.model.settings.task != TRANSCRIPTION:
            raise UsageError("this model classifies", what, todo)


def _name_of(source: AudioSource) -> str:
    """The id of the hypothesis for a file, its name without the suffix, or for samples in memory."""
    return Path(source).stem if isinstance(source, (str, Path)) else "waveform"


def _refuse_precision(precision: str) -> None:
    """Raise UsageError for a precision of weights that the batch engine cannot use."""
    if precision not in WEIGHT_PRECISIONS:
        raise unknown_name("precision", precision, WEIGHT_PRECISIONS)
    if precision != FLOAT32:
        raise UsageError("the batch engine computes in float32", f"--precision {precision}", "use --engine event")


def _blocks(waveform: Waveform) -> Iterable[Tensor]:
    """The blocks of a waveform; one that is a single tensor is cut into views of a few seconds."""
    return waveform.split(_BLOCK_SAMPLES) if isinstance(waveform, Tensor) else waveform
