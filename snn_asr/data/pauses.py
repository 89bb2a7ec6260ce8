"""Pauses in training: utterances with silence, noise, hum or notes before, behind and between them.

A network trained on trimmed utterances has never heard sound without speech. ``Pauses`` puts such sounds into the
batches of training: before an utterance, after it, or between it and another utterance of the batch, whose words
follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from snn_asr.data.batches import Batch, pad
from snn_asr.data.features import FeatureExtractor
from snn_asr.data.tokens import Tokens

VARIANTS = 8  # of each kind of sound
LOWEST_DECIBELS, HIGHEST_DECIBELS = -75.0, -20.0  # of noise, hum and notes, below full scale
_SEED = 20  # of the sounds, which are the same in every training

Sound = Callable[[int, int, torch.Generator], Tensor]


class Pauses:
    """``pauses(batch)`` gives the batch with pauses at a ``share`` of its utterances, each between two ``seconds``
    long.

    Half of the pauses are followed by another utterance of the batch, with its target; the others come before or after
    the utterance. Random numbers are drawn on the host by torch's generator, as for all augmentation. This needs
    short-time features, without segments, that are normalised by all training frames.
    """

    def __init__(
        self, share: float, seconds: tuple[float, float], extractor: FeatureExtractor, tokens: Tokens
    ) -> None:
        settings = extractor.settings
        frame_seconds = settings.hop_samples / settings.sample_rate
        self._share = share
        self._shortest, self._longest = (max(1, round(each / frame_seconds)) for each in seconds)
        samples = (self._longest - 1) * settings.hop_samples + settings.window_samples
        self._frames = sound_frames(extractor, samples)
        between = [tokens.labels.index(" ")] if tokens.kind == "characters" and " " in tokens.labels else []
        self._between = torch.tensor(between, dtype=torch.long)

    def __call__(self, batch: Batch) -> Batch:
        """The same utterances in the same order; frames and targets of some are longer."""
        chosen = (torch.rand(len(batch.utterances)) < self._share).tolist()
        if not any(chosen):
            return batch
        self._frames, self._between = (each.to(batch.frames.device) for each in (self._frames, self._between))
        frames = [row[:length] for row, length in zip(batch.frames, batch.lengths.tolist(), strict=True)]
        targets = [row[:length] for row, length in zip(batch.targets, batch.target_lengths.tolist(), strict=True)]
        rows = [
            self._with_pause(frames, targets, row) if paused else (frames[row], targets[row])
            for row, paused in enumerate(chosen)
        ]
        longer, said = zip(*rows, strict=True)
        return Batch(batch.utterances, *pad(longer), *pad(said))

    def _with_pause(self, frames: list[Tensor], targets: list[Tensor], row: int) -> tuple[Tensor, Tensor]:
        """Frames (t, F) and target (l,) of one utterance with its pause."""
        place, sound, length, begin, other = torch.rand(5).tolist()
        count = self._shortest + int(length * (self._longest - self._shortest + 1))
        first = int(begin * (self._longest - count + 1))
        pause = self._frames[int(sound * len(self._frames))][first : first + count]
        if place < 0.25:
            return torch.cat((pause, frames[row])), targets[row]
        if place < 0.5:
            return torch.cat((frames[row], pause)), targets[row]
        following = int(other * len(frames))
        said = (targets[row], self._between, targets[following])
        return torch.cat((frames[row], pause, frames[following])), torch.cat(said)


def sound_frames(extractor: FeatureExtractor, samples: int) -> Tensor:
    """Frames (sounds, t, F), not normalised, of VARIANTS of each kind of sound, each ``samples`` long."""
    generator = torch.Generator().manual_seed(_SEED)
    rate = extractor.settings.sample_rate
    sounds = [make(samples, rate, generator) for make in SOUNDS for _ in range(VARIANTS)]
    return torch.stack([extractor.plain_frames(each) for each in sounds])


def _silence(samples: int, rate: int, generator: torch.Generator) -> Tensor:
    """Digital silence, or nearly: the lowest of 16 bits flickers, more or less often."""
    chance = torch.rand(samples, generator=generator)
    rare = 0.1 * torch.rand(1, generator=generator).square()
    return ((chance > 1 - rare).float() - (chance < rare).float()) / 32768


def _noise(samples: int, rate: int, generator: torch.Generator) -> Tensor:
    """Noise from white to brown: its power falls as 1 / f^0 to 1 / f^2."""
    spectrum = torch.fft.rfft(torch.randn(samples, generator=generator))
    frequency = torch.fft.rfftfreq(samples, 1 / rate).clamp(min=20.0)
    return _levelled(torch.fft.irfft(spectrum / frequency ** _uniform(0, 1, generator), n=samples), generator)


def _hum(samples: int, rate: int, generator: torch.Generator) -> Tensor:
    """Mains hum of 50 or 60 Hz with harmonics, over quieter noise."""
    mains = 50.0 if _uniform(0, 1, generator) < 0.5 else 60.0
    tone = _harmonics(mains, samples, rate, generator)
    noise = torch.randn(samples, generator=generator) * tone.square().mean().sqrt()
    return _levelled(tone + noise * 10 ** (_uniform(-60, -20, generator) / 20), generator)


def _notes(samples: int, rate: int, generator: torch.Generator) -> Tensor:
    """A melody of fading notes with harmonics, with or without a chord that is held."""
    melody, begin = torch.zeros(samples), 0
    while begin < samples:
        count = min(int(_uniform(0.08, 0.8, generator) * rate), samples - begin) or 1
        fade = torch.exp(-_uniform(0, 8, generator) * torch.arange(count) / rate)
        melody[begin : begin + count] = _harmonics(_pitch(generator), count, rate, generator) * fade
        begin += count
    for _ in range(int(_uniform(0, 4, generator))):
        melody += 0.1 * _harmonics(_pitch(generator), samples, rate, generator)
    return _levelled(melody, generator)


SOUNDS: tuple[Sound, ...] = (_silence, _noise, _hum, _notes, _notes)


def _harmonics(hertz: float, samples: int, rate: int, generator: torch.Generator) -> Tensor:
    """A tone whose k-th harmonic, up to the eighth below half the rate, has the strength 1 / k^s with a drawn s."""
    time, falling = torch.arange(samples, dtype=torch.float64) / rate, _uniform(0.5, 2, generator)
    orders = range(1, 1 + min(8, max(1, int(rate / 2 / hertz))))
    return torch.stack([torch.sin(2 * math.pi * hertz * k * time) / k**falling for k in orders]).sum(dim=0).float()


def _pitch(generator: torch.Generator) -> float:
    return 110.0 * 2.0 ** _uniform(0, 4, generator)


def _levelled(samples: Tensor, generator: torch.Generator) -> Tensor:
    decibels = _uniform(LOWEST_DECIBELS, HIGHEST_DECIBELS, generator)
    return samples * 10 ** (decibels / 20) / samples.square().mean().sqrt().clamp(min=1e-12)


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * torch.rand(1, generator=generator).item()
