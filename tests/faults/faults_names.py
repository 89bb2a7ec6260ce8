"""Faults of the names of recordings: in transcripts that ``score`` is to read again, in patterns, and twice."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from faults.table import fault
from faults.world import Outcome, World
from snn_asr.files import read_json_object, write_json

PASSED = "silently wrong: inputs left out"
UNREADABLE = "what one command writes another cannot read"


@fault(UNREADABLE, "score of json whose ids are no UTF-8", codes=0)
def _not_utf_8(world: World) -> Outcome:
    os.rename(world.recording("in/a.wav"), os.fsencode(world.folder / "in") + b"/\xff\xfe.wav")
    out = world.folder / "out"
    decoded = world.run("decode", world.made / "run", world.folder / "in", "--output-folder", out, "--format", "json")
    assert decoded.code == 0, decoded.errors
    return world.run("score", out, out)


@fault(
    UNREADABLE, "a run and its data in a folder whose name is no UTF-8", codes=0, says="1 transcribed, 0 failed",
    slow=True,
)
def _folder_not_utf_8(world: World) -> Outcome:
    folder = world.folder / os.fsdecode(b"\xe9")
    data, run = folder / "data", folder / "run"
    shutil.copytree(world.made / "data", data, ignore=shutil.ignore_patterns("features"))
    first, again = (world.process(*world.training(run, data=data)) for _ in range(2))
    assert (first.code, again.code) == (0, 0), first.errors + again.errors
    assert not re.search("damaged|computed again|no report", first.errors), first.errors
    assert "already trained" in again.errors, again.errors
    return world.process("decode", run, world.recording())


@fault(UNREADABLE, "a manifest of recordings in a folder whose name is no UTF-8", codes=0)
def _recordings_not_utf_8(world: World) -> Outcome:
    data, audio = world.data(), world.folder / os.fsdecode(b"\xe9")
    shutil.move(data / "audio", audio)
    for split in ("train", "dev", "test"):
        manifest = read_json_object(data / f"{split}.json")
        for each in manifest.values():
            each["wav"] = str(audio / Path(each["wav"]).relative_to("audio"))
        write_json(data / f"{split}.json", manifest)
    return world.train("run", data=data)


@fault(UNREADABLE, "score of recordings whose names begin with a dot", codes=0)
def _with_dots(world: World) -> Outcome:
    for each in ("in/.a.wav", "in/.hidden/b.wav", "in/c.wav"):
        world.recording(each)
    out = world.folder / "out"
    assert world.run("decode", world.made / "run", world.folder / "in", "--output-folder", out).code == 0
    (out / "._c.txt").write_text("what macOS leaves")
    (out / ".c-12345678.part.txt").write_text("the half of a fi")
    outcome = world.run("score", out, out, "--json")
    assert '"utterances": 3' in outcome.output, outcome.output
    return outcome


@fault(UNREADABLE, "score of ctm whose id would begin as a comment", codes=0)
def _comment(world: World) -> Outcome:
    world.recording("in/;;a.wav")
    out = world.folder / "out"
    words = ("decode", world.made / "run", world.folder / "in", "--format", "ctm", "--output-folder", out)
    assert world.run(*words).code == 0
    outcome = world.run("score", out, out, "--json")
    assert '"words": 0' not in outcome.output, outcome.output
    return outcome


for _command, _form in (("decode", "ctm"), ("decode", "trn"), ("align", "ctm")):

    @fault(PASSED, f"{_command}: two recordings of one id in {_form}", codes=2, says="2 inputs would be called 'a_b'")
    def _one_id(world: World, command: str = _command, form: str = _form) -> Outcome:
        world.recording("in/a b.wav")
        world.recording("in/a_b.wav")
        (world.folder / "text").write_text("a_b one\n")
        given = [world.folder / "text"] if command == "align" else []
        words = (command, world.made / "run", world.folder / "in", *given, "--format", form)
        assert world.run(*words, "--output-folder", world.folder / "out").code != 2
        return world.run(*words)


@fault(PASSED, "a pattern that matches a folder, too", codes=0, says="in/more: a folder that the pattern matches")
def _pattern(world: World) -> Outcome:
    for each in ("in/a.wav", "in/more/b.wav"):
        world.recording(each)
    return world.run("decode", world.made / "run", f"{world.folder}/in/*")


for _name in ("all.json", "all.jsonl", "all.ctm", "all.trn", "all"):

    @fault(UNREADABLE, f"score of what decode prints as {_name}", codes=0)
    def _printed(world: World, name: str = _name) -> Outcome:
        form = {"": "txt", ".jsonl": "json"}.get(Path(name).suffix, Path(name).suffix[1:])
        for each in ("in/a.wav", "in/b c.wav"):
            world.recording(each)
        decoded = world.run("decode", world.made / "run", world.folder / "in", "--format", form)
        (world.folder / name).write_text(decoded.output)
        outcome = world.run("score", world.folder / name, world.folder / name, "--json")
        assert '"utterances": 2' in outcome.output, outcome.output
        return outcome


@fault("transcripts and language models", "a line feed in the name of one of two recordings", codes=0)
def _line_feed(world: World) -> Outcome:
    world.recording("in/a\nb.wav")
    world.recording("in/c.wav")
    outcome = world.run("decode", world.made / "run", world.folder / "in")
    assert [line.partition("\t")[0] for line in outcome.output.splitlines()] == ["a\\nb", "c"]
    return outcome
