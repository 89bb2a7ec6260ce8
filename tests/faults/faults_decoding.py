"""Faults that a user of ``decode``, ``profile`` and ``tune`` meets: recordings, folders, outputs, long silence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from soundscapes import SOUNDSCAPES, recording

from faults.table import fault
from faults.world import Outcome, World
from snn_asr.data.audio import write_audio
from snn_asr.files import read_json_object

SILENCE = "silently wrong: words that nobody said"
LOST = "data lost"
PASSED = "silently wrong: inputs left out"
ENDS = "one bad input ends the whole call"
OUTPUTS = "unexpected error: outputs"
RATE_HZ = 8000


def _sound(name: str, engine: str) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        write_audio(world.folder / "sound.wav", recording(name, 20, RATE_HZ), RATE_HZ)
        outcome = world.run("decode", world.model_run(), world.folder / "sound.wav", "--engine", engine)
        assert not outcome.output.strip(), f"words that nobody said: {outcome.output[:80]!r}"
        return outcome

    return does


for _name in SOUNDSCAPES:
    if _name != "fan" and not _name.startswith("music"):
        for _engine in ("batch", "event"):
            fault(SILENCE, f"20 s of {_name} with {_engine}", codes=0, slow=_engine == "event")(_sound(_name, _engine))


for _engine in ("batch", "event"):
    for _seconds in (0.05, 0.3, 0.9, 1.0):

        @fault(SILENCE, f"{_seconds} s of silence with {_engine}", codes=0)
        def _short(world: World, seconds: float = _seconds, engine: str = _engine) -> Outcome:
            (world.folder / "in").mkdir()
            for name, loudness in (("zeros.wav", 0.0), ("below.wav", 1e-6)):
                sound = torch.sin(torch.arange(int(seconds * RATE_HZ)) * 0.2) * loudness
                soundfile.write(world.folder / "in" / name, sound.numpy(), RATE_HZ, subtype="FLOAT")
            outcome = world.run("decode", world.model_run(), world.folder / "in", "--engine", engine)
            assert outcome.output == "below\t\nzeros\t\n", outcome.output
            return outcome


@fault(SILENCE, "speech behind a minute of silence", codes=0)
def _behind_silence(world: World) -> Outcome:
    spoken = torch.from_numpy(soundfile.read(world.recording(), dtype="float32")[0])
    for name, seconds in (("soon", 3), ("late", 60)):  # whole steps of the network both
        write_audio(world.folder / f"{name}.wav", torch.cat([torch.zeros(seconds * RATE_HZ), spoken]), RATE_HZ)
    run = world.model_run()
    soon, late = (world.run("decode", run, world.folder / name) for name in ("soon.wav", "late.wav"))
    assert late.output == soon.output and late.output.split(), f"{late.output!r}, not {soon.output!r}"
    return late


def _foreign(name: str, content: str, form: str = "txt") -> Callable[[World], Outcome]:
    """Something of the user's stands where decode would write."""

    def does(world: World) -> Outcome:
        run = world.model_run()
        folder = world.recording("in/a.wav").parent
        world.recording("in/b.wav")
        (folder / name).write_text(content)
        world.keep(folder / name)
        return world.run("decode", run, folder, "--output-folder", folder, "--format", form)

    return does


for _form in ("txt", "json", "trn", "ctm", "srt", "vtt"):
    fault(LOST, f"decode beside the audio, a.{_form} is the user's", codes=3, says=rf"a\.{_form}")(
        _foreign(f"a.{_form}", "hours of work\n", _form)
    )
fault(LOST, "errors.json is the user's", codes=4, says=r"errors\.json")(_foreign("errors.json", '{"a": 1}'))
fault(LOST, "decoded.jsonl is the user's", codes=4, says=r"decoded\.jsonl")(_foreign("decoded.jsonl", "notes\n"))


