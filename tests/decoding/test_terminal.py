"""Audio in blocks: files, other sample rates, pipes, WAV headers, Ctrl-C, what a terminal shows."""

from __future__ import annotations

import io
import json
import signal
import struct

import numpy as np
import pytest
import soundfile
import torch
from tones import speak

from snn_asr.data.audio import read_audio, read_blocks, write_audio
from snn_asr.data.resampling import resample
from snn_asr.decoding.live.pipe import raw_blocks
from snn_asr.decoding.live.stream import PARTIAL, SEGMENT, WORD, StreamEvent
from snn_asr.decoding.live.terminal import Interruptible, JsonLines, Screen
from snn_asr.errors import DataError


@pytest.mark.parametrize(("channels", "rate"), [(1, 8000), (2, 8000), (1, 22050)])
def test_blocks_of_a_file_are_the_file(channels, rate, tmp_path):
    path = tmp_path / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.9, 0.9, (5000, channels)), rate, subtype="PCM_16")
    blocks = list(read_blocks(path, 8000, block_seconds=0.1))
    assert len(blocks) > 2
    torch.testing.assert_close(torch.cat(blocks), read_audio(path, 8000), rtol=1e-4, atol=1e-6)


def test_a_file_that_is_damaged_further_on_is_one_line(tmp_path):
    write_audio(tmp_path / "cut.wav", torch.zeros(3000), 8000)
    soundfile.write(tmp_path / "bad.wav", np.array([0.0] * 2000 + [np.nan]), 8000, subtype="FLOAT")
    content = (tmp_path / "cut.wav").read_bytes()
    (tmp_path / "notes.wav").write_text("no audio")
    assert len(content) == 6044
    faults = {"bad": "sample 2000 .at 0.250 s. is nan", "notes": "not readable", "absent": "no such audio"}
    for name, what in faults.items():
        with pytest.raises(DataError, match=what):
            list(read_blocks(tmp_path / f"{name}.wav", 8000, block_seconds=0.1))


class Pipe(io.BytesIO):
    """Gives a few bytes at a time, odd numbers of them too, however many are asked for."""

    def read1(self, size: int = -1) -> bytes:
        return self.read(min(size, 33))


def pcm(samples: torch.Tensor) -> bytes:
    return (samples * 32768).round().short().numpy().astype("<i2").tobytes()


def test_raw_samples_come_through_a_pipe_as_they_are():
    samples = (torch.arange(-500, 500) / 32768).float()
    assert torch.equal(torch.cat(list(raw_blocks(Pipe(pcm(samples)), 16000, 16000))), samples)
    assert torch.cat(list(raw_blocks(Pipe(pcm(samples)[:-1]), 16000, 16000))).shape == (999,)
    assert len(torch.cat(list(raw_blocks(Pipe(pcm(samples)), 16000, 8000)))) == 500
    assert torch.cat(list(raw_blocks(Pipe(b""), 16000, 8000))).shape == (0,)


