"""A trained model at work: files or waveforms to transcripts.

    model = snn_asr.load_model("runs/fsdd")
    print(model.transcribe("digits.wav").text)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from snn_asr import model as models
from snn_asr.audio import read_audio
from snn_asr.beam import AUTO, BeamDecoder, BeamSettings, align
from snn_asr.decoding import TRANSCRIPTION, Emission, decode
from snn_asr.errors import DataError, UsageError
from snn_asr.features import FeatureExtractor
from snn_asr.writers import Alternative, Hypothesis, Token


class Recognizer:
    """Wraps a loaded model folder. Raises DataError where the folder is missing or damaged."""

    def __init__(self, folder: str | Path, device: str = "cpu") -> None:
        loaded = models.load(folder, device)
        self.model, self.tokens, self.metrics = loaded.model, loaded.tokens, loaded.metrics
        self.fingerprint, self.device = loaded.fingerprint, device
        self.extractor = FeatureExtractor(self.model.settings.features)
        self.beam: BeamDecoder | None = None

    def use_beam(
        self, settings: BeamSettings, language_model: str | Path | None = None, level: str = AUTO
    ) -> None:
        """Decode with beam search, and an ARPA model of words or tokens, from now on.

        Raises UsageError for a model that classifies, DataError for a language model that cannot be used.
        """
        self._need_transcription()
        self.beam = BeamDecoder(self.tokens, settings, language_model, level)

    def transcribe(self, source: str | Path | Tensor) -> Hypothesis:
        """Recognise a file, or a waveform (samples,) at the model's sample rate.

        Silence gives an empty text; a model that classifies always answers, unless there is less than a window.

        Raises DataError for audio that cannot be read or holds samples that are not finite.
        """
        name = "waveform" if isinstance(source, Tensor) else Path(source).stem
        return self.transcribe_batch([(name, self.samples(source))])[0]

    def samples(self, source: str | Path | Tensor) -> Tensor:
        """The waveform (samples,) of a file or, checked, of a waveform."""
        if not isinstance(source, Tensor):
            return read_audio(source, self.extractor.settings.sample_rate)
        if source.dim() != 1 or not torch.isfinite(source).all():
            raise DataError("a waveform must be one channel of finite samples", f"shape {tuple(source.shape)}")
        return source.float()

    @torch.no_grad()
    def transcribe_batch(self, utterances: Sequence[tuple[str, Tensor]]) -> list[Hypothesis]:
        """Recognise (id, waveform) pairs together; each result is what it would be alone."""
        rate = self.extractor.settings.sample_rate
        if self.beam is not None:
            decoded = [self._searched(each) for each in self.log_posteriors(utterances)]
        else:
            decoded = [(each, ()) for each in decode(self.model.settings.task, *self._logits(utterances))]
        return [
            self._hypothesis(name, emissions, len(samples) / rate, alternatives)
            for (name, samples), (emissions, alternatives) in zip(utterances, decoded, strict=True)
        ]

    @torch.no_grad()
    def log_posteriors(self, utterances: Sequence[tuple[str, Tensor]]) -> list[np.ndarray]:
        """(T, N) of each (id, waveform): natural logarithms. Raises UsageError for a model that classifies."""
        self._need_transcription()
        logits, lengths = self._logits(utterances)
        rows = zip(logits.log_softmax(dim=-1).cpu().numpy(), lengths.tolist(), strict=True)
        return [row[:length].copy() for row, length in rows]

    def _logits(self, utterances: Sequence[tuple[str, Tensor]]) -> tuple[Tensor, Tensor]:
        """Logits (B, T, N) and their lengths (B,) frames."""
        frames = [self.extractor(samples) for _, samples in utterances]
        lengths = torch.tensor([len(each) for each in frames], device=self.device)
        padded = pad_sequence(frames, batch_first=True).to(self.device)
        logits, lengths, _ = self.model(padded, lengths)
        return logits, lengths

    def _need_transcription(self) -> None:
        if self.model.settings.task != TRANSCRIPTION:
            raise UsageError("this model classifies", "beam search", "decode without a beam and a language model")

    def _searched(self, log_posteriors: np.ndarray) -> tuple[list[Emission], tuple[Alternative, ...]]:
        """The best token sequence with its times, and the n-best list of different texts."""
        candidates = self.beam(log_posteriors)
        texts: dict[str, Alternative] = {}
        for each in candidates:
            text = self.tokens.decode(each.tokens)
            texts.setdefault(text, Alternative(text, each.score, each.acoustic))
        alternatives = tuple(texts.values())[: self.beam.settings.alternatives]
        return align(log_posteriors, candidates[0].tokens), alternatives

    def _hypothesis(
        self, name: str, emissions: list[Emission], duration_seconds: float, alternatives: tuple[Alternative, ...]
    ) -> Hypothesis:
        step = self.extractor.settings.step_seconds(duration_seconds)
        tokens = tuple(
            Token(self.tokens.labels[each.token], each.start_frame * step, each.end_frame * step, each.confidence)
            for each in emissions
        )
        text = self.tokens.decode(each.token for each in emissions)
        return Hypothesis(name, text, tokens, duration_seconds, alternatives)
