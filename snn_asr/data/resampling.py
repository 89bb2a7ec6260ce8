"""Waveforms at another sample rate, or played faster: whole or in chunks, with the same numbers bit for bit.

The filter is that of ``torchaudio.functional.resample`` (a sinc under a Hann window of six zero crossings to either
side, cut off at 0.99 of the lower Nyquist frequency), so that models hear what they were trained on. torchaudio holds
every phase of it in one dense matrix, however: 5 GB for 16001 Hz. Here a phase has only the taps that are not 0, so
that any pair of rates takes some megabytes, and each output is one sum over its own taps, always in one order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
import torchaudio.functional
from torch import Tensor

from snn_asr.errors import UsageError
from snn_asr.kernel_cache import njit

_ZERO_CROSSINGS = 6
_ROLLOFF = 0.99  # of the lower Nyquist frequency: where the filter cuts off


@dataclass(frozen=True, eq=False)
class _Filter:
    """The taps of every phase for one ratio of rates, in lowest terms.

    Output n lies at input n * ``step`` / ``phases``. Its taps are row n % ``phases`` of ``taps``
    (phases, 2 * reach + 2), the first of which belongs to the input ``reach`` before the one at or before that place.
    """

    step: int
    phases: int
    reach: int
    taps: np.ndarray


@lru_cache(maxsize=4)
def _filter(from_rate: int, to_rate: int) -> _Filter:
    divisor = math.gcd(from_rate, to_rate)
    step, phases = from_rate // divisor, to_rate // divisor
    cutoff = min(step, phases) * _ROLLOFF
    reach = math.ceil(_ZERO_CROSSINGS * step / cutoff)
    taps = np.empty((phases, 2 * reach + 2), np.float32)
    _fill_taps(taps, step, reach, cutoff)
    return _Filter(step, phases, reach, taps)


class Resampler:
    """``resample`` of a waveform that arrives in chunks: the same numbers however it was cut.

    The filter reaches ``latency_seconds`` to either side of an output: so much of the past is kept, and outputs wait
    for so much of the future. At equal rates chunks pass through.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._filter = None if from_rate == to_rate else _filter(from_rate, to_rate)
        self._from_rate = from_rate
        self._kept = np.empty(0, np.float32)
        self._first = self._inputs = self._outputs = 0
        self._reset()

    @property
    def latency_seconds(self) -> float:
        """How long an output waits, at most, for the inputs behind it."""
        return 0.0 if self._filter is None else (self._filter.reach + 2) / self._from_rate

    def accept(self, samples: Tensor) -> Tensor:
        """Take samples (n,) float32, return those that are ready at the other rate."""
        if self._filter is None:
            return samples
        self._inputs += len(samples)
        # The last tap of output n is at input n * step // phases + reach + 1, which must have arrived.
        ready = -(-max(0, self._inputs - self._filter.reach - 1) * self._filter.phases // self._filter.step)
        return self._outputs_until(ready, samples.contiguous().numpy(), self._filter)

    def finish(self) -> Tensor:
        """The last samples, silence behind them; the resampler is then ready for another waveform."""
        if self._filter is None:
            return torch.empty(0, dtype=torch.float32)
        length = -(-self._inputs * self._filter.phases // self._filter.step)
        rest = self._outputs_until(length, np.zeros(self._filter.reach + 2, np.float32), self._filter)
        self._reset()
        return rest

    def _outputs_until(self, end: int, samples: np.ndarray, shape: _Filter) -> Tensor:
        """Outputs up to ``end``, with ``samples`` behind those that were kept; what later outputs need is kept."""
        kept = np.concatenate((self._kept, samples))
        result = np.empty(max(0, end - self._outputs), np.float32)
        step, phases = shape.step, shape.phases
        _filter_samples(kept, self._first, self._outputs, step, shape.taps, result)
        self._outputs += len(result)
        needed = self._outputs * step // phases - self._first
        self._kept, self._first = kept[needed:].copy(), self._first + needed
        return torch.from_numpy(result)

    def _reset(self) -> None:
        reach = 0 if self._filter is None else self._filter.reach
        self._kept = np.zeros(reach, np.float32)  # silence before the waveform
        self._first = 0  # the input for which the first of the kept samples is the first tap
        self._inputs = self._outputs = 0


def resample(samples: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Band-limited resampling of (n,) float32 from ``from_rate`` to ``to_rate`` hertz: n * to / from, rounded up."""
    if from_rate == to_rate or not len(samples):
        return samples
    resampler = Resampler(from_rate, to_rate)
    return torch.cat((resampler.accept(samples), resampler.finish()))


def change_speed(samples: Tensor, factor: float) -> Tensor:
    """Play ``factor`` times as fast: the duration becomes 1 / factor and the pitch moves too (speed perturbation).

    ``factor`` is taken as a ratio of whole numbers up to 100, for which torchaudio's own resampling of whole waveforms
    needs little memory: trainings of earlier versions are repeated bit for bit with it (``resample`` differs from it by
    some 1e-6). Raises UsageError unless ``factor`` is in [0.1, 10].
    """
    if not 0.1 <= factor <= 10:
        raise UsageError(f"speed factor {factor}", todo="choose one from 0.1 to 10")
    ratio = speed_ratio(factor)
    if ratio == 1 or not len(samples):
        return samples
    resampled: Tensor = torchaudio.functional.resample(samples, ratio.numerator, ratio.denominator)
    return resampled


def speed_ratio(factor: float) -> Fraction:
    """The ratio by which ``change_speed`` divides the number of samples (rounding up)."""
    return Fraction(factor).limit_denominator(100)


@njit(cache=True, nogil=True)
def _fill_taps(taps: np.ndarray, step: int, reach: int, cutoff: float) -> None:
    """Row p of ``taps`` (phases, 2 * reach + 2): weights of the inputs around p * step / phases.

    With t the distance in zero crossings, a weight is sin(pi t) / (pi t) * cos(pi t / 12) ** 2 * cutoff / step, and 0
    from six crossings on.
    """
    phases = taps.shape[0]
    for phase in range(phases):
        first = phase * step // phases - reach
        for k in range(taps.shape[1]):
            t = ((first + k) / step - phase / phases) * cutoff
            if abs(t) >= _ZERO_CROSSINGS:
                taps[phase, k] = 0.0
            else:
                window = math.cos(math.pi * t / (2 * _ZERO_CROSSINGS)) ** 2
                sinc = 1.0 if t == 0 else math.sin(math.pi * t) / (math.pi * t)
                taps[phase, k] = sinc * window * cutoff / step


# Sums may be split among the lanes of a vector: in the same way for every output, since all have as many taps.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _filter_samples(
    kept: np.ndarray, first: int, output: int, step: int, taps: np.ndarray, result: np.ndarray
) -> None:
    """Outputs from ``output`` on; ``kept[0]`` is the first tap of an output that lies at input ``first``."""
    phases, size = taps.shape
    for n in range(result.shape[0]):
        place = (output + n) * step
        start, phase = place // phases - first, (output + n) % phases
        total = 0.0
        for k in range(size):
            total += np.float64(kept[start + k]) * np.float64(taps[phase, k])
        result[n] = total