def wav(
    samples: torch.Tensor, channels: int = 1, bits: int = 16, rate: int = 8000, length: int = 0xFFFFFFFF
) -> bytes:
    """As arecord writes it to a pipe: with a chunk before the data, and a length that means nothing."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * 2 % 2**32, 2, bits)
    extra = struct.pack("<4sI3sx", b"LIST", 3, b"abc")
    data = b"data" + struct.pack("<I", length) + pcm(samples)
    return b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE" + extra + form + data


def test_a_wav_header_in_a_pipe_gives_the_rate():
    samples = (torch.arange(-500, 500) / 32768).float()
    assert torch.equal(torch.cat(list(raw_blocks(Pipe(wav(samples)), 16000, 8000))), samples)
    with pytest.raises(DataError, match="WAV of 2 channels, 16 bits"):
        list(raw_blocks(Pipe(wav(samples, channels=2)), 16000, 8000))
    with pytest.raises(DataError, match="8 bits"):
        list(raw_blocks(Pipe(wav(samples, bits=8)), 16000, 8000))
    followed = wav(samples, length=2000) + b"LIST" * 99
    assert torch.equal(torch.cat(list(raw_blocks(Pipe(followed), 16000, 8000))), samples)
    assert torch.equal(torch.cat(list(raw_blocks(Pipe(wav(samples, length=0)), 16000, 8000))), samples)
    for rate in (0, 1, 3999, 2**32 - 1):
        with pytest.raises(DataError, match=f"tells of {rate} Hz"):
            list(raw_blocks(Pipe(wav(samples, rate=rate)), 16000, 8000))
    with pytest.raises(DataError, match="cut short"):
        list(raw_blocks(Pipe(wav(samples)[:30]), 16000, 8000))
    with pytest.raises(DataError, match="without a format"):
        list(raw_blocks(Pipe(b"RIFF\0\0\0\0WAVEdata\0\0\0\0"), 16000, 8000))


@pytest.mark.parametrize("name", "FLAC OGG AU AIFF CAF W64 RF64 NIST VOC MP3 PAF IRCAM".split())
def test_other_formats_in_a_pipe_are_refused_by_name(name):
    content, rates = io.BytesIO(), {"MP3": 32000}
    subtype = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(name, "PCM_16")
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 9000)
    soundfile.write(content, noise, rates.get(name, 8000), format=name, subtype=subtype)
    with pytest.raises(DataError, match="not raw samples; name a file"):
        list(raw_blocks(Pipe(content.getvalue()), 16000, 8000))


def test_samples_that_look_like_a_frame_of_mp3_are_samples():
    samples = torch.cat([torch.tensor([-1025.0, 144.0]) / 32768, torch.zeros(2000)])
    assert pcm(samples)[:2] == b"\xff\xfb"
    assert torch.equal(torch.cat(list(raw_blocks(Pipe(pcm(samples)), 8000, 8000))), samples)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_waits_for_the_work_on_a_block_and_breaks_into_waiting(number):
    had = signal.signal(number, signal.default_int_handler)  # as the program has it handled
    try:
        _interrupt(number)
    finally:
        signal.signal(number, had)


def _interrupt(number):
    before, done = signal.getsignal(number), []
    items = Interruptible(range(10))
    for item in items:
        if item == 3:
            signal.raise_signal(number)
        done.append(item)
    assert items.interrupted and done == [0, 1, 2, 3]

    def slow():
        yield 1
        signal.raise_signal(number)  # while the reader waits
        yield 2

    items = Interruptible(slow())
    assert list(items) == [1] and items.interrupted
    assert not Interruptible([]).interrupted
    assert signal.getsignal(number) is before


EVENTS = [
    StreamEvent(PARTIAL, "f", 0.1, 0.2, 0.5), StreamEvent(PARTIAL, "five", 0.1, 0.3, 0.5),
    StreamEvent(WORD, "five", 0.1, 0.3, 0.51234), StreamEvent(WORD, "nine", 0.4, 0.5, 0.9),
    StreamEvent(SEGMENT, "five nine", 0.1, 0.5, 0.5), StreamEvent(WORD, "six", 1, 2, 0.9),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        """What stands on the lines in the end: without styles, after backspaces."""
        text = self.getvalue().replace("\x1b[2m", "").replace("\x1b[0m", "")
        kept: list[str] = []
        for character in text:
            if character == "\b":
                kept.pop()
            else:
                kept.append(character)
        return "".join(kept).split("\n")


def test_a_terminal_shows_words_as_they_grow_and_a_line_for_each_segment(monkeypatch):
    monkeypatch.setenv("COLUMNS", "12")
    out = Terminal()
    show = Screen(out)
    show(EVENTS[0])
    assert out.screen() == ["f"]
    show(EVENTS[1])
    assert out.screen() == ["five"]
    for event in EVENTS[2:]:
        show(event)
    show.close()
    assert [line.rstrip() for line in out.screen()] == ["five nine", "six", ""]
    for word in ("seven", "eleven"):
        show(StreamEvent(WORD, word, 3, 4, 1.0))
    assert [line.rstrip() for line in out.screen()][2:] == ["seven", "eleven"]


def test_a_pipe_gets_a_line_for_each_final_word():
    out = io.StringIO()
    for event in EVENTS:
        JsonLines(out)(event)
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert rows[0] == {"type": "word", "text": "five", "start": 0.1, "end": 0.3, "confidence": 0.5123}
    assert [row["type"] for row in rows] == ["word", "word", "segment", "word"]
    for event in EVENTS[:2]:
        JsonLines(out, partial=True)(event)
    assert out.getvalue().count('"partial"') == 2


def test_plain_text_in_a_pipe_has_no_unfinished_words():
    out = io.StringIO()
    show = Screen(out)
    for event in EVENTS:
        show(event)
    show.close()
    assert out.getvalue() == "five nine \nsix \n"


def test_speech_survives_the_road_through_blocks(recognizer, tmp_path):
    samples = speak(["low", "high"], 1)
    write_audio(tmp_path / "tone.wav", resample(samples, 8000, 44100), 44100)
    stream = recognizer.stream(endpointing=None)
    blocks = read_blocks(tmp_path / "tone.wav", 8000, 0.05)
    events = [event for block in blocks for event in stream.accept(block)] + stream.finish()
    assert events[-1].text == recognizer.transcribe(samples).text
