"""Sound files as they are in the world: lengths that are not told or wrong, files cut short, absurd headers."""

from __future__ import annotations

import logging
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from snn_asr.data.audio import read_audio, read_blocks
from snn_asr.data.sound_file import describe, duration_seconds, open_sound
from snn_asr.errors import DataError

RATE = 16000
LENGTH = 24000
HALF_LOST = r"cut short|not readable|cannot decode|damaged"
KINDS = {
    "wav": ("WAV", "PCM_16"), "wave": ("WAVEX", "PCM_24"), "float.wav": ("WAV", "FLOAT"), "ulaw.wav": ("WAV", "ULAW"),
    "gsm.wav": ("WAV", "GSM610"), "ms.wav": ("WAV", "MS_ADPCM"), "ima.wav": ("WAV", "IMA_ADPCM"),
    "w64": ("W64", "PCM_16"), "rf64": ("RF64", "PCM_16"), "aiff": ("AIFF", "PCM_16"), "aifc": ("AIFF", "ULAW"),
    "au": ("AU", "PCM_16"), "snd": ("AU", "ALAW"), "caf": ("CAF", "PCM_16"), "sph": ("NIST", "PCM_16"),
    "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"),
}


def sound() -> np.ndarray:
    """A tone that swells, with a little noise, so that no codec can make nothing of it."""
    time = np.arange(LENGTH) / RATE
    noise = np.random.default_rng(0).standard_normal(LENGTH)
    return 0.3 * np.sin(2 * np.pi * 440 * time) * np.sin(np.pi * time / 1.5) + 0.003 * noise


def write(folder: Path, kind: str) -> Path:
    path = folder / (f"a.{kind}" if "." not in kind else kind)
    file_format, subtype = KINDS[kind]
    soundfile.write(path, sound(), RATE, format=file_format, subtype=subtype)
    return path


def patched(path: Path, at: int, content: bytes) -> Path:
    data = bytearray(path.read_bytes())
    data[at : at + len(content)] = content
    path.write_bytes(data)
    return path


def data_size(path: Path) -> int:
    """Where a WAV file has the length of its samples."""
    return path.read_bytes().find(b"data") + 4


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_read_to_its_end_by_its_content_whatever_its_name(kind, tmp_path):
    path = write(tmp_path, kind).rename(tmp_path / "name.raw")
    samples = read_audio(path, RATE)
    assert LENGTH <= len(samples) < LENGTH + 1200  # a codec's last block may be longer than the sound
    assert duration_seconds(path) == pytest.approx(len(samples) / RATE, abs=0.001)
    middle = torch.from_numpy(sound()).float()
    loud = samples[: len(middle)].dot(middle) / (samples[: len(middle)].norm() * middle.norm())
    assert loud > 0.9
    assert torch.equal(torch.cat(list(read_blocks(path, RATE, 0.11))), samples)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.5, 0.97])
