"""Resampling whole and in chunks, at any pair of rates, in little memory; speed."""

from __future__ import annotations

import math

import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_asr.data.resampling import Resampler, change_speed, resample, speed_ratio
from snn_asr.errors import UsageError

RATES = [(8000, 8000), (44100, 16000), (8000, 16000), (48000, 16000), (22050, 8000), (11025, 16000), (16001, 8000),
         (1000, 48000), (44101, 16000)]


def tone(frequency_hz: float, seconds: float, rate: int) -> torch.Tensor:
    time = torch.arange(int(seconds * rate), dtype=torch.float64) / rate
    return (0.5 * torch.sin(2 * math.pi * frequency_hz * time)).float()


def peak_hz(samples: torch.Tensor, rate: int) -> float:
    spectrum = torch.fft.rfft(samples * torch.hann_window(len(samples))).abs()
    return spectrum.argmax().item() * rate / len(samples)


@settings(max_examples=60)
@given(rates=st.sampled_from(RATES), length=st.integers(0, 3000), cuts=st.lists(st.integers(0, 3000), max_size=6))
def test_resampling_in_chunks_equals_resampling_whole_bit_for_bit(rates, length, cuts):
    samples = torch.randn(length, generator=torch.Generator().manual_seed(length))
    resampler = Resampler(*rates)
    for _ in range(2):  # finished, it is ready for another
        pieces = [resampler.accept(each) for each in torch.tensor_split(samples, sorted(cuts))]
        assert torch.equal(torch.cat([*pieces, resampler.finish()]), resample(samples, *rates))
    assert len(resampler.finish()) == 0


@pytest.mark.parametrize("rates", [(44100, 16000), (8000, 16000), (48000, 16000), (16000, 8000), (22050, 16000)])
def test_usual_rates_give_what_torchaudio_gives_to_the_rounding_of_its_filter(rates):
    samples = torch.rand(20000, generator=torch.Generator().manual_seed(1)) - 0.5
    expected = torchaudio.functional.resample(samples, *rates)
    torch.testing.assert_close(resample(samples, *rates), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("from_rate", "to_rate"), [(16001, 16000), (44101, 16000), (767999, 16000), (1000, 15999)])
def test_rates_without_a_common_divisor_cost_little(from_rate, to_rate):
    samples = tone(300, 0.5, from_rate)
    result = resample(samples, from_rate, to_rate)
    assert len(result) == math.ceil(len(samples) * to_rate / from_rate)
    inner = slice(to_rate // 20, -to_rate // 20)
    assert (result - tone(300, 0.6, to_rate)[: len(result)])[inner].abs().max() < 0.01
    assert Resampler(from_rate, to_rate)._filter.taps.nbytes < 40e6


def test_a_resampler_waits_no_longer_than_it_says():
    resampler = Resampler(48000, 16000)
    given_samples = 480
    waiting = given_samples / 48000 - len(resampler.accept(torch.randn(given_samples))) / 16000
    assert 0 < waiting <= resampler.latency_seconds < 0.001


def test_a_resampler_keeps_little_however_long_the_waveform():
    resampler = Resampler(44101, 16000)
    for _ in range(50):
        resampler.accept(torch.zeros(5000))
        assert len(resampler._kept) < 100


def test_resampling_removes_what_lies_above_the_new_nyquist():
    assert resample(tone(6000, 1, 16000), 16000, 8000)[500:-500].abs().max() < 0.01
    assert resample(tone(1000, 1, 16000), 16000, 8000)[500:-500].abs().max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("factor", [0.9, 1.1, 2, 0.5])
def test_speed_changes_duration_and_pitch(factor):
    faster = change_speed(tone(500, 1, 16000), factor)
    assert len(faster) == math.ceil(16000 / speed_ratio(factor))
    assert peak_hz(faster, 16000) == pytest.approx(500 * factor, abs=2)


def test_speed_one_and_empty_waveforms_stay_and_nonsense_is_refused():
    samples = torch.rand(100)
    assert torch.equal(change_speed(samples, 1.0), samples)
    assert change_speed(torch.empty(0), 1.1).shape == (0,)
    for factor in (0, -1, math.nan, math.inf):
        with pytest.raises(UsageError, match="speed factor"):
            change_speed(samples, factor)
