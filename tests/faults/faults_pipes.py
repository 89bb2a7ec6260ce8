"""Faults of pipes where files belong: nobody writes to them and nobody reads from them, so that who opens one waits.

``mkfifo`` makes such a pipe, and copies of folders hold them as they hold files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from faults.table import fault
from faults.world import Outcome, World

HANGS = "memory and hangs"


def _pipe(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _with_pipe(name: str, *words: str) -> Callable[[World], Outcome]:
    """A command in a folder with a finished run, manifests, recordings and transcripts, in which ``name`` is a pipe."""

    def does(world: World) -> Outcome:
        world.model_run()
        world.recording("in/a.wav")
        for each in ("ref/a.txt", "text"):
            (world.folder / each).parent.mkdir(exist_ok=True)
            (world.folder / each).write_text("a one two\n")
        _pipe(world.folder / name)
        world.monkeypatch.chdir(world.folder)
        return world.run(*words)

    return does


for _name, _words in {
    "run/log.jsonl": ("compare", "run", "--report", "report.html"),
    "run/model/metrics.json": ("compare", "run"),
    "run/model/weights.safetensors": ("decode", "run", "in"),
    "data/dev.json": ("tune", "run", "--data-folder", "data", "--lm", "text"),
    "out/decoded.jsonl": ("decode", "run", "in", "--output-folder", "out"),
    "out/decoded-2-of-2.jsonl": ("decode", "run", "in", "--output-folder", "out"),
    "ref/b.txt": ("score", "ref", "ref"),
    "c/recognizer.c": ("export", "run", "--output-folder", "c"),
    "lm.arpa": ("decode", "run", "in", "--lm", "lm.arpa"),
    "text.arpa": ("lm", "text", "--output", "text.arpa"),
    "aligned": ("score", "text", "text", "--alignments", "aligned"),
    "page.html": ("compare", "run", "--report", "page.html"),
}.items():
    _codes, _said = (0, r"no learning curves .*log\.jsonl") if "log" in _name else (4, f"{_name}|data: no dev")
    fault(HANGS, f"{_words[0]} where {_name} is a pipe", codes=_codes, says=_said)(_with_pipe(_name, *_words))


def _trained(name: str, unfinished: bool) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        run = world.model_run()
        if unfinished:
            world.unfinish(run)
        _pipe(run / name)
        return world.train("run")

    return does


for _name, _unfinished in (
    ("checkpoint.pt", True), ("log.jsonl", True), (".lock", True), ("model/config.json", False),
    ("model/metrics.json", False),
):
    fault(HANGS, f"a training goes on where {_name} is a pipe", codes=4, says=rf"{_name}: .*(remove it|no regular)")(
        _trained(_name, _unfinished)
    )
fault(HANGS, "a finished training where report.html is a pipe", codes=0)(_trained("report.html", False))


@fault(HANGS, "lm --output into a pipe that is read", codes=0)
def _read(world: World) -> Outcome:
    pipe = world.folder / "pipe.arpa"
    os.mkfifo(pipe)
    (world.folder / "text").write_text("one two\n")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    outcome = world.run("lm", world.folder / "text", "--output", pipe)
    assert b"\\data\\" in os.read(reader, 1 << 16)
    os.close(reader)
    return outcome
