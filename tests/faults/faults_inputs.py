"""Every command with every kind of bad input: missing, a folder for a file, a file for a folder, empty, garbage, ..."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

from faults.table import fault
from faults.world import Outcome, World

KIND = "every command with every kind of bad input"
OK_OR_REFUSED = (2, 3, 4)


def _missing(path: Path) -> None:
    assert not path.exists()


def _folder(path: Path) -> None:
    path.mkdir()


def _empty(path: Path) -> None:
    path.touch()


def _garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(5000))


def _not_utf_8(path: Path) -> None:
    path.write_bytes("u1 café\n{\"a\": 1}\n".encode("latin-1"))


def _deep(path: Path) -> None:
    path.write_text("[" * 100_000)


def _below_a_file(path: Path) -> None:
    path.parent.joinpath("plain").write_text("a file")
    path.symlink_to(path.parent / "plain" / "below")


def _link_loop(path: Path) -> None:
    path.symlink_to(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


INPUTS: dict[str, Callable[[Path], None]] = {
    "missing": _missing, "a folder": _folder, "empty": _empty, "garbage": _garbage, "not UTF-8": _not_utf_8,
    "nested deeply": _deep, "below a file": _below_a_file, "a loop of links": _link_loop, "without an end": _device,
}
FREQUENT = ("missing", "a folder", "garbage")  # the others take part in "make test-faults" alone
# The words of a command, in which "BAD" is the bad input; "RUN", "DATA" and "TEXT" are good ones.
COMMANDS: dict[str, tuple[str, ...]] = {
    "score's reference": ("score", "BAD", "TEXT"),
    "score's hypothesis": ("score", "TEXT", "BAD"),
    "score's JSON": ("score", "BAD.json", "TEXT"),
    "score's ctm": ("score", "TEXT", "BAD.ctm"),
    "score's csv": ("score", "TEXT", "BAD.csv"),
    "score's subtitles": ("score", "TEXT", "BAD.srt"),
    "score's speakers": ("score", "TEXT", "TEXT", "--by-speaker", "--speakers", "BAD"),
    "lm's text": ("lm", "BAD", "--output", "lm.arpa"),
    "lm's manifest": ("lm", "BAD.json", "--output", "lm.arpa"),
    "lm's model": ("lm", "TEXT", "--model", "BAD", "--output", "lm.arpa"),
    "tune's data": ("tune", "RUN", "--data-folder", "BAD", "--lm", "TEXT"),
    "tune's language model": ("tune", "RUN", "--data-folder", "DATA", "--lm", "BAD"),
    "tune's model": ("tune", "BAD", "--data-folder", "DATA", "--lm", "TEXT"),
    "decode's model": ("decode", "BAD", "AUDIO"),
    "decode's audio": ("decode", "RUN", "BAD.wav"),
    "decode's language model": ("decode", "RUN", "AUDIO", "--lm", "BAD"),
    "align's model": ("align", "BAD", "AUDIO", "TEXT"),
    "align's audio": ("align", "RUN", "BAD.wav", "TEXT"),
    "align's transcript": ("align", "RUN", "AUDIO", "BAD"),
    "stream's model": ("stream", "BAD", "AUDIO"),
    "stream's audio": ("stream", "RUN", "BAD.wav"),
    "profile's audio": ("profile", "RUN", "BAD.wav"),
    "quantize's model": ("quantize", "BAD", "q"),
    "compare's run": ("compare", "BAD"),
    "analyze's model": ("analyze", "BAD"),
    "train's recipe": ("train", "BAD.yaml", "--data-folder", "DATA", "--output-folder", "new"),
    "train's data": ("train", "FSDD", "--data-folder", "BAD", "--output-folder", "new"),
    "recipes' recipe": ("recipes", "show", "BAD.yaml"),
    "prepare's corpus": ("prepare", "fsdd", "--data-folder", "BAD", "--output-folder", "new"),
}
# Of which a text that is read as it is, or a folder that holds what it should, is no fault.
GOOD = {
    ("lm's text", "nested deeply"), ("align's transcript", "nested deeply"), ("score's subtitles", "empty"),
    ("train's recipe", "empty"),
    ("recipes' recipe", "empty"),
}


def _command(words: tuple[str, ...], make: Callable[[Path], None]) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        bad = next(each for each in words if each.startswith("BAD"))
        path = world.folder / bad.replace("BAD", "bad")
        (world.folder / "ref").write_text("u1 one two\nu2 three\n")
        make(path)
        places = {"DATA": world.made / "data", "RUN": world.made / "run", "TEXT": world.folder / "ref", bad: path}
        if "AUDIO" in words:
            places["AUDIO"] = world.recording()
        world.monkeypatch.chdir(world.folder)
        return world.run(*(places.get(each, each) for each in words))

    return does


for _name, _words in COMMANDS.items():
    for _kind, _make in INPUTS.items():
        if (_name, _kind) not in GOOD:
            _register = fault(
                KIND, f"{_name} is {_kind}", codes=OK_OR_REFUSED, says="bad|ref|standard|neither|fsdd",
                slow=_kind not in FREQUENT,
            )
            _register(_command(_words, _make))


def _unreadable(*words: str) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        path = world.folder / "closed"
        path.write_text("u1 one\n")
        path.chmod(0)
        if os.access(path, os.R_OK):  # root may read everything: another file of which nobody may
            path.unlink()
            path.mkdir()
        return world.run(*(str(path) if each == "BAD" else each for each in words))

    return does


for _words in (("score", "BAD", "BAD"), ("lm", "BAD", "--output", "lm.arpa"), ("decode", "BAD", "BAD")):
    fault(KIND, f"{_words[0]} may not read its input", codes=(2, 4), says="closed")(_unreadable(*_words))