@fault(LOST, "a transcript that was corrected by hand, decoded with other weights", codes=3, says=r"a\.txt")
def _corrected(world: World) -> Outcome:
    run, recordings = world.model_run(), world.recording("in/a.wav").parent
    assert world.run("decode", run, recordings, "--output-folder", world.folder / "out").code == 0
    (world.folder / "out" / "a.txt").write_text("corrected by hand\n")
    world.keep(world.folder / "out" / "a.txt")
    return world.run("decode", run, recordings, "--output-folder", world.folder / "out", "--endpoint-silence", 2)


@fault(LOST, "a recording called errors, in json", codes=3, says=r"bad\.wav")
def _errors_wav(world: World) -> Outcome:
    run, out = world.model_run(), world.folder / "out"
    world.recording("in/errors.wav")
    (world.folder / "in" / "bad.wav").write_text("none")
    outcome = world.run("decode", run, world.folder / "in", "--output-folder", out, "--format", "json")
    assert read_json_object(out / "errors.wav.json")["id"] == "errors.wav"
    assert [Path(each).name for each in read_json_object(out / "errors.json")] == ["bad.wav"]
    return outcome


def _among_good(make: Callable[[Path], object], *words: object) -> Callable[[World], Outcome]:
    """A folder with a good recording, and what ``make`` does to it; the good one is written."""

    def does(world: World) -> Outcome:
        run = world.model_run()
        folder = world.recording("in/z.wav").parent
        make(folder)
        outcome = world.run("decode", run, folder, "--output-folder", world.folder / "out", *words)
        assert (world.folder / "out" / "z.txt").is_file(), outcome.errors
        return outcome

    return does


def _write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def _nan(folder: Path) -> None:
    soundfile.write(folder / "nan.wav", np.array([0.1, np.nan] * 500), RATE_HZ, subtype="FLOAT")


for _name, _make, _says in (
    ("a link to nowhere", lambda folder: (folder / "b.wav").symlink_to("/nowhere/b.wav"), r"b\.wav"),
    ("a link to a folder that is not there", lambda folder: (folder / "b").symlink_to("/nowhere"), "b"),
    ("a link to itself", lambda folder: (folder / "b.wav").symlink_to("b.wav"), r"b\.wav"),
    ("an empty file", _write("b.wav", b""), r"b\.wav"),
    ("a text that ends in .wav", _write("b.wav", b"none"), r"b\.wav"),
    ("half a header", _write("b.wav", b"RIFF\0\0\0\0WAVEfmt "), r"b\.wav"),
    ("FLAC of nothing", _write("b.flac", b"fLaC" + bytes(38)), r"b\.flac"),
    ("samples that are not numbers", _nan, r"nan\.wav"),
    ("a name of 251 letters in json", lambda folder: os.link(folder / "z.wav", folder / ("n" * 251 + ".wav")), ""),
):
    fault(ENDS, f"among good recordings: {_name}", codes=(0, 3) if not _says else 3, says=_says)(
        _among_good(_make, "--format", "txt,json")
    )
for _suffix in ("ircam", "paf", "mp2", "wv1"):
    fault(PASSED, f"among good recordings: {_suffix} that is none", codes=3, says=rf"b\.{_suffix}")(
        _among_good(_write(f"b.{_suffix}", b"none"))
    )
for _suffix in ("raw", "m4b"):
    fault(PASSED, f"among good recordings: {_suffix}, which is not read", codes=0, says=rf"b\.{_suffix}")(
        _among_good(_write(f"b.{_suffix}", b"sound"))
    )
fault(PASSED, "among good recordings: a format that is not read", codes=0, says=r"b\.m4a")(
    _among_good(_write("b.m4a", b"sound"))
)
fault(PASSED, "among good recordings: a folder that links to itself", codes=0, says="")(
    _among_good(lambda folder: (folder / "loop").symlink_to("."))
)


def _in_the_way(name: str) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        (world.folder / "out" / name).mkdir(parents=True)
        return _among_good(lambda folder: os.link(folder / "z.wav", folder / "b.wav"))(world)

    return does


fault(ENDS, "a folder is called as a transcript", codes=3, says=r"b\.(wav|txt)")(_in_the_way("b.txt"))


