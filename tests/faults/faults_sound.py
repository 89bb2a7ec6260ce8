"""Faults of sound: files cut short, headers that lie, formats of recorders, absurd rates, what manifests claim."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from faults.table import fault
from faults.world import Outcome, World

CUT = "silently wrong: inputs cut or left out"
ENDS = "one input ends the whole call"
FORMS = "formats of sound"
CLAIMS = "silently wrong: a manifest's claims"
SHAPES = "unexpected error: files of another shape"
SIZES = "memory and hangs: a header's claims"

FORMATS = {
    "wav": ("WAV", "PCM_16"), "wave": ("WAVEX", "PCM_24"), "w64": ("W64", "PCM_16"), "rf64": ("RF64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"), "aifc": ("AIFF", "ULAW"), "au": ("AU", "PCM_16"), "caf": ("CAF", "PCM_16"),
    "sph": ("NIST", "PCM_16"), "flac": ("FLAC", "PCM_16"), "oga": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
Damage = Callable[[Path], None]


def _convert(source: Path, target: Path, file_format: str = "WAV", subtype: str = "PCM_16") -> Path:
    """The same sound in another format."""
    samples, rate = soundfile.read(source)
    soundfile.write(target, samples, rate, format=file_format, subtype=subtype)
    return target


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _patch(at: int, content: bytes) -> Damage:
    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[at : at + len(content)] = content
        path.write_bytes(data)

    return damage


def _flac_length(samples: int) -> Damage:
    def damage(path: Path) -> None:
        first = path.read_bytes()[21] & 0xF0
        _patch(21, struct.pack(">BI", first | samples >> 32, samples & 0xFFFFFFFF))(path)

    return damage


def _wav_length(told: int) -> Damage:
    def damage(path: Path) -> None:
        at = path.read_bytes().find(b"data") + 4
        _patch(at, struct.pack("<I", told))(path)
        _patch(4, struct.pack("<I", told))(path)

    return damage


def _replaced(content: bytes) -> Damage:
    return lambda path: Path.write_bytes(path, content) and None


def _decode(world: World, name: str, damage: Damage, form: tuple[str, str] = ("WAV", "PCM_16")) -> Outcome:
    """Decode a folder with a good recording and another one that is converted and damaged."""
    model = world.model_run()
    good = world.recording("in/good.wav")
    damage(_convert(good, world.folder / "in" / name, *form))
    outcome = world.run("decode", model, world.folder / "in", "--output-folder", world.folder / "out")
    assert (world.folder / "out" / "good.txt").is_file(), outcome.errors
    return outcome


def _register(kind: str, what: str, name: str, damage: Damage, codes: tuple[int, ...] | int, says: str = "",
              form: tuple[str, str] = ("WAV", "PCM_16"), slow: bool = False) -> None:
    fault(kind, what, codes=codes, says=says, slow=slow)(lambda world: _decode(world, name, damage, form))


for _suffix, _form in FORMATS.items():
    _register(CUT, f"a .{_suffix} file that was cut in half", f"half.{_suffix}", _cut, 3, rf"half\.{_suffix}", _form,
              slow=_suffix not in ("wav", "sph", "opus"))
    _register(FORMS, f"a .{_suffix} file is found in a folder", f"a.{_suffix}", lambda path: None, 0, "2 transcribed",
              _form, slow=_suffix not in ("oga", "caf"))
for _subtype in ("GSM610", "MS_ADPCM", "IMA_ADPCM"):
    _register(ENDS, f"a WAV of {_subtype}", "a.wav", lambda path: None, 0, "2 transcribed", ("WAV", _subtype))
for _samples in (0, 2**36 - 1, 10**6, 3):
    _register(ENDS, f"a FLAC whose header tells of {_samples} samples", "a.flac", _flac_length(_samples),
              0 if _samples in (0, 3) else 3, "" if _samples == 0 else r"a\.flac", ("FLAC", "PCM_16"))
for _told in (0, 0x7FFFF000, 0xFFFFFFFF):
    _register(FORMS, f"a WAV of {_told:#x} bytes, as a killed recorder or a pipe leaves it", "a.wav",
              _wav_length(_told), 0, "2 transcribed", slow=_told > 0)
for _rate in (1, 999983, 2**32 - 1):
    _register(SIZES, f"a WAV of {_rate} Hz", "a.wav", _patch(24, struct.pack("<I", _rate)), 3, r"a\.wav")
for _rate in (1001, 16001, 44101, 192000, 384000):
    _register(SIZES, f"a WAV of {_rate} Hz is resampled", "a.wav", _patch(24, struct.pack("<I", _rate)), 0,
              "2 transcribed", slow=_rate != 16001)
for _channels in (0, 65535):
    _register(ENDS, f"a WAV of {_channels} channels", "a.wav", _patch(22, struct.pack("<H", _channels)), 3, r"a\.wav")
for _what, _content in {
    "an empty file": b"", "text": b"no audio at all\n" * 50, "a header alone": b"RIFF\x24\0\0\0WAVEfmt ",
    "another program's": b"\x7fELF" + bytes(500), "an HTML page": b"<!DOCTYPE html><html>",
    "FLAC's mark alone": b"fLaC", "OGG's mark alone": b"OggS" * 20, "SPHERE's mark": b"NIST_1A\n   x",
    "an ID3 tag alone": b"ID3\x04\0\0\x7f\x7f\x7f\x7f",
}.items():
    _register(ENDS, f"a.wav is {_what}", "a.wav", _replaced(_content), 3, r"a\.wav", slow="mark" in _what)
for _bad in ("nan", "inf", "1e300"):
    def _not_finite(path: Path, bad: str = _bad) -> None:
        soundfile.write(path, np.array([0.0, float(bad)] * 4000), 16000, subtype="DOUBLE")

    _register(ENDS, f"a WAV with samples of {_bad}", "a.wav", _not_finite, 3, r"a\.wav: sample 1 ")


@fault(FORMS, "what a Mac leaves beside a recording", codes=0, says="1 transcribed")
def _apple_double(world: World) -> Outcome:
    world.recording("in/a.wav")
    (world.folder / "in" / "._a.wav").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X        ")
    return world.run("decode", world.model_run(), world.folder / "in", "--output-folder", world.folder / "out")


@fault(CUT, "a folder behind a link", codes=0, says="2 transcribed")
def _linked_folder(world: World) -> Outcome:
    world.recording("in/good.wav")
    world.recording("disk/far.wav")
    (world.folder / "in" / "sub").symlink_to("../disk")
    return world.run("decode", world.model_run(), world.folder / "in", "--output-folder", world.folder / "out")


def _train(change: Callable[[World, dict[str, Any], Path], Any]) -> Callable[[World], Outcome]:
    """Train on manifests, of which the first entry of train.json (given with its recording) is changed."""

    def does(world: World) -> Outcome:
        data = world.data()

        def edit(entries: dict[str, Any]) -> None:
            entry = next(iter(entries.values()))
            change(world, entry, data / entry["wav"])

        world.edit_json(data / "train.json", edit)
        return world.train("run", data=data)

    return does


for _duration in (1e300, -1, 0, float("nan"), "2", None, True, [1], 90000, 10**30):
    fault(CLAIMS, f"a duration of {_duration!r}", codes=4, says=r"train\.json", slow=_duration not in (1e300, -1))(
        _train(lambda world, entry, path, value=_duration: entry.update(duration=value))
    )
for _name, _factor in (("shorter", 3.0), ("longer", 0.3)):
    fault(CLAIMS, f"a recording {_name} than its manifest says", codes=4, says="the recording lasts .* manifest says")(
        _train(lambda world, entry, path, factor=_factor: entry.update(duration=entry["duration"] * factor + 0.3))
    )
for _suffix in ("wav", "flac", "mp3"):
    def _half(world: World, entry: dict[str, Any], path: Path, suffix: str = _suffix) -> None:
        half = _convert(path, path.with_name(f"half.{suffix}"), *FORMATS[suffix])
        _cut(half)
        entry["wav"] = f"{Path(entry['wav']).parent}/half.{suffix}"

    fault(
        CUT, f"training on a .{_suffix} file that was cut in half", codes=4, says=rf"half\.{_suffix}", thorough=True
    )(_train(_half))


@fault(CUT, "training on channels in opposite phase", codes=4, says=r"both\.wav.*opposite phase")
@_train
def _opposite(world: World, entry: dict[str, Any], path: Path) -> None:
    samples, rate = soundfile.read(world.recording())
    soundfile.write(path.with_name("both.wav"), np.stack([samples, -samples], 1), rate)
    entry.update(wav=f"{Path(entry['wav']).parent}/both.wav", duration=len(samples) / rate)


for _engine in ("batch", "event"):

    @fault(CUT, f"channels in opposite phase, engine {_engine}", codes=3, says=r"both\.wav: .*opposite phase")
    def _silenced(world: World, engine: str = _engine) -> Outcome:
        samples, rate = soundfile.read(world.recording())
        soundfile.write(world.folder / "both.wav", np.stack([samples, -0.95 * samples], 1), rate)
        inputs = (world.folder / "both.wav", world.recording())
        return world.run("decode", world.made / "run", *inputs, "--engine", engine)


@fault(CLAIMS, "training on a recording without samples", codes=4, says=r"empty\.wav.*lasts 0\.00 s")
@_train
def _empty(world: World, entry: dict[str, Any], path: Path) -> None:
    soundfile.write(path.with_name("empty.wav"), np.zeros(0), 8000)
    entry["wav"] = f"{Path(entry['wav']).parent}/empty.wav"


for _part in ({"start": 0.1}, {"offset": 0.1}, {"start": 0, "end": 0.2}, {"channel": 1}):
    _named = ", ".join(f"{key} {value}" for key, value in _part.items())
    fault(CLAIMS, f"training where the manifest gives {_named}", codes=4, says=f"{list(_part)[-1]} is .* read whole")(
        _train(lambda world, entry, path, part=_part: entry.update(part))
    )


for _split, _text, _said in (
    ("dev", "mid zebra", "utterance 'dev-.*no .* token for"), ("train", "mid <blank>", "'<blank>' is in a text"),
):

    @fault(CLAIMS, f"a text of {_split} with what the network cannot say", codes=4, says=_said)
    def _unspelled(world: World, split: str = _split, text: str = _text) -> Outcome:
        manifest = world.data() / f"{split}.json"
        world.edit_json(manifest, lambda entries: next(iter(entries.values())).update(text=text))
        return world.train("run", "tokens=words")


@fault(CLAIMS, "an id that stands twice in a manifest", codes=4, says=r"train\.json.*twice")
def _twice(world: World) -> Outcome:
    data = world.data()
    text = (data / "train.json").read_text()
    first = text.split('"')[1]
    (data / "train.json").write_text('{"' + first + '": {"wav": "other.wav"}, ' + text.strip()[1:])
    return world.train("run", data=data)


for _what, _text in {
    "a list": "[]", "a number": "3", "empty": "", "cut": '{"a": {"wav"', "nested deeply": "[" * 10**5, "null": "null",
    "of 400 digits": '{"a": {"duration": ' + "9" * 400 + "}}", "of lists": '{"a": []}', "without utterances": "{}",
}.items():
    def _manifest(world: World, text: str = _text) -> Outcome:
        data = world.data()
        (data / "train.json").write_text(text)
        return world.train("run", data=data)

    fault(SHAPES, f"a manifest that is {_what}", codes=4, says=r"train\.json")(_manifest)
