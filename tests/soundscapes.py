"""Sounds in which nobody speaks: silence, hum, noise, music, by name, of any length and at any rate."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Sound = Callable[[float, int, int], Tensor]


def _samples(seconds: float, rate: int) -> int:
    return round(seconds * rate)


def _level(samples: Tensor, decibels: float) -> Tensor:
    """Samples whose root mean square is so many decibels below full scale."""
    return samples * 10 ** (decibels / 20) / samples.square().mean().sqrt().clamp(min=1e-12)


def silence(seconds: float, rate: int, seed: int) -> Tensor:
    return torch.zeros(_samples(seconds, rate))


def last_bit(seconds: float, rate: int, seed: int) -> Tensor:
    """Near-digital silence: now and then the last bit of 16 flickers."""
    chance = torch.rand(_samples(seconds, rate), generator=torch.Generator().manual_seed(seed))
    return ((chance > 0.97).float() - (chance < 0.03).float()) / 32768


def hum(decibels: float, hertz: float = 50.0) -> Sound:
    """Mains with harmonics over a little noise."""

    def make(seconds: float, rate: int, seed: int) -> Tensor:
        time = torch.arange(_samples(seconds, rate), dtype=torch.float64) / rate
        tone = sum(torch.sin(2 * math.pi * hertz * k * time + k) / k**2 for k in range(1, 6))
        return _level(tone.float(), decibels) + white(decibels - 30)(seconds, rate, seed)

    return make


def white(decibels: float) -> Sound:
    def make(seconds: float, rate: int, seed: int) -> Tensor:
        noise = torch.randn(_samples(seconds, rate), generator=torch.Generator().manual_seed(seed))
        return _level(noise, decibels)

    return make


def pink(decibels: float, exponent: float = 0.5) -> Sound:
    """Noise whose power falls as 1 / f (exponent 0.5) or as 1 / f^2 (1.0, brown)."""

    def make(seconds: float, rate: int, seed: int) -> Tensor:
        spectrum = torch.fft.rfft(white(0)(seconds, rate, seed))
        frequency = torch.fft.rfftfreq(_samples(seconds, rate), 1 / rate).clamp(min=20.0)
        return _level(torch.fft.irfft(spectrum / frequency**exponent, n=_samples(seconds, rate)), decibels)

    return make


def music(decibels: float) -> Sound:
    """A melody of plucked notes with harmonics, three a second, over a chord that is held."""

    def make(seconds: float, rate: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        time = torch.arange(_samples(seconds, rate), dtype=torch.float64) / rate
        chord = sum(torch.sin(2 * math.pi * hertz * time) for hertz in (130.8, 164.8, 196.0)).float() * 0.1
        step = rate // 3
        notes = torch.randint(0, 24, (len(time) // step + 1,), generator=generator)
        within = (torch.arange(len(time)) % step).double() / rate
        hertz = 220.0 * 2 ** (notes.repeat_interleave(step)[: len(time)].double() / 12)
        tone = sum(torch.sin(2 * math.pi * hertz * k * within) / k for k in range(1, 5)) * torch.exp(-6 * within)
        return _level(chord + tone.float(), decibels)

    return make


def organ(decibels: float) -> Sound:
    """A steady tone with harmonics."""

    def make(seconds: float, rate: int, seed: int) -> Tensor:
        time = torch.arange(_samples(seconds, rate), dtype=torch.float64) / rate
        return _level(sum(torch.sin(2 * math.pi * 330 * k * time) / k for k in range(1, 5)).float(), decibels)

    return make


def clock(seconds: float, rate: int, seed: int) -> Tensor:
    """A tick a second in a quiet room."""
    samples = white(-65)(seconds, rate, seed)
    tick = white(-20)(0.01, rate, seed + 1)
    for second in range(int(seconds)):
        begin = second * rate + rate // 3
        samples[begin : begin + len(tick)] += tick
    return samples


def fan(seconds: float, rate: int, seed: int) -> Tensor:
    """Noise that is switched on and off every seven seconds."""
    on = (torch.arange(_samples(seconds, rate)) // (7 * rate)) % 2 == 0
    return pink(-35)(seconds, rate, seed) * on + white(-70)(seconds, rate, seed)


SOUNDSCAPES: dict[str, Sound] = {
    "silence": silence, "last bit": last_bit, "hum": hum(-40), "loud hum": hum(-20), "60 Hz": hum(-30, 60.0),
    "white -70": white(-70), "white -50": white(-50), "white -30": white(-30), "white -15": white(-15),
    "pink -50": pink(-50), "pink -30": pink(-30), "brown -30": pink(-30, 1.0),
    "music -20": music(-20), "music -40": music(-40), "organ": organ(-25), "clock": clock, "fan": fan,
}


def recording(name: str, seconds: float, rate: int, seed: int = 0) -> Tensor:
    """Samples of one of SOUNDSCAPES."""
    return SOUNDSCAPES[name](seconds, rate, seed)
