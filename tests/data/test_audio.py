"""Reading, writing, resampling and speed."""

from __future__ import annotations

import math

import numpy
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_asr.data.audio import read_audio, write_audio
from snn_asr.data.resampling import change_speed, resample
from snn_asr.data.sound_file import duration_seconds
from snn_asr.errors import DataError, UsageError


def tone(frequency_hz: float, seconds: float, rate: int) -> torch.Tensor:
    time = torch.arange(int(seconds * rate), dtype=torch.float64) / rate
    return (0.5 * torch.sin(2 * math.pi * frequency_hz * time)).float()


def peak_hz(samples: torch.Tensor, rate: int) -> float:
    spectrum = torch.fft.rfft(samples * torch.hann_window(len(samples))).abs()
    return spectrum.argmax().item() * rate / len(samples)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@settings(max_examples=25, deadline=None)
@given(levels=st.lists(st.integers(-32768, 32767), min_size=1, max_size=50))
def test_sixteen_bit_samples_survive_write_and_read(tmp_path_factory, suffix, levels):
    path = tmp_path_factory.mktemp("audio") / f"clip{suffix}"
    samples = torch.tensor(levels, dtype=torch.float32) / 32768
    write_audio(path, samples, 16000)
    assert torch.equal(read_audio(path), samples)
    assert duration_seconds(path) == len(levels) / 16000


def test_writing_clips_and_refuses_other_suffixes(tmp_path):
    write_audio(tmp_path / "loud.wav", torch.tensor([2.0, -2.0, 1.0]), 8000)
    assert read_audio(tmp_path / "loud.wav", 8000).tolist() == [32767 / 32768, -1.0, 32767 / 32768]
    with pytest.raises(UsageError, match=r"\.mp3"):
        write_audio(tmp_path / "x.mp3", torch.zeros(3), 8000)
    assert [path.name for path in tmp_path.iterdir()] == ["loud.wav"]


@pytest.mark.parametrize("suffix, tolerance", [(".wav", 1e-3), (".flac", 1e-3), (".ogg", 0.05), (".mp3", 0.05)])
def test_formats_channels_and_rates_give_the_same_tone(tmp_path, suffix, tolerance):
    path = tmp_path / f"stereo{suffix}"
    left = tone(440, 1, 44100).numpy()
    soundfile.write(path, numpy.stack([left, 0.5 * left], axis=1), 44100)
    samples = read_audio(path)
    assert samples.dtype == torch.float32 and samples.dim() == 1
    middle = slice(2000, 14000)  # away from the edges of the resampling filter
    assert (samples[middle] - 0.75 * tone(440, 1, 16000)[middle]).abs().max() < tolerance
    assert duration_seconds(path) == pytest.approx(1, abs=0.01)


def test_resampling_removes_what_lies_above_the_new_nyquist():
    assert resample(tone(6000, 1, 16000), 16000, 8000)[500:-500].abs().max() < 0.01
    assert resample(tone(1000, 1, 16000), 16000, 8000)[500:-500].abs().max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("factor", [0.9, 1.1, 2, 0.5])
def test_speed_changes_duration_and_pitch(factor):
    faster = change_speed(tone(500, 1, 16000), factor)
    assert len(faster) == pytest.approx(16000 / factor, abs=1)
    assert peak_hz(faster, 16000) == pytest.approx(500 * factor, abs=2)


def test_speed_one_and_empty_waveforms_stay_and_nonsense_is_refused():
    samples = torch.rand(100)
    assert torch.equal(change_speed(samples, 1.0), samples)
    assert change_speed(torch.empty(0), 1.1).shape == (0,)
    for factor in (0, -1, math.nan, math.inf):
        with pytest.raises(UsageError, match="speed factor"):
            change_speed(samples, factor)


def test_a_file_without_samples_is_an_empty_waveform(tmp_path):
    soundfile.write(tmp_path / "stereo.wav", numpy.zeros((0, 2)), 44100)
    write_audio(tmp_path / "mono.wav", torch.empty(0), 16000)
    for path in tmp_path.iterdir():
        assert read_audio(path).shape == (0,)
        assert duration_seconds(path) == 0
    with pytest.raises(DataError, match="without samples"):
        write_audio(tmp_path / "empty.flac", torch.empty(0), 16000)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_sample_that_is_not_finite_is_named(tmp_path, bad):
    samples = numpy.zeros((8000, 2), dtype=numpy.float32)
    samples[4000, 1] = bad
    samples[6000, 0] = math.nan
    soundfile.write(tmp_path / "bad.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(DataError, match=r"bad\.wav: sample 4000 \(at 0\.250 s\)"):
        read_audio(tmp_path / "bad.wav")


def test_missing_foreign_and_damaged_files_are_data_errors(tmp_path):
    (tmp_path / "zero.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("not audio at all")
    reasons = {"absent.wav": "no such", ".": "a folder", "zero.wav": "not readable", "text.wav": "not readable"}
    for name, reason in reasons.items():
        for function in (read_audio, duration_seconds):
            with pytest.raises(DataError, match=reason) as caught:
                function(tmp_path / name)
            assert "\n" not in str(caught.value)


def test_a_file_that_was_cut_short_is_refused(tmp_path):
    noise = torch.rand(16000, generator=torch.Generator().manual_seed(0)) - 0.5
    write_audio(tmp_path / "whole.flac", noise, 16000)
    content = (tmp_path / "whole.flac").read_bytes()
    (tmp_path / "half.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"half\.flac: (cut short|cannot decode)"):
        read_audio(tmp_path / "half.flac")


def test_nist_sphere_and_timit_files_are_read(shared_data):
    sphere = next((shared_data / "an4" / "wav").rglob("*.sph"))
    timit = next((shared_data / "timit_sample").rglob("*.WAV"))
    for path in (sphere, timit):
        samples = read_audio(path)
        assert len(samples) == pytest.approx(duration_seconds(path) * 16000) and 0.01 < samples.abs().max() <= 1
