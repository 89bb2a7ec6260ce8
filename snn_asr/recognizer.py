"""A trained model at work: files or waveforms to transcripts.

    model = snn_asr.load_model("runs/fsdd")
    print(model.transcribe("digits.wav").text)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from snn_asr import model as models
from snn_asr.audio import read_audio
from snn_asr.decoding import Emission, decode
from snn_asr.errors import DataError
from snn_asr.features import FeatureExtractor
from snn_asr.writers import Hypothesis, Token


class Recognizer:
    """Wraps a loaded model folder. Raises DataError where the folder is missing or damaged."""

    def __init__(self, folder: str | Path, device: str = "cpu") -> None:
        loaded = models.load(folder, device)
        self.model, self.tokens, self.metrics = loaded.model, loaded.tokens, loaded.metrics
        self.fingerprint, self.device = loaded.fingerprint, device
        self.extractor = FeatureExtractor(self.model.settings.features)

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
        frames = [self.extractor(samples) for _, samples in utterances]
        lengths = torch.tensor([len(each) for each in frames], device=self.device)
        padded = pad_sequence(frames, batch_first=True).to(self.device)
        logits, lengths, _ = self.model(padded, lengths)
        rate, decoded = self.extractor.settings.sample_rate, decode(self.model.settings.task, logits, lengths)
        return [
            self._hypothesis(name, emissions, len(samples) / rate)
            for (name, samples), emissions in zip(utterances, decoded, strict=True)
        ]

    def _hypothesis(self, name: str, emissions: list[Emission], duration_seconds: float) -> Hypothesis:
        step = self.extractor.settings.step_seconds(duration_seconds)
        tokens = tuple(
            Token(self.tokens.labels[each.token], each.start_frame * step, each.end_frame * step, each.confidence)
            for each in emissions
        )
        return Hypothesis(name, self.tokens.decode(each.token for each in emissions), tokens, duration_seconds)
