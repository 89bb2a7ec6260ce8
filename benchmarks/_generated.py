"""Work generated for gpu_training.py: a corpus of noise, lengths like LibriSpeech's, steps on random frames."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

HUNDRED_HOURS_UTTERANCES, MEAN_SECONDS = 28_539, 12.69


def write_corpus(folder: Path, sizes: dict[str, int]) -> None:
    """Manifests and files of noise: 0.8 to 8 seconds, 3.3 on average, with six characters of text a second."""
    from snn_asr.data.audio import write_audio
    from snn_asr.data.manifest import Utterance, write_manifest

    draw, noise = random.Random(0), np.random.default_rng(0)
    for split, size in sizes.items():
        entries = []
        for index in range(size):
            samples = int(16000 * min(max(draw.lognormvariate(1.08, 0.48), 0.8), 8.0))
            text = "".join(draw.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ  ") for _ in range(int(6 * samples / 16000)))
            path = folder / "audio" / split / f"{split}-{index:04}.wav"
            waveform = torch.from_numpy(noise.standard_normal(samples, np.float32) * np.float32(0.05))
            write_audio(path, waveform, 16000)
            entries.append(Utterance(path.stem, path, samples / 16000, f"speaker{index % 70}", " ".join(text.split())))
        write_manifest(folder / f"{split}.json", entries)


class HundredHours:
    """Lengths like those of LibriSpeech's 100 hours: most of 12 to 16 seconds, some short, none above 24.5."""

    def __init__(self, hop_seconds: float) -> None:
        draw = random.Random(100)
        seconds = [
            draw.gauss(14.2, 1.3) if draw.random() < 0.7 else draw.uniform(1.4, 14)
            for _ in range(HUNDRED_HOURS_UTTERANCES)
        ]
        scale = MEAN_SECONDS / (sum(seconds) / len(seconds))
        self.hop_seconds, self.speeds = hop_seconds, [1.0]
        self.counts = [int(min(each * scale, 24.5) / hop_seconds) for each in seconds]

    def __len__(self) -> int:
        return len(self.counts)

    def frame_counts(self, speed: float = 1.0) -> list[int]:
        return self.counts


class Step:
    """A model of a recipe with its optimizer; called with a batch it takes a training step."""

    def __init__(self, config, device: str) -> None:
        from snn_asr.data.normalization import Normalization
        from snn_asr.network.model import AcousticModel

        size = config.features.size
        self.classes, self.config, self.device = config.data.token_options["vocabulary_size"], config, device
        self.model = AcousticModel(
            config.model_settings, Normalization(torch.zeros(size), torch.ones(size)), self.classes
        )
        self.model.use_backend(config.model.backend)
        self.model.to(device).train()
        self.optimizer = config.training.make_optimizer(self.model.parameters())

    def batch(self, counts: Sequence[int]):
        """Random frames and targets, four pieces a second, on the device."""
        from snn_asr.data.batches import Batch

        hop = self.config.features.hop_samples / self.config.features.sample_rate
        pieces = [max(1, int(4 * count * hop)) for count in counts]
        targets = torch.randint(1, self.classes, (len(counts), max(pieces)), device=self.device)
        frames = torch.randn(len(counts), max(counts), self.config.features.size, device=self.device)
        return Batch([], frames, torch.tensor(counts), targets, torch.tensor(pieces))

    def __call__(self, batch) -> None:
        from snn_asr.network.lengths import Lengths
        from snn_asr.training.loop.objectives import ctc

        training, lengths = self.config.training, Lengths.of(batch.lengths, batch.frames)
        with torch.autocast(self.device, torch.bfloat16, enabled=training.precision == "bf16"):
            logits, _, _ = self.model(batch.frames, lengths, normalized=True)
            loss = ctc(logits.float(), lengths.divided(self.config.features.stack), batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), training.max_grad_norm or math.inf)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
