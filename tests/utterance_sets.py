"""Small sets of utterances for the tests of data sets and batches: silent ones that are never read, and tones."""

from __future__ import annotations

from pathlib import Path

from tones import RATE_HZ

from snn_asr.data.dataset import SpeechDataset
from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.features import FeatureExtractor
from snn_asr.data.manifest import Utterance, read_manifest
from snn_asr.data.tokens import WordTokens

FEATURES = FeatureSettings(sample_rate=RATE_HZ, mels=10, stack=3)
TOKENS = WordTokens(["a", "b", "c"])


def seconds_of(frames: int) -> float:
    """The shortest duration with so many frames."""
    return (FEATURES.window_samples + (frames - 1) * FEATURES.hop_samples) / RATE_HZ


def silent_set(frames: list[int], texts: list[str] | None = None, **options) -> SpeechDataset:
    """A dataset whose audio is never read."""
    texts = texts or ["a"] * len(frames)
    utterances = [
        Utterance(f"u{index}", Path("none.wav"), seconds_of(count), "s", text)
        for index, (count, text) in enumerate(zip(frames, texts, strict=True))
    ]
    return SpeechDataset(utterances, TOKENS, FeatureExtractor(FEATURES), **options)


def tone_set(tones: Path, **options) -> SpeechDataset:
    tokens = WordTokens(["high", "low", "mid"])
    return SpeechDataset(
        list(read_manifest(tones / "train.json").values()), tokens, FeatureExtractor(FEATURES), **options
    )
