"""The frames that the network is trained on: those of a batch with pauses, augmented, normalised, and parts dropped."""

from __future__ import annotations

from torch import Tensor

from snn_asr.data.batches import Batch
from snn_asr.data.features import FeatureExtractor
from snn_asr.data.pauses import Pauses
from snn_asr.data.tokens import Tokens
from snn_asr.network.lengths import Lengths
from snn_asr.network.model import AcousticModel
from snn_asr.training.recipes.keys import AugmentationConfig


class TrainingFrames:
    """What the recipe's augmentation makes of a batch. A share without utterances is left as it is."""

    def __init__(
        self, augmentation: AugmentationConfig, model: AcousticModel, extractor: FeatureExtractor, tokens: Tokens
    ) -> None:
        self._normalization = model.normalization
        self._augmentations = [each.fit(model.settings.features) for each in augmentation.frame_augmentations]
        self._drops = augmentation.spectrogram_drops
        self._pauses: Pauses | None = None
        if augmentation.pauses:
            self._pauses = Pauses(augmentation.pauses, augmentation.pause_seconds, extractor, tokens)

    def with_pauses(self, batch: Batch) -> Batch:
        """The batch with silence, noise or music before, behind or between some of its utterances."""
        return self._pauses(batch) if self._pauses is not None and batch.utterances else batch

    def normalized(self, batch: Batch, lengths: Lengths) -> Tensor:
        """The augmented frames (B, T, F) of a batch, normalised."""
        frames = batch.frames
        if not batch.utterances:
            return frames
        for augment in self._augmentations:
            frames = augment(frames, lengths.tensor)
        frames = self._normalization.apply(frames)
        for drop in self._drops:
            frames = drop(frames)
        return frames
