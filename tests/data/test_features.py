"""Frames against torchaudio, chunks against the whole, normalisation and stacking."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.compliance import kaldi

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.features import (
    FeatureExtractor,
    FeatureStream,
    add_deltas,
    average_segments,
    stack_frames,
    stacked_length,
)
from snn_asr.data.normalization import Normalization, NormalizationAccumulator
from snn_asr.errors import DataError, UsageError

CHOICES = [
    FeatureSettings(),
    FeatureSettings(kind="mfcc", deltas=True),
    FeatureSettings(sample_rate=8000, mels=20, deltas=True, high_hz=3800),
    FeatureSettings(sample_rate=11025, mels=23, window_milliseconds=32.5, hop_milliseconds=12.5, low_hz=60),
    FeatureSettings(sample_rate=8000, mels=128),  # the lowest filters lie between two bins of the spectrum
]


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    envelope = torch.rand(samples // 800 + 1, generator=generator).repeat_interleave(800)[:samples]
    return torch.randn(samples, generator=generator) * 0.1 * envelope**4


@pytest.mark.parametrize("chosen", CHOICES, ids=lambda chosen: f"{chosen.kind}{chosen.sample_rate}")
def test_the_numbers_are_those_of_kaldi(chosen):
    samples = noise(20011)
    common = dict(
        num_mel_bins=chosen.mels, sample_frequency=chosen.sample_rate, frame_length=chosen.window_milliseconds,
        frame_shift=chosen.hop_milliseconds, low_freq=chosen.low_hz, high_freq=chosen.high_hz or 0,
    )
    if chosen.kind == "mfcc":
        expected = kaldi.mfcc(samples.double()[None], num_ceps=chosen.coefficients, **common)
    else:
        expected = kaldi.fbank(samples.double()[None], **common)
    extractor = FeatureExtractor(chosen)
    frames = extractor.base_frames(samples)
    assert frames.dtype == torch.float32 and expected.dtype == torch.float64
    assert frames.shape == expected.shape == (extractor.frame_count(20011), chosen.base_size)
    torch.testing.assert_close(frames.double(), expected, rtol=1e-6, atol=1e-5)


def test_numbers_are_computed_beyond_float32():
    samples = noise(16000)
    expected = kaldi.fbank(samples.double()[None], num_mel_bins=40).float()
    in_single = kaldi.fbank(samples[None], num_mel_bins=40)
    assert torch.equal(FeatureExtractor(FeatureSettings())(samples), expected)
    assert not torch.equal(in_single, expected)


@pytest.mark.parametrize("chosen", CHOICES, ids=lambda chosen: f"{chosen.kind}{chosen.sample_rate}")
@settings(max_examples=20)
@given(length=st.integers(0, 9000), cuts=st.lists(st.integers(0, 9000), max_size=12))
def test_chunks_give_exactly_the_whole(chosen, length, cuts):
    extractor, samples = FeatureExtractor(chosen), noise(length, seed=length)
    stream = FeatureStream(extractor)
    bounds = [0, *sorted(min(cut, length) for cut in cuts), length]
    pieces = [stream.accept(samples[start:end]) for start, end in zip(bounds, bounds[1:], strict=False)]
    assert torch.equal(torch.cat([*pieces, stream.finish()]), extractor(samples))


@pytest.mark.parametrize("deltas", [False, True])
def test_single_samples_give_exactly_the_whole_and_the_stream_starts_anew(deltas):
    extractor = FeatureExtractor(FeatureSettings(sample_rate=8000, deltas=deltas))
    stream, samples = FeatureStream(extractor), noise(2500)
    whole = extractor(samples)
    assert len(whole) == 29
    for _ in range(2):
        pieces = [stream.accept(sample[None]) for sample in samples]
        last = stream.finish()
        assert torch.equal(torch.cat([*pieces, last]), whole)
        assert len(last) == (4 if deltas else 0)


@settings(max_examples=200)
@given(samples=st.integers(0, 5000))
def test_frame_count_counts_whole_windows(samples):
    expected = sum(1 for start in range(0, samples, 160) if start + 400 <= samples)
    assert FeatureExtractor(FeatureSettings()).frame_count(samples) == expected


def test_less_than_a_window_gives_no_frame_and_silence_is_finite():
    extractor = FeatureExtractor(FeatureSettings(deltas=True))
    assert extractor(torch.zeros(399)).shape == (0, 120)
    assert extractor(torch.empty(0)).shape == (0, 120)
    silence = extractor(torch.zeros(16000))
    assert silence.shape == (98, 120)
    assert silence[:, :40].unique().tolist() == [pytest.approx(math.log(2**-23))]
    assert not silence[:, 40:].any()


def test_a_tone_is_loudest_in_the_filter_around_it():
    time = torch.arange(16000) / 16000
    frames = FeatureExtractor(FeatureSettings())(0.5 * torch.sin(2 * math.pi * 1000 * time))
    low, high = (1127 * math.log(1 + hz / 700) for hz in (20, 8000))
    nearest = round((1127 * math.log(1 + 1000 / 700) - low) / ((high - low) / 41)) - 1
    assert (frames.argmax(dim=1) == nearest).all()


def test_deltas_of_a_ramp_are_its_slope():
    ramp = torch.arange(20.0)[:, None] * torch.tensor([[1.0, -0.5]])
    first, second = add_deltas(ramp)[:, 2:4], add_deltas(ramp)[:, 4:6]
    torch.testing.assert_close(first[2:-2], torch.tensor([[1.0, -0.5]]).expand(16, 2))
    torch.testing.assert_close(second[4:-4], torch.zeros(12, 2))
    # At the edge the first frame is repeated: (1 * (1 - 0) + 2 * (2 - 0)) / 10.
    assert first[0, 0].item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"kind": "mfc"}, "did you mean 'mfcc'"),
        ({"mels": 2}, "mels: 2"),
        ({"mels": 40.0}, "whole number"),
        ({"kind": "mfcc", "coefficients": 41}, "1 to 40"),
        ({"high_hz": 9000}, "low_hz to 8000"),
        ({"low_hz": "20"}, "a number"),
        ({"low_hz": None}, "a number"),
        ({"hop_milliseconds": 30}, "hop_milliseconds: 30"),
        ({"window_milliseconds": math.nan}, "window_milliseconds"),
        ({"stack": 0}, "stack: 0"),
        ({"segments": -1}, "segments: -1; must be 0"),
        ({"segments": True}, "segments: True; must be a whole number"),
        ({"segments": 8}, "stack: 3; must be 1 where there are segments"),
        ({"deltas": 1}, "true or false"),
        ({"mel": 40}, "did you mean 'mels'"),
    ],
)
def test_settings_that_cannot_work_are_usage_errors(values, message):
    with pytest.raises(UsageError, match=message):
        FeatureSettings.from_dict(values)


@pytest.mark.parametrize("chosen", CHOICES)
def test_settings_survive_json(chosen):
    assert FeatureSettings.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen


def test_sizes_follow_from_the_settings():
    chosen = FeatureSettings(kind="mfcc", deltas=True, stack=4)
    assert (chosen.size, chosen.stacked_size, chosen.stacked_seconds) == (39, 156, 0.04)
    assert (FeatureSettings().size, FeatureSettings().stacked_size) == (40, 120)
    assert FeatureSettings().step_seconds(9.5) == FeatureSettings().stacked_seconds == 0.03
    chosen = FeatureSettings(kind="mfcc", coefficients=14, deltas=True, stack=1, segments=8)
    assert (chosen.size, chosen.stacked_size, chosen.step_seconds(0.6)) == (42, 42, 0.075)


@settings(max_examples=50)
@given(count=st.integers(1, 40), segments=st.integers(1, 12))
def test_segments_are_means_of_equal_parts(count, segments):
    frames = torch.rand(count, 3, generator=torch.Generator().manual_seed(count))
    averages = average_segments(frames, segments)
    assert averages.shape == (segments, 3) and averages.dtype == torch.float32
    for part in range(segments):
        start, end = part * count / segments, (part + 1) * count / segments
        touched = [frame for frame in range(count) if frame < end - 1e-9 and frame + 1 > start + 1e-9]
        torch.testing.assert_close(averages[part], frames[touched].mean(dim=0))


def test_fewer_frames_than_segments_are_repeated_and_none_stay_none():
    frames = torch.tensor([[1.0], [5.0]])
    assert average_segments(frames, 4).flatten().tolist() == [1, 1, 5, 5]
    assert average_segments(frames, 3).flatten().tolist() == [1, 3, 5]
    assert average_segments(frames[:0], 4).shape == (0, 1)


@settings(max_examples=30)
@given(samples=st.integers(0, 3000))
def test_an_extractor_with_segments_averages_its_frames_deltas_included(samples):
    whole = FeatureSettings(kind="mfcc", sample_rate=8000, mels=20, deltas=True, stack=1)
    averaged = FeatureExtractor(FeatureSettings(**{**whole.to_dict(), "segments": 5}))
    waveform = noise(samples, seed=samples)
    frames = averaged(waveform)
    assert torch.equal(frames, average_segments(FeatureExtractor(whole)(waveform), 5))
    assert len(frames) == averaged.frame_count(samples) == (5 if samples >= 200 else 0)  # a window is 200 samples


def test_segments_cannot_be_streamed():
    with pytest.raises(UsageError, match="segments: 5: they divide a whole utterance") as caught:
        FeatureStream(FeatureExtractor(FeatureSettings(stack=1, segments=5)))
    assert "\n" not in str(caught.value)


def test_normalization_of_all_frames_gives_mean_zero_and_deviation_one():
    generator = torch.Generator().manual_seed(1)
    parts = [torch.randn(length, 5, generator=generator) * 3 - 12 for length in (1, 50, 0, 400)]
    for part in parts:
        part[:, 4] = -15.9  # a constant feature
    accumulator = NormalizationAccumulator()
    for part in parts:
        accumulator.update(part)
    normalization, everything = accumulator.finish(), torch.cat(parts)
    torch.testing.assert_close(normalization.mean, everything.mean(dim=0))
    torch.testing.assert_close(normalization.deviation[:4], everything[:, :4].std(dim=0, correction=0))
    assert normalization.deviation[4].item() == pytest.approx(0.01)
    normalized = normalization.apply(everything.reshape(11, 41, 5))
    assert normalized.shape == (11, 41, 5) and normalized.dtype == torch.float32
    assert normalized.mean(dim=(0, 1)).abs().max() < 1e-3


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6, width=32), st.floats(2**-10, 1e6, width=32)), min_size=1, max_size=8))
def test_normalization_survives_json_exactly(pairs):
    mean, deviation = torch.tensor(pairs, dtype=torch.float32).T
    back = Normalization.from_dict(json.loads(json.dumps(Normalization(mean, deviation).to_dict())))
    assert torch.equal(back.mean, mean) and torch.equal(back.deviation, deviation)


@pytest.mark.parametrize(
    "values",
    [{}, [], {"mean": [1], "deviation": [0]}, {"mean": [1], "deviation": [1, 1]}, {"mean": 1, "deviation": 1},
     {"mean": ["x"], "deviation": [1]}, {"mean": [math.inf], "deviation": [1]}, {"mean": [1], "deviation": [math.nan]}],
)
def test_damaged_normalization_is_a_data_error(values):
    with pytest.raises(DataError, match="normalisation needs"):
        Normalization.from_dict(values)


def test_no_frames_cannot_be_normalised():
    accumulator = NormalizationAccumulator()
    accumulator.update(torch.empty(0, 40))
    with pytest.raises(DataError, match="no frames"):
        accumulator.finish()


@settings(max_examples=50)
@given(count=st.integers(0, 20), stack=st.integers(1, 5))
def test_stacking_puts_neighbours_side_by_side(count, stack):
    frames = torch.arange(2.0 * count * 3).reshape(2, count, 3)
    stacked = stack_frames(frames, stack)
    assert stacked.shape == (2, count // stack, 3 * stack)
    for group in range(count // stack):
        expected = torch.cat([frames[1, group * stack + offset] for offset in range(stack)])
        assert torch.equal(stacked[1, group], expected)
    assert torch.equal(stack_frames(frames[1], stack), stacked[1])
    assert stacked_length(count, stack) == count // stack
