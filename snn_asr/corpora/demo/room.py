"""The room of the demo corpus: level, reverberation and noise, mixed into clean speech without moving it in time."""

from __future__ import annotations

from collections.abc import Callable

import numpy

_LEVEL_DECIBELS = (-28.0, -20.0)  # of the speech, about full scale
_REVERBERATION_PROBABILITY = 1 / 3
_DECAY_SECONDS = (0.1, 0.25)  # until the tail has fallen by 60 dB
_DIRECT_TO_REVERBERANT_DECIBELS = (12.0, 22.0)
_FIRST_REFLECTION_SECONDS = 0.003
SIGNAL_TO_NOISE_DECIBELS = (25.0, 45.0)
_PEAK = 0.98
_TALKERS = 6
_SYLLABLE_HZ = 4.0


def degrade(clean: numpy.ndarray, sample_rate: int, generator: numpy.random.Generator) -> numpy.ndarray:
    """Speech (samples,) float64 as heard in a room: another level, in a third of all cases reverberation, then noise.

    The direct sound stays where it is and nothing is appended, so ends of phones stay true. The noise is white, pink
    or a babble, at a signal-to-noise ratio of 25 to 45 dB; the result is within [-0.98, 0.98].
    """
    loud = clean[clean != 0]
    level = _amplitude(generator.uniform(*_LEVEL_DECIBELS))
    speech = clean * (level / numpy.sqrt(numpy.mean(loud**2)))
    heard = speech
    if generator.random() < _REVERBERATION_PROBABILITY:
        heard = reverberate(speech, sample_rate, generator)
    kind = (white_noise, pink_noise, babble_noise)[generator.integers(3)]
    noise = kind(len(speech), sample_rate, generator)
    noise_level = level / _amplitude(generator.uniform(*SIGNAL_TO_NOISE_DECIBELS))
    mixed = heard + noise * (noise_level / numpy.sqrt(numpy.mean(noise**2)))
    return mixed * min(1.0, _PEAK / numpy.abs(mixed).max())


def reverberate(speech: numpy.ndarray, sample_rate: int, generator: numpy.random.Generator) -> numpy.ndarray:
    """Convolve with h = direct sound at 0 + a tail of noise that decays exponentially; same length as ``speech``."""
    decay_seconds = generator.uniform(*_DECAY_SECONDS)
    times = numpy.arange(round(decay_seconds * sample_rate)) / sample_rate
    tail = generator.standard_normal(len(times)) * 10.0 ** (-3.0 * times / decay_seconds)
    tail[times < _FIRST_REFLECTION_SECONDS] = 0.0
    ratio = _amplitude(generator.uniform(*_DIRECT_TO_REVERBERANT_DECIBELS))
    response = tail / (ratio * numpy.sqrt(numpy.sum(tail**2)))
    response[0] = 1.0
    length = 1 << (len(speech) + len(response) - 1).bit_length()
    spectrum = numpy.fft.rfft(speech, length) * numpy.fft.rfft(response, length)
    return numpy.fft.irfft(spectrum, length)[: len(speech)]


def white_noise(count: int, sample_rate: int, generator: numpy.random.Generator) -> numpy.ndarray:
    """Noise with a flat spectrum."""
    return generator.standard_normal(count)


def pink_noise(count: int, sample_rate: int, generator: numpy.random.Generator) -> numpy.ndarray:
    """Noise whose power falls as 1 / frequency, flat below 50 Hz."""
    return _shaped(count, sample_rate, generator, lambda hertz: 1 / numpy.sqrt(numpy.maximum(hertz, 50.0)))


def babble_noise(count: int, sample_rate: int, generator: numpy.random.Generator) -> numpy.ndarray:
    """Six talkers: noise with speech's spectrum (-12 dB an octave over 500 Hz), each swelling as syllables do."""
    total = numpy.zeros(count)
    for _ in range(_TALKERS):
        voice = _shaped(count, sample_rate, generator, lambda hertz: (hertz > 80) / (1 + (hertz / 500.0) ** 2))
        swell = _shaped(count, sample_rate, generator, lambda hertz: (hertz < _SYLLABLE_HZ).astype(float))
        total += voice * (swell / numpy.sqrt(numpy.mean(swell**2))) ** 2
    return total


def _shaped(count: int, sample_rate: int, generator: numpy.random.Generator, gain: Callable) -> numpy.ndarray:
    """White noise filtered by ``gain``, a function of hertz; made at a power of two for speed, then cut."""
    length = 1 << max(count - 1, 1).bit_length()
    spectrum = numpy.fft.rfft(generator.standard_normal(length))
    return numpy.fft.irfft(spectrum * gain(numpy.fft.rfftfreq(length, 1 / sample_rate)), length)[:count]


def _amplitude(decibels: float) -> float:
    return 10.0 ** (decibels / 20.0)
