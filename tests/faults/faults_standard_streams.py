"""Faults of standard streams: sound and lists that come through standard input, and what standard output must hold."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Callable

import numpy as np
import soundfile

from faults.table import fault
from faults.world import Outcome, World

PASSED = "silently wrong: inputs left out"
PIPES = "silently wrong: what comes through a pipe"
STREAMS = "unexpected error: standard streams"
RATE_HZ = 8000


def _piped(content: Callable[[World], bytes]) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        run, sound = world.model_run(), content(world)
        world.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(sound)))
        return world.run("stream", run, "--json")

    return does


def _written(form: str) -> Callable[[World], bytes]:
    def make(world: World) -> bytes:
        path = world.folder / f"sound.{form.lower()}"
        soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, 9000), RATE_HZ, format=form)
        return path.read_bytes()

    return make


for _form in ("FLAC", "OGG", "AU", "AIFF", "CAF", "W64", "RF64", "NIST"):
    fault(PIPES, f"{_form} in the pipe of stream", codes=4, says="not raw samples")(_piped(_written(_form)))


def _wav(rate: int = RATE_HZ, channels: int = 1, bits: int = 16, tail: bytes = b"") -> Callable[[World], bytes]:
    def make(world: World) -> bytes:
        samples = bytes(4000)
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, 0, 2, bits)
        return b"RIFF\xff\xff\xff\xffWAVE" + form + struct.pack("<4sI", b"data", len(samples)) + samples + tail

    return make


for _rate in (0, 1, 3999, 400_000, 2**32 - 1):
    fault(PIPES, f"a WAV of {_rate} Hz in the pipe of stream", codes=4, says="Hz")(_piped(_wav(_rate)))
fault(PIPES, "a WAV of two channels in the pipe of stream", codes=4, says="channels")(_piped(_wav(channels=2)))
fault(PIPES, "a WAV of 24 bits in the pipe of stream", codes=4, says="24 bits")(_piped(_wav(bits=24)))
fault(PIPES, "a WAV header alone in the pipe of stream", codes=4, says="damaged")(
    _piped(lambda world: _wav()(world)[:30])
)


@fault(PIPES, "a chunk behind the samples of a WAV in the pipe of stream", codes=0)
def _chunk(world: World) -> Outcome:
    noise = np.random.default_rng(1).integers(-20000, 20000, 16000).astype("<i2").tobytes()
    outcome = _piped(_wav(tail=b"LIST" + struct.pack("<I", len(noise)) + noise))(world)
    assert not outcome.output.strip(), f"the chunk was heard: {outcome.output[:80]!r}"
    return outcome


def _listed(content: bytes, expected: int) -> Callable[[World], Outcome]:
    """The list on standard input, in a folder with a recording and one whose name begins and ends with a space."""

    def does(world: World) -> Outcome:
        world.recording("a.wav")
        world.recording(" b.wav ")
        world.monkeypatch.chdir(world.folder)
        world.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        outcome = world.run("decode", world.made / "run", "-", "--output-folder", "out")
        assert len(list((world.folder / "out").glob("*.txt"))) == expected, outcome.errors
        return outcome

    return does


fault(PASSED, "a list of files with folders in it", codes=3, says="a folder, in a list")(_listed(b".\na.wav\n/\n", 1))
fault(PASSED, "a list of files as find -print0 writes it", codes=0, says="2 trans")(_listed(b"a.wav\0 b.wav \0", 2))
fault(PASSED, "a list of names that begin with spaces", codes=0, says="2 trans")(_listed(b"a.wav \r\n b.wav \n", 2))


def _sound_for_a_list(beginning: bytes) -> Callable[[World], Outcome]:
    """Sound in a pipe where the names of files are expected: each of its bytes of 10 would be an input that failed."""

    def does(world: World) -> Outcome:
        content = beginning + bytes(range(256)) * 20
        world.monkeypatch.setattr(
            sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="surrogateescape")
        )
        outcome = world.run("decode", world.made / "run", "-")
        assert len(outcome.errors.splitlines()) == 1
        return outcome

    return does


for _name, _beginning in {
    "wav": b"RIFF\x24\x08\0\0WAVEfmt ", "flac": b"fLaC\0\0\0\x22", "ogg": b"OggS\0\2", "sphere": b"NIST_1A\n   1024\n",
    "mp3": b"\xff\xfb\x90\x64", "tagged mp3": b"ID3\3\0", "aiff": b"FORM\0\0\1\0AIFF",
}.items():
    fault(
        STREAMS, f"decode - of {_name} in place of a list", codes=2,
        says="standard input: is sound, and not a list",
    )(_sound_for_a_list(_beginning))


@fault(STREAMS, "a list that begins with a name like a format's", codes=0)
def _like_a_format(world: World) -> Outcome:
    world.recording("RIFF.wav")
    world.monkeypatch.chdir(world.folder)
    world.monkeypatch.setattr(sys, "stdin", io.StringIO("RIFF.wav\n"))
    return world.run("decode", world.made / "run", "-")


@fault("residue", "lm writes nothing behind a language model on standard output", codes=0)
def _only_the_model(world: World) -> Outcome:
    (world.folder / "t.txt").write_text("one two\n")
    outcome = world.process("lm", world.folder / "t.txt", "--output", "/dev/stdout")
    assert outcome.output.endswith("\\end\\\n"), outcome.output
    return outcome
