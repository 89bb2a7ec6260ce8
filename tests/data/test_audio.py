"""The one door for sound: files, their content, arrays, tensors and lists; writing."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_asr.data import audio
from snn_asr.data.audio import is_samples, read_audio, read_blocks, waveform, write_audio
from snn_asr.data.resampling import resample
from snn_asr.data.sound_file import duration_seconds
from snn_asr.errors import DataError, UsageError


def tone(frequency_hz: float, seconds: float, rate: int) -> torch.Tensor:
    time = torch.arange(int(seconds * rate), dtype=torch.float64) / rate
    return (0.5 * torch.sin(2 * math.pi * frequency_hz * time)).float()


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@settings(max_examples=25)
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
    soundfile.write(path, np.stack([left, 0.5 * left], axis=1), 44100)
    samples = read_audio(path)
    assert samples.dtype == torch.float32 and samples.dim() == 1
    middle = slice(2000, 14000)  # away from the edges of the resampling filter
    assert (samples[middle] - 0.75 * tone(440, 1, 16000)[middle]).abs().max() < tolerance
    assert duration_seconds(path) == pytest.approx(1, abs=0.01)


def test_a_file_without_samples_is_an_empty_waveform(tmp_path):
    soundfile.write(tmp_path / "stereo.wav", np.zeros((0, 2)), 44100)
    write_audio(tmp_path / "mono.wav", torch.empty(0), 16000)
    for path in tmp_path.iterdir():
        assert read_audio(path).shape == (0,)
        assert duration_seconds(path) == 0
    with pytest.raises(DataError, match="without samples"):
        write_audio(tmp_path / "empty.flac", torch.empty(0), 16000)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_sample_that_is_not_finite_is_named(tmp_path, bad):
    samples = np.zeros((8000, 2), dtype=np.float32)
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


def test_nist_sphere_and_timit_files_are_read(shared_data):
    sphere = next((shared_data / "an4" / "wav").rglob("*.sph"))
    timit = next((shared_data / "timit_sample").rglob("*.WAV"))
    for path in (sphere, timit):
        samples = read_audio(path)
        assert len(samples) == pytest.approx(duration_seconds(path) * 16000) and 0.01 < samples.abs().max() <= 1


LEVELS = np.array([0, 1, -1, 12345, -32768, 32767], np.int16)


@pytest.mark.parametrize("samples", [
    LEVELS, LEVELS.astype(">i2"), LEVELS.astype(np.int32) * 65536, (LEVELS.astype(np.int32) + 32768).astype(np.uint16),
    LEVELS / 32768, (LEVELS / 32768).astype(np.float32), (LEVELS / 32768).tolist(), torch.from_numpy(LEVELS),
    torch.from_numpy(LEVELS / 32768).requires_grad_(), np.stack([LEVELS, LEVELS]), np.stack([LEVELS, LEVELS], axis=1),
    torch.from_numpy(np.stack([LEVELS / 16384, np.zeros(6)])), LEVELS[:, None], LEVELS[None, :],
])
def test_samples_of_every_type_and_shape_are_one_waveform(samples):
    expected = torch.from_numpy(LEVELS.astype(np.float32) / 32768)
    assert is_samples(samples)
    assert torch.equal(waveform(samples), expected) and torch.equal(read_audio(samples, 8000), expected)
    assert torch.equal(torch.cat(list(read_blocks(samples, 8000, 2 / 8000))), expected)
    resampled = read_audio(samples, 16000, source_rate=8000)
    assert torch.equal(resampled, resample(expected, 8000, 16000)) and len(resampled) == 12


def test_eight_bits_have_their_zero_in_the_middle_or_a_sign():
    assert waveform(np.array([0, 128, 255], np.uint8)).tolist() == [-1, 0, 127 / 128]
    assert waveform(np.array([-128, 0, 127], np.int8)).tolist() == [-1, 0, 127 / 128]


@pytest.mark.parametrize("samples", [
    np.zeros((2, 2, 2)), np.float32(1), np.zeros((0, 0)), np.zeros((70, 100)), np.array(["a"]), np.array([1j]),
    np.array([True]), np.array([1, 2]), np.array([None]), [0.1, "x"], [0.1, [0.2, 0.3]],
    torch.zeros(3, dtype=torch.bool), torch.zeros(3, dtype=torch.int64),
    np.array([0.0, np.nan]), np.array([np.inf]), np.array([1e300]), [1e13],
    torch.eye(3).to_sparse(),
])
def test_what_is_no_waveform_is_one_line(samples):
    for read in (waveform, read_audio, lambda each: list(read_blocks(each, 8000))):
        with pytest.raises(DataError) as caught:
            read(samples)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", [7, None, object(), {}, [object()]])
def test_what_is_neither_a_file_nor_samples_is_one_line(source):
    with pytest.raises(DataError, match="neither a file nor samples"):
        read_audio(source)


@pytest.mark.parametrize("shape", [(0,), (0, 2), (2, 0), (0, 1)])
def test_channels_without_a_sample_are_an_empty_waveform(shape):
    assert len(waveform(np.zeros(shape))) == len(read_audio(torch.zeros(shape))) == 0


@pytest.mark.parametrize("kind", ["file", "int16", "uint8", "float"])
@pytest.mark.parametrize("gain", [-1.0, -0.9])
def test_channels_in_opposite_phase_are_refused(tmp_path, kind, gain):
    """Their average would be silence."""
    tone = np.sin(np.arange(30_000) / 7) / 2 * (np.arange(30_000) % 5_000 > 2_000)
    channels = np.stack([tone, gain * tone], 1)
    source = {
        "int16": (channels * 32767).astype(np.int16), "uint8": (channels * 127 + 128).astype(np.uint8),
        "float": channels.astype(np.float32) + np.float32([0.1, 0.2]), "file": tmp_path / "a.wav",
    }[kind]
    soundfile.write(tmp_path / "a.wav", channels, 8000)
    with pytest.raises(DataError, match="opposite phase") as caught:
        read_audio(source, 8000)
    assert str(caught.value).startswith(str(tmp_path / "a.wav") if kind == "file" else "samples")


@pytest.mark.parametrize(
    "channels",
    [
        np.random.default_rng(1).standard_normal((20_000, 64)) / 10,
        np.eye(64)[0] * np.sin(np.arange(20_000) / 7)[:, None],
        np.sin(np.arange(20_000) / 7)[:, None] * [1, -0.5],
        np.zeros((20_000, 2)) + [0.5, -0.5],
        np.random.default_rng(2).standard_normal((20_000, 1)) * [2e-5, -2e-5],
    ],
    ids=["nothing in common", "one of 64", "half as loud", "offsets", "no sound"],
)
def test_other_channels_are_averaged(channels):
    np.testing.assert_allclose(read_audio(channels, 8000), channels.mean(axis=1), atol=1e-6)


def test_a_tensor_that_torch_negates_when_it_is_read_is_a_waveform():
    negated = torch.complex(torch.zeros(3), torch.ones(3)).conj().imag
    assert waveform(negated).tolist() == [-1, -1, -1]


def test_an_open_file_that_gives_no_bytes_is_one_line(tmp_path):
    write_audio(tmp_path / "a.wav", torch.zeros(100), 8000)
    closed = open(tmp_path / "a.wav", "rb")
    closed.close()
    with open(tmp_path / "a.wav", encoding="latin-1") as text, open(tmp_path / "b", "wb") as written:
        for source in (text, io.StringIO("text"), written, closed):
            with pytest.raises(DataError, match="mode 'rb'"):
                read_audio(source)


@pytest.mark.parametrize("rate", [0, -1, 999, 2**32, 16000.5, math.nan, math.inf, True, "16k"])
def test_rates_that_cannot_be_are_refused(rate):
    with pytest.raises(UsageError, match="sample rate"):
        read_audio(np.zeros(100), 16000, source_rate=rate)


def test_open_files_and_the_bytes_of_files_are_files(tmp_path):
    samples = tone(440, 0.3, 8000)
    write_audio(tmp_path / "a.flac", samples, 8000)
    content, expected = (tmp_path / "a.flac").read_bytes(), read_audio(tmp_path / "a.flac")

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with open(tmp_path / "a.flac", "rb") as file:
        for source in (str(tmp_path / "a.flac"), content, bytearray(content), io.BytesIO(content), Pipe(content), file):
            assert not is_samples(source) and torch.equal(read_audio(source), expected)
        assert not file.closed
    with pytest.raises(DataError, match="audio in memory: not readable"):
        read_audio(content[1:])


def test_a_waveform_that_no_memory_holds_is_refused_whole(monkeypatch):
    monkeypatch.setattr(audio, "LONGEST_WHOLE_HOURS", 1 / 3600)
    assert len(read_audio(np.zeros(8000), 8000)) == 8000
    with pytest.raises(DataError, match="too long to be held in memory"):
        read_audio(np.zeros(8001), 8000)