@fault(ENDS, "profile of a good recording and of one that is none", codes=3, says=r"bad\.wav")
def _profile(world: World) -> Outcome:
    run, folder = world.model_run(), world.recording("in/z.wav").parent
    (folder / "bad.wav").write_text("none")
    outcome = world.run("profile", run, folder)
    assert "1 files" in outcome.output
    return outcome


for _samples in (0, 1):
    for _option in ("--engine=batch", "--engine=event", "--energy"):

        @fault(ENDS, f"profile {_option} of a recording of {_samples} samples", codes=0)
        def _shortest(world: World, samples: int = _samples, option: str = _option) -> Outcome:
            soundfile.write(world.folder / "a.wav", np.zeros(samples), RATE_HZ)
            return world.run("profile", world.made / "run", world.folder / "a.wav", option)


@fault(ENDS, "tune with recordings that are cut short, no sound, or not there", codes=3, says=r"3 of 6 inputs")
def _tune(world: World) -> Outcome:
    run, lm = world.model_run(), world.folder / "lm.arpa"
    names = ("dev-01.wav", "dev-02.wav", "dev-04.wav")
    cut, text, gone = (world.folder / "data" / "audio" / "dev" / name for name in names)
    cut.write_bytes(cut.read_bytes()[:1000])
    text.write_text("none")
    gone.unlink()
    assert world.run("lm", world.folder / "data", "--output", lm).code == 0
    outcome = world.run("tune", run, "--data-folder", world.folder / "data", "--lm", lm, "--weights", "0,1")
    assert "of 3 development utterances" in outcome.output and "--lm-weight" in outcome.output
    assert all(name in outcome.errors for name in names)
    return outcome


for _split in ("train", "dev", "test"):

    @fault(
        ENDS, f"train where recordings of {_split} are damaged", codes=4, says="2 recordings cannot be used",
        thorough=_split == "train",
    )
    def _train(world: World, split: str = _split) -> Outcome:
        folder = world.data() / "audio" / split
        names = [f"{split}-{index:02}.wav" for index in (1, 2)]
        (folder / names[0]).write_bytes((folder / names[0]).read_bytes()[:1000])
        (folder / names[1]).write_text("none")
        outcome = world.train("run")
        assert all(name in outcome.last_line for name in names) and "epoch" not in outcome.errors
        return outcome


@fault(OUTPUTS, "a folder is called errors.json", codes=4, says=r"errors\.json")
def _folder_of_errors(world: World) -> Outcome:
    (world.folder / "out" / "errors.json").mkdir(parents=True)
    return world.run("decode", world.model_run(), world.recording("a.wav"), "--output-folder", world.folder / "out")


@fault(OUTPUTS, "a disk that is full in the middle", codes=4, says="too large|space", thorough=True)
def _full(world: World) -> Outcome:
    run, out = world.model_run(), world.folder / "out"
    for index in range(4):
        world.recording(f"in/{index}.wav")
    words = ("decode", run, world.folder / "in", "--output-folder", out, "--format", "txt,json")
    outcome = world.process(*words, largest_file=400)
    again = world.run(*words)
    assert again.code == 0 and len(list(out.glob("?.json"))) == 4, again.errors
    return outcome


def _folder_is_a_file(command: str, place: str) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        recording, text = world.recording("a.wav"), world.folder / "a.txt"
        text.write_text("low\n")
        world.keep(recording, text)
        words = {
            "decode": (world.made / "run", recording), "align": (world.made / "run", recording, text),
            "lm": (text,), "quantize": (world.made / "run",), "export": (world.made / "run",),
        }[command]
        option = {"lm": ["--output"], "quantize": []}.get(command, ["--output-folder"])
        return world.run(command, *words, *option, recording / place)

    return does


for _command, _place in (
    ("decode", ""), ("decode", "x/y"), ("align", ""), ("lm", "x.arpa"), ("quantize", "x"), ("export", "x"),
):
    fault(
        "unexpected error: outputs", f"{_command} into a.wav/{_place}", codes=(2, 4),
        says=r"a\.wav.*(no folder|not a folder|not a directory)",
    )(_folder_is_a_file(_command, _place))
