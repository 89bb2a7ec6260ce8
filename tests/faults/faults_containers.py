"""Faults of the containers of sound: lengths that killed recorders and pipes leave, files put one behind the other,
MP3 that does not tell its length, tags before FLAC, and what is no sound at all in a pipe.

Each is decoded, and has to last as long as the sound that is in it.
"""

from __future__ import annotations

import io
import os
import re
import struct
import sys
from collections.abc import Callable

import numpy as np
import soundfile

from faults.table import fault
from faults.world import Outcome, World
from snn_asr.data.mpeg_frames import frame_bytes
from snn_asr.files import read_json_object

CUT = "silently wrong: inputs cut or left out"
FORMS = "formats of sound"
PIPES = "silently wrong: what comes through a pipe"
RATE_HZ = 8000
SAMPLES = 12000
LENGTHS_AT_0 = bytes(8)
ID3 = b"ID3\x04\0\0" + bytes([0, 0, 7, 0x68]) + bytes(1000)
ID3_OF_A_PICTURE = b"ID3\x04\0\0" + bytes([0, 6, 0x1A, 0x40]) + bytes(101_696)
_APE_ENDS = [b"APETAGEX" + struct.pack("<IIII", 2000, 2000, 1, flags << 24) + bytes(8) for flags in (0xA0, 0x80)]
APE = _APE_ENDS[0] + bytes(1968) + _APE_ENDS[1]


