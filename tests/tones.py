"""A corpus of tones that stand for words, and a recipe for it: all that training and decoding need, in no time."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import torch

from snn_asr.data.audio import write_audio
from snn_asr.data.manifest import Utterance, write_manifest
from snn_asr.files import write_text

RATE_HZ = 8000
WORDS_HZ = {"low": 300.0, "mid": 900.0, "high": 2200.0}
SPLITS = {"train": 48, "dev": 6, "test": 6}

RECIPE = """\
# Tones: three words, for tests
seed: 1
corpus: demo
encoder: improved_v2
hidden_size: 32
head_normalization: input
num_layers: 2
dropout: 0.0
features: !new:snn_asr.data.features.FeatureSettings
    sample_rate: 8000
    mels: 10
    high_hz: 3800
    stack: 3
tokens: words
token_options: {}
speeds: [0.95, 1.0, 1.05]
frame_augmentations:
    - !new:snn_asr.data.augmentation.StackShift
        frames: 1
    - !new:snn_asr.data.augmentation.FilterbankNoise
        snr_low_db: 20.0
        snr_high_db: 40.0
spectrogram_drops:
    - !new:speechbrain.augment.freq_domain.SpectrogramDrop
        dim: 1
        drop_length_low: 1
        drop_length_high: 3
        drop_count_low: 0
        drop_count_high: 2
epochs: 26
patience: 26
batch_frames: 120
learning_rate: 0.02
schedule: warm_cool
average_decay: 0.5
batch_utterances: 0
accumulation: 1
loader_workers: 0
precision: fp32
length_curriculum: []
warmup_epochs: 1
cooldown_epochs: 6
batch_norm_epochs: 0
pruning: 0.0
pruning_epochs: [0, 0]
pruning_block: 1
max_grad_norm: 1.0
optimizer: !name:torch.optim.AdamW
    weight_decay: 0.01
"""

# Blocks of its own, so that what the shipped ones are tuned to does not matter here.
ENCODER_BLOCKS = {
    "improved_v2": """\
bits: 6
threshold: 3
range: fixed
candidate: clamp
activity_penalty: 0.0
encoder_options:
    dropout: !ref <dropout>
    bits: !ref <bits>
    threshold: !ref <threshold>
    range: !ref <range>
    candidate: !ref <candidate>
""",
    "gru": """\
encoder_options:
    dropout: !ref <dropout>
""",
    "lstm": """\
encoder_options:
    dropout: !ref <dropout>
""",
}


def write_recipe(folder: Path) -> Path:
    """The recipe with its encoder blocks beside it; returns its file."""
    for name, block in ENCODER_BLOCKS.items():
        write_text(folder / "encoders" / f"{name}.yaml", f"# {name}\n{block}")
    write_text(folder / "Tones" / "train.yaml", RECIPE)
    return folder / "Tones" / "train.yaml"


def speak(words: list[str], seed: int = 0) -> torch.Tensor:
    """Samples of tones of 0.2 s, each over a little noise, with digital silence around them; at least 0.3 s.

    Silence lasts longest before and behind the words, so that a model learns to be quiet in it.
    """
    draw = random.Random(seed)
    pieces = [torch.zeros(0 if words else RATE_HZ // 4)]
    for index, word in enumerate(words):
        pieces.append(torch.zeros(int(RATE_HZ * draw.uniform(0.05, 0.1 if index else 0.8))))
        pieces.append(_tone(WORDS_HZ[word] * draw.uniform(0.97, 1.03)))
    noise = torch.Generator().manual_seed(seed)
    pieces = [each + 0.003 * torch.randn(len(each), generator=noise) if each.any() else each for each in pieces]
    return torch.cat([*pieces, torch.zeros(int(RATE_HZ * draw.uniform(0.05, 1.0)))])


def tone_times(samples: torch.Tensor) -> list[tuple[float, float]]:
    """Begin and end of each tone in what was spoken, in seconds."""
    loud = np.concatenate([[0], (samples.abs() > 0).numpy().astype(int), [0]])
    loud[1:-1] |= np.roll(loud, 1)[1:-1] | np.roll(loud, -1)[1:-1]  # a sine crosses zero
    edges = np.flatnonzero(np.diff(loud))
    return [(begin / RATE_HZ, end / RATE_HZ) for begin, end in zip(edges[::2], edges[1::2], strict=True)]


def write_corpus(folder: Path) -> None:
    """Audio and the three manifests, with utterances of no to three words."""
    draw = random.Random(0)
    for split, count in SPLITS.items():
        utterances = []
        for index in range(count):
            words = draw.choices(list(WORDS_HZ), k=index % 4)
            samples = speak(words, seed=draw.randrange(10**6))
            path = folder / "audio" / split / f"{split}-{index:02}.wav"
            write_audio(path, samples, RATE_HZ)
            utterances.append(Utterance(path.stem, path, len(samples) / RATE_HZ, "tuning fork", " ".join(words)))
        write_manifest(folder / f"{split}.json", utterances)


def _tone(frequency_hz: float) -> torch.Tensor:
    time = torch.arange(RATE_HZ // 5) / RATE_HZ
    return 0.3 * torch.sin(2 * math.pi * frequency_hz * time)
