"""A recognizer that has learnt nothing and finds words in whatever it hears."""

from __future__ import annotations

from pathlib import Path

import torch
from tones import RATE_HZ

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.normalization import Normalization
from snn_asr.data.tokens import Tokens, WordTokens
from snn_asr.decoding.recognizer import Recognizer
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.network.model_folder import save_model
from snn_asr.network.tasks import TRANSCRIPTION

FEATURES = FeatureSettings(sample_rate=RATE_HZ, mels=10, high_hz=3800, stack=3)


def babbler(
    folder: Path, encoder: str, tokens: Tokens | None = None, task: str = TRANSCRIPTION, **options
) -> Recognizer:
    """Saved in ``folder``; two small layers whose statistics are of three batches of noise."""
    torch.manual_seed(1)
    tokens = tokens or WordTokens(["one", "two", "three"])
    settings = ModelSettings(FEATURES, encoder, 16, 2, options, "output", task)
    model = AcousticModel(settings, Normalization(torch.full((10,), -9.0), torch.full((10,), 3.0)), tokens.size)
    for _ in range(3):
        model(torch.randn(4, 24, 10), torch.tensor([24, 24, 14, 8]), normalized=True)
    with torch.no_grad():
        model.head.bias[0] -= 1.0
    save_model(folder, model.eval(), tokens, {}, "")
    return Recognizer(folder, "cpu")