def _sound() -> np.ndarray:
    """Samples of noise that is loud at first: an encoder of varying bit rate gives it most of its bytes."""
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, SAMPLES)
    return noise * np.where(np.arange(SAMPLES) < SAMPLES // 4, 1.0, 0.001)


def _encoded(form: str, subtype: str = "PCM_16", endian: str = "FILE") -> bytes:
    content = io.BytesIO()
    soundfile.write(content, _sound(), RATE_HZ, format=form, subtype=subtype, endian=endian)
    return content.getvalue()


def _put(content: bytes, mark: bytes, offset: int, new: bytes) -> bytes:
    """Other bytes in the place that lies ``offset`` behind the mark's beginning."""
    at = content.index(mark) + offset
    return content[:at] + new + content[at + len(new) :]


def _zeroed(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(500) + content[middle + 500 :]


def _turned(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]


def _without_page(content: bytes) -> bytes:
    """OGG without the page before its last."""
    *_, before, last = (each.start() for each in re.finditer(b"OggS", content))
    return content[:before] + content[last:]


def _mp3_without_length() -> bytes:
    whole = _encoded("MP3", "MPEG_LAYER_III")
    return whole[frame_bytes(whole[:4]) :]


def _zeroed_mp3() -> bytes:
    """MP3 in which the beginning of a frame, and those of some more, are zeros."""
    whole, at = _mp3_without_length(), 0
    while at < len(whole) // 3:
        at += frame_bytes(whole[at : at + 4])
    return whole[:at] + bytes(500) + whole[at + 500 :]


def _killed_aiff() -> bytes:
    return _put(_put(_encoded("AIFF"), b"SSND", 4, struct.pack(">I", 8)), b"COMM", 10, bytes(4))


def _wav(tail: bytes, told: float = 1.0) -> bytes:
    samples = (_sound() * 32767).astype("<i2").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    content = b"WAVE" + form + struct.pack("<4sI", b"data", int(told * len(samples))) + samples + tail
    return b"RIFF" + struct.pack("<I", len(content)) + content


# Name to the file's suffix, its content, and how many times the sound is heard.
HEARD: dict[str, tuple[str, Callable[[], bytes], float]] = {
    "AU of length 0": ("au", lambda: _put(_encoded("AU"), b".snd", 8, bytes(4)), 1),
    "AU of unknown length": ("au", lambda: _put(_encoded("AU"), b".snd", 8, b"\xff" * 4), 1),
    "AIFF of a killed recorder": ("aiff", _killed_aiff, 1),
    "CAF of length -1": ("caf", lambda: _put(_encoded("CAF"), b"data", 4, b"\xff" * 8), 1),
    "CAF of length 0": ("caf", lambda: _put(_encoded("CAF"), b"data", 4, LENGTHS_AT_0), 1),
    "W64 of length 0": ("w64", lambda: _put(_encoded("W64"), b"data\xf3", 16, LENGTHS_AT_0), 1),
    "RF64 of length 0": ("rf64", lambda: _put(_encoded("RF64"), b"ds64", 8, bytes(24)), 1),
    "VOC of length 0": ("voc", lambda: _put(_encoded("VOC"), b"Creative", 27, bytes(3)), 1),
    "MP3 of varying bit rate without its length": ("mp3", _mp3_without_length, 1),
    "that MP3 behind a tag": ("mp3", lambda: ID3 + _mp3_without_length(), 1),
    "that MP3 before a tag": ("mp3", lambda: _mp3_without_length() + b"TAG" + bytes(125), 1),
    "two MP3 in one file": ("mp3", lambda: _encoded("MP3", "MPEG_LAYER_III") * 2, 2),
    "two MP3 with tags in one file": ("mp3", lambda: (ID3 + _encoded("MP3", "MPEG_LAYER_III")) * 2, 2),
    "two MP3 in one file, the second one behind a large picture": (
        "mp3", lambda: _encoded("MP3", "MPEG_LAYER_III") + ID3_OF_A_PICTURE + _encoded("MP3", "MPEG_LAYER_III"), 2,
    ),
    "two MP3 with tags of another kind in one file": (
        "mp3", lambda: (_encoded("MP3", "MPEG_LAYER_III") + APE) * 2, 2,
    ),
    "MP3 behind a tag and zeros": ("mp3", lambda: ID3 + bytes(700) + _mp3_without_length(), 1),
    "MP3 behind a tag with a footer": (
        "mp3", lambda: ID3[:5] + b"\x10" + ID3[6:] + b"3DI" + ID3[3:10] + _encoded("MP3", "MPEG_LAYER_III"), 1,
    ),
    "FLAC before a tag": ("flac", lambda: _encoded("FLAC") + b"TAG" + bytes(125), 1),
    "FLAC behind a tag": ("flac", lambda: ID3 + _encoded("FLAC"), 1),
    "FLAC of unknown length behind a tag": (
        "flac", lambda: ID3 + _put(_put(_encoded("FLAC"), b"fLaC", 21, b"\xf0"), b"fLaC", 22, bytes(4)), 1,
    ),
    "a chunk of odd length before the samples": (
        "wav", lambda: _put(_wav(b""), b"WAVE", 4, b"LIST" + struct.pack("<I", 5) + b"INFOx\0" + _wav(b"")[12:]), 1,
    ),
}
# Name to the file's suffix, its content, and what is said of it.
REFUSED: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "two OGG in one file": ("ogg", lambda: _encoded("OGG", "VORBIS") * 2, "several recordings"),
    "two Opus in one file": ("opus", lambda: _encoded("OGG", "OPUS") * 2, "several recordings"),
    "Vorbis and Opus in one file": (
        "ogg", lambda: _encoded("OGG", "VORBIS") + _encoded("OGG", "OPUS"), "several recordings",
    ),
    "OGG without its last byte": ("ogg", lambda: _encoded("OGG", "VORBIS")[:-1], "cut short"),
    "OGG with zeros in its middle": ("ogg", lambda: _zeroed(_encoded("OGG", "VORBIS")), "damaged"),
    "OGG with a turned bit": ("ogg", lambda: _turned(_encoded("OGG", "VORBIS")), "damaged"),
    "OGG without one of its pages": ("ogg", lambda: _without_page(_encoded("OGG", "VORBIS")), "damaged"),
    "Opus with a turned bit": ("opus", lambda: _turned(_encoded("OGG", "OPUS")), "damaged"),
    "VOC that was cut in half": ("voc", lambda: _encoded("VOC")[: SAMPLES], "cut short"),
    "AU whose samples begin behind its end": (
        "au", lambda: _put(_encoded("AU"), b".snd", 4, struct.pack(">I", 1 << 30)), "cut short: 0 of",
    ),
    **{
        f"{form} of {subtype} that was cut in half": (
            form.lower(), lambda form=form, subtype=subtype: _encoded(form, subtype)[: SAMPLES // 2], "cut short",
        )
        for form, subtype in (
            ("NIST", "ULAW"), ("NIST", "ALAW"), ("AVR", "PCM_16"), ("SVX", "PCM_16"), ("WVE", "ALAW"),
        )
    },
    **{
        f"{form} of {subtype} without its last byte": (
            form.lower(), lambda form=form, subtype=subtype: _encoded(form, subtype)[:-1], "cut short",
        )
        for form, subtype in (("WAV", "PCM_16"), ("WAV", "MS_ADPCM"), ("W64", "PCM_24"), ("VOC", "ALAW"))
    },
    "MP3 with zeros in its middle": ("mp3", _zeroed_mp3, "damaged: what belongs at byte"),
    "MP3 with something else in its middle": (
        "mp3", lambda: _encoded("MP3", "MPEG_LAYER_III") + b"something else" + _encoded("MP3", "MPEG_LAYER_III"),
        "damaged: what belongs at byte",
    ),
    "FLAC of 64 billion samples behind a tag": (
        "flac", lambda: ID3 + _put(_put(_encoded("FLAC"), b"fLaC", 21, b"\xff"), b"fLaC", 22, b"\xff" * 4), "cut short",
    ),
}


def _decoded(suffix: str, content: Callable[[], bytes], times: float) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        path = world.folder / f"a.{suffix}"
        path.write_bytes(content())
        outcome = world.run(
            "decode", world.made / "run", path, "--output-folder", world.folder / "out", "--format", "json"
        )
        if times and outcome.code == 0:
            seconds = read_json_object(world.folder / "out" / "a.json")["duration"]
            assert abs(seconds - times * SAMPLES / RATE_HZ) < 0.2 * times, f"{seconds} s are heard"
        return outcome

    return does


for _name, (_suffix, _content, _times) in HEARD.items():
    fault(CUT, f"{_name} is heard to its end", codes=0)(_decoded(_suffix, _content, _times))
for _name, (_suffix, _content, _said) in REFUSED.items():
    fault(CUT, f"{_name} is refused", codes=3, says=_said)(_decoded(_suffix, _content, 0))
fault(CUT, "bytes behind the samples of a WAV are named", codes=0, says="12000 bytes behind its samples")(
    _decoded("wav", lambda: _wav(b"", told=0.5), 0.5)
)
fault(CUT, "MP3 without its length whose last frame was cut is named", codes=0, says="its last part is missing")(
    _decoded("mp3", lambda: _mp3_without_length()[:-9], 1)
)
for _form in ("RF64", "W64", "AIFF", "CAF", "AU", "NIST", "VOC"):
    fault(CUT, f"bytes behind the samples of {_form} are named, and no sound", codes=0, says="bytes behind its sam")(
        _decoded(_form.lower(), lambda form=_form: _encoded(form) + bytes(range(200)) * 20, 1)
    )


@fault(FORMS, "MP3 in a folder in which a Mac's server keeps its own", codes=0, says="1 transcribed")
def _apple_server(world: World) -> Outcome:
    """libsndfile would read .AppleDouble of the working folder in the place of a file that it does not know at once."""
    (world.folder / ".AppleDouble").mkdir()
    (world.folder / "a.mp3").write_bytes(_encoded("MP3", "MPEG_LAYER_III"))
    world.monkeypatch.chdir(world.folder)
    return world.run("decode", world.made / "run", "a.mp3", "--output-folder", "out")


@fault(FORMS, "floats in the range of 16 bits are named", codes=0, says=r"a\.wav: floats up to .* not divided")
def _undivided(world: World) -> Outcome:
    soundfile.write(world.folder / "a.wav", _sound() * 32767, RATE_HZ, subtype="FLOAT")
    return world.run("decode", world.made / "run", world.folder / "a.wav")


PIPED: dict[str, bytes] = {
    "a page of a web server": b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body></body></html>\n",
    "a list of files": b"recordings/1.wav\nrecordings/2.wav\n" * 5,
    "an error in JSON": b'{"error": "not found", "status": 404, "path": "/recordings/1.wav", "request": "1"}\n',
    "FLV": b"FLV\x01\x05\0\0\0\x09" + bytes(500),
}
for _name, _bytes in PIPED.items():

    def _pipe(world: World, content: bytes = _bytes) -> Outcome:
        world.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        return world.run("stream", world.made / "run", "--json")

    fault(PIPES, f"{_name} in the pipe of stream", codes=4, says="(text|FLV), not raw samples")(_pipe)


def _not_regular(make: Callable[[str], object], *words: str) -> Callable[[World], Outcome]:
    """A folder with a recording and what is no file, or a list of both."""

    def does(world: World) -> Outcome:
        recordings = world.recording("in/z.wav").parent
        make(str(recordings / "b.wav"))
        world.monkeypatch.chdir(world.folder)
        world.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"in/z.wav\nin/b.wav\n")))
        outcome = world.run("decode", world.made / "run", *words, "--output-folder", "out")
        assert list((world.folder / "out").rglob("z.txt")), outcome.errors
        return outcome

    return does


@fault("memory and hangs", "a pipe that is named, as the shell's <(...) is", codes=4, says="no regular file")
def _named_pipe(world: World) -> Outcome:
    os.mkfifo(world.folder / "a.wav")
    return world.run("decode", world.made / "run", world.folder / "a.wav")


for _what, _make in (("a pipe", os.mkfifo), ("a device", lambda path: os.symlink("/dev/zero", path))):
    for _words in (("in",), ("-",)):
        _where = "a folder" if _words == ("in",) else "a list"
        fault("memory and hangs", f"{_what} among the recordings of {_where}", codes=3, says="no regular file")(
            _not_regular(_make, *_words)
        )
