"""Samples to the logarithms of mel energies, or to cepstral coefficients, as Kaldi defines them.

Each frame is computed by itself, in one fixed order of float64 operations, and rounded to float32 once: it is the same
number bit for bit alone, in chunks of any size, and in a whole file. A frame that comes alone costs some microseconds.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torchaudio.compliance import kaldi
from torchaudio.functional import create_dct

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.kernel_cache import njit

_BLOCK_FRAMES = 64  # at a time: what stands between the steps stays in the cache
PREEMPHASIS = 0.97
_CEPSTRAL_LIFTER = 22.0
ENERGY_FLOOR = float(np.finfo(np.float32).eps)  # Kaldi's; about the noise of 16-bit samples, so log-mel >= -15.95


class Spectra:
    """``spectra(samples (N,), count) -> (count, size) float32``: the frames that begin at 0, hop, 2 hops, ...

    Povey window, DC offset removed, pre-emphasis 0.97, no dither, for samples in [-1, 1].

    ``window`` (W,), ``filters`` (mels, bins), each not 0 from bin ``reach[m, 0]`` to ``reach[m, 1]``, the last
    excluded, and ``cosines`` (mels, coefficients), None for log-mel, are what a frame is computed with, in float64.
    """

    def __init__(self, settings: FeatureSettings) -> None:
        self._hop, self._size = settings.hop_samples, settings.base_size
        window = torch.hann_window(settings.window_samples, periodic=False, dtype=torch.float64)
        self.window = window.pow(0.85).numpy()
        self.fft_size = 2 ** (settings.window_samples - 1).bit_length()
        filters, _ = kaldi.get_mel_banks(
            settings.mels, self.fft_size, settings.sample_rate, float(settings.low_hz), float(settings.high_hz or 0),
            100.0, -500.0, 1.0,
        )
        self.filters = filters.double().numpy()  # (mels, bins); none reaches Nyquist, whose bin is left out
        self.reach = np.array([_reach(each) for each in self.filters])
        self.cosines = _cepstral_matrix(settings) if settings.kind == "mfcc" else None

    def __call__(self, samples: np.ndarray, count: int) -> np.ndarray:
        frames = np.empty((count, self._size), np.float32)
        for first in range(0, count, _BLOCK_FRAMES):
            some = frames[first : first + _BLOCK_FRAMES]
            windowed = np.empty((len(some), len(self.window)))
            _windowed(samples[first * self._hop :], self._hop, self.window, windowed)
            spectrum = np.fft.rfft(windowed, n=self.fft_size)  # numpy transforms row by row
            if self.cosines is None:
                _log_energies(spectrum, self.filters, self.reach, some)
            else:
                energies = np.empty((len(some), len(self.filters)))
                _log_energies(spectrum, self.filters, self.reach, energies)
                _project(energies, self.cosines, some)
        return frames


@njit(cache=True, nogil=True)
def _windowed(samples, hop, window, result):
    """Frames (T, W) without their mean, pre-emphasised and windowed; the sample before a frame counts as its first."""
    size = window.shape[0]
    for n in range(result.shape[0]):
        start, total = n * hop, 0.0
        for k in range(size):
            total += samples[start + k]
        mean = total / size
        before = samples[start] - mean
        for k in range(size):
            here = samples[start + k] - mean
            result[n, k] = (here - PREEMPHASIS * before) * window[k]
            before = here


@njit(cache=True, nogil=True)
def _log_energies(spectrum, filters, reach, result):
    """(T, bins) to (T, mels); filter m is not 0 from bin reach[m, 0] to reach[m, 1], the last excluded."""
    power = np.empty(spectrum.shape[1])
    for n in range(result.shape[0]):
        for k in range(power.shape[0]):
            value = spectrum[n, k]
            power[k] = value.real * value.real + value.imag * value.imag
        for m in range(result.shape[1]):
            energy = 0.0
            for k in range(reach[m, 0], reach[m, 1]):
                energy += power[k] * filters[m, k]
            result[n, m] = np.log(max(energy, ENERGY_FLOOR))


@njit(cache=True, nogil=True)
def _project(energies, cosines, result):
    """(T, mels) times (mels, coefficients)."""
    for n in range(result.shape[0]):
        for c in range(result.shape[1]):
            total = 0.0
            for m in range(cosines.shape[0]):
                total += energies[n, m] * cosines[m, c]
            result[n, c] = total


def _reach(weights: np.ndarray) -> tuple[int, int]:
    """First bin of a filter, and the one behind its last; a filter between two bins has none."""
    (found,) = weights.nonzero()
    return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 0)


def _cepstral_matrix(settings: FeatureSettings) -> np.ndarray:
    """(mels, coefficients): orthonormal cosine transform with Kaldi's liftering 1 + (L / 2) sin(pi i / L), L = 22."""
    cosines = create_dct(settings.coefficients, settings.mels, "ortho").double()
    index = torch.arange(settings.coefficients, dtype=torch.float64)
    return (cosines * (1 + _CEPSTRAL_LIFTER / 2 * torch.sin(math.pi * index / _CEPSTRAL_LIFTER))).numpy()


def mel_energies(frames: np.ndarray, settings: FeatureSettings) -> np.ndarray:
    """(..., size) as ``Spectra`` gives them to the logarithms of mel energies (..., mels): of cepstral coefficients,
    the smooth spectrum that they describe."""
    if settings.kind != "mfcc":
        return frames
    return frames @ np.linalg.pinv(_cepstral_matrix(settings)).astype(np.float32)
