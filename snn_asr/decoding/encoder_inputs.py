"""The encoder's inputs from samples as they arrive: features, normalisation, and stacking or convolutions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from snn_asr.data.feature_settings import GLOBAL
from snn_asr.data.features import FeatureExtractor, FeatureStream, stack_frames
from snn_asr.network.model import AcousticModel


class EncoderInputs:
    """Takes one waveform at a time: ``accept`` its samples, and ``finish`` at its end; the next one may follow.

    Both return the encoder's inputs (t, D) and the features (t, stack, F) behind them, which are not normalised.
    Features that need whole utterances come when the waveform has ended.
    """

    def __init__(self, model: AcousticModel, extractor: FeatureExtractor) -> None:
        self._model = model
        settings = extractor.settings
        streams = not settings.segments and settings.normalization == GLOBAL
        self._features = FeatureStream(extractor) if streams else _WholeFeatures(extractor)
        self._size = model.settings.front_end.output_size(settings)
        self._stack = settings.stack
        self._waiting: Tensor  # frames (t, F), too few for another stack
        self._convolved: list[Tensor] | None
        self._reset()

    def accept(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        return self._stacked(self._features.accept(samples))

    def finish(self) -> tuple[Tensor, Tensor]:
        inputs = self._stacked(self._features.finish())
        self._reset()
        return inputs

    def _stacked(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        self._waiting = torch.cat((self._waiting, frames))
        count = len(self._waiting) - len(self._waiting) % self._stack
        if not count:
            none = self._waiting.new_empty
            return none(0, self._size), none(0, self._stack, self._waiting.shape[1])
        frames, self._waiting = self._waiting[:count], self._waiting[count:]
        plain = frames.unflatten(0, (-1, self._stack))
        normalized = self._model.normalization.apply(frames)
        if self._model.front_end is None:
            return stack_frames(normalized, self._stack), plain
        device = self._model.head.weight.device
        lengths = torch.tensor([count], device=device)
        inputs, self._convolved = self._model.front_end(normalized.unsqueeze(0).to(device), lengths, self._convolved)
        return inputs.squeeze(0).cpu(), plain

    def _reset(self) -> None:
        self._waiting = torch.empty(0, self._model.settings.features.size, dtype=torch.float32)
        self._convolved = None


class _WholeFeatures:
    """Like a FeatureStream, for features that exist only for whole utterances: all of them come at the end."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        self._extractor = extractor
        self._samples: list[np.ndarray] = []

    def accept(self, samples: Tensor) -> Tensor:
        self._samples.append(samples.numpy())
        return torch.empty(0, self._extractor.settings.size, dtype=torch.float32)

    def finish(self) -> Tensor:
        samples = np.concatenate([np.empty(0, np.float32), *self._samples])
        self._samples = []
        return self._extractor(torch.from_numpy(samples))