def test_a_file_that_was_cut_short_is_refused_in_one_line(kind, part, tmp_path):
    path = write(tmp_path, kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(DataError, match=HALF_LOST) as caught:
        read_audio(path, RATE)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(DataError, match=HALF_LOST):
        duration_seconds(path)


@pytest.mark.parametrize("riff", [0, 36, 0xFFFFFFFF])
@pytest.mark.parametrize("told", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_a_wav_whose_recorder_did_not_write_its_length_is_read_to_its_end(told, riff, tmp_path):
    path = write(tmp_path, "wav")
    whole = read_audio(path, RATE)
    patched(path, data_size(path), struct.pack("<I", told))
    patched(path, 4, struct.pack("<I", riff))
    assert torch.equal(read_audio(path, RATE), whole)
    assert duration_seconds(path) == LENGTH / RATE


def test_a_wav_without_samples_but_with_other_chunks_is_empty(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE)
    content = (tmp_path / "a.wav").read_bytes() + b"LIST" + struct.pack("<I", 4) + b"abcd"
    (tmp_path / "a.wav").write_bytes(content)
    assert len(read_audio(tmp_path / "a.wav", RATE)) == 0


@pytest.mark.parametrize(("high", "low"), [(0, 0), (0x0F, 0xFFFFFFFF), (0, LENGTH + 1)])
def test_a_flac_header_is_not_believed(high, low, tmp_path):
    path = write(tmp_path, "flac")
    whole = read_audio(path, RATE)
    first = path.read_bytes()[21] & 0xF0
    patched(path, 21, struct.pack(">BI", first | high, low))
    if not low:  # its length is not told
        assert torch.equal(read_audio(path, RATE), whole)
        assert describe(path).samples is None and duration_seconds(path) == LENGTH / RATE
    else:
        for function in (read_audio, duration_seconds):
            with pytest.raises(DataError, match=f"cut short.*|{LENGTH} of"):
                function(path)


def test_a_flac_that_holds_more_than_it_tells_is_read_to_its_end_with_a_word(tmp_path, caplog):
    path = write(tmp_path, "flac")
    whole = read_audio(path, RATE)
    first = path.read_bytes()[21] & 0xF0
    patched(path, 21, struct.pack(">BI", first, 100))
    with caplog.at_level(logging.WARNING):
        assert torch.equal(read_audio(path, RATE), whole)
    assert f"{LENGTH} samples are there, its header tells of 100" in caplog.text


@pytest.mark.parametrize("rate", [1, 999, 768001, 4294967295])
def test_a_rate_that_no_sound_has_is_refused(rate, tmp_path):
    path = patched(write(tmp_path, "wav"), 24, struct.pack("<I", rate))
    for function in (read_audio, duration_seconds):
        with pytest.raises(DataError, match=r"a\.wav: (its header tells of|not readable)"):
            function(path)


@pytest.mark.parametrize("channels", [0, 2, 1000, 65535])
def test_any_number_of_channels_is_read_or_refused(channels, tmp_path):
    path = tmp_path / "a.wav"
    if channels in (2, 1000):
        soundfile.write(path, np.repeat(sound()[:500, None], channels, axis=1), RATE)
        assert read_audio(path, RATE) == pytest.approx(torch.from_numpy(sound()[:500]).float(), abs=1e-4)
    else:
        patched(write(tmp_path, "wav"), 22, struct.pack("<H", channels))
        with pytest.raises(DataError, match=r"a\.wav: not readable"):
            read_audio(path)


def test_what_is_no_file_is_named_and_so_is_where_a_link_leads(tmp_path):
    (tmp_path / "dangling.wav").symlink_to("/nowhere/b.wav")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    reasons = {
        "dangling.wav": r"no such audio file \(a link to /nowhere/b.wav\)", "loop.wav": "no such audio|cannot read",
        "pipe.wav": "no regular file", "folder.wav": "a folder", "x" * 300 + ".wav": "cannot read", "a\0b": "no|null",
    }
    for name, reason in reasons.items():
        for function in (read_audio, duration_seconds):
            with pytest.raises(DataError, match=reason):
                function(tmp_path / name)


def test_a_name_of_bytes_that_are_no_text_is_a_name(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    soundfile.write(os.fsencode(path), sound(), RATE, format="WAV")
    assert len(read_audio(path, RATE)) == LENGTH


def test_what_goes_wrong_on_the_disk_is_one_line(tmp_path):
    class Failing:
        """A file on a disk that fails behind its first 30 kB."""

        def __init__(self, path: Path) -> None:
            self._file, self.name = path.open("rb"), str(path)

        def read(self, size: int = -1) -> bytes:
            if self._file.tell() + size > 30000:
                raise OSError(5, "Input/output error")
            return self._file.read(size)

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

    with pytest.raises(DataError, match=r"a\.wav: cannot (read|decode) \(Input/output error\)"):
        read_audio(Failing(write(tmp_path, "wav")), RATE)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg", "caf", "aiff", "sph", "gsm.wav", "w64", "au"])
def test_damage_anywhere_is_a_data_error_or_other_sound(kind, tmp_path):
    whole = write(tmp_path, kind).read_bytes()
    draw, path = np.random.default_rng(1), tmp_path / "damaged"
    for trial in range(60):
        data = bytearray(whole)
        reach = 60 if trial % 2 else len(data)  # every other one in the header
        for at in draw.integers(0, reach, 1 + trial % 4):
            data[at] = draw.integers(0, 256)
        path.write_bytes(data)
        try:
            for block in read_blocks(path, RATE):
                assert torch.isfinite(block).all()
            assert duration_seconds(path) >= 0
        except DataError as error:
            assert "\n" not in str(error)


def test_blocks_of_many_channels_are_small(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((9000, 1000), np.int16), RATE)
    with open_sound(tmp_path / "a.wav", "a") as file:
        sizes = [len(each) for each in file.blocks(10**9)]
    assert sum(sizes) == 9000 and max(sizes) == (1 << 22) // 1000
