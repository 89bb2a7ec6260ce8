"""Faults of transcripts that people meet: files of macOS and of editors, tables, subtitles, names that are empty, and
outputs that would overwrite what is read."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from faults.table import fault
from faults.world import Outcome, World

TEXTS = "transcripts and language models"
LOST = "data lost"
EMPTY = "unexpected error: values of a wrong type"

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "u1-é café one\nu2-é two\n") for form in ("NFC", "NFD"))
CUES = "00:00:0{},000 --> 00:00:0{},500\n{}\n"
# What is read: name to reference and hypothesis (name and content of each) between which there is no error.
EQUAL: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "letters and marks of macOS": (("r", COMPOSED), ("h", DECOMPOSED)),
    "marks of byte order of files put together": (("r", "u1 one\nu2 two\n"), ("h", "\ufeffu1 one\n\ufeffu2 two\n")),
    "subtitles in another order": (
        ("r", "h one two\n"), ("h.srt", "2\n" + CUES.format(2, 2, "two") + "\n1\n" + CUES.format(1, 1, "one")),
    ),
    "empty rows of a spreadsheet": (("r", "u1 one\nu2 two\n"), ("h.csv", "id,text\nu1,one\n,\n,\nu2,two\n,\n")),
    "a folder of names in capitals": (("r", "a one two\n"), ("h/a.TXT", "one two\n")),
    "a line feed within quotes": (("r", "u1 one two\n"), ("h.csv", 'id,text\nu1,"one\ntwo"\n')),
    "quotes that are plain signs": (
        ("r", 'u1 "one two\nu2 "two" three\n'), ("h.tsv", 'path\tsentence\nu1.mp3\t"one two\nu2.mp3\t"two" three\n'),
    ),
    "a field of 300,000 characters": (
        ("r", "u1 " + "one " * 3000 + "\n"),
        ("h.csv", "id,note,text\nu1," + "x" * 300_000 + "," + "one " * 3000 + "\n"),
    ),
}
# What is refused: name to a file's name and content, and what is said of it.
REFUSED: dict[str, tuple[str, str, str]] = {
    "subtitles without empty lines": (
        "h.srt", "1\n" + CUES.format(1, 1, "one") + "2\n" + CUES.format(2, 2, "two"), "no empty line",
    ),
    "a sentence as TIMIT writes it": ("t/a.TXT", "0 46797 She had your dark suit\n", "samples that TIMIT"),
    "a quote without its end": ("h.csv", 'id,text\nu1,"one two\nu2,three\n', r"h\.csv:3: not a table"),
}


def _score(files: Sequence[tuple[str, str]], *words: str) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        for name, content in files:
            (world.folder / name).parent.mkdir(exist_ok=True)
            (world.folder / name).write_text(content, encoding="utf-8")
            world.keep(world.folder / name)
        world.monkeypatch.chdir(world.folder)
        return world.run(*words)

    return does


for _name, _sides in EQUAL.items():

    def _equal(world: World, sides: tuple[tuple[str, str], tuple[str, str]] = _sides) -> Outcome:
        outcome = _score(sides, "score", *(name.partition("/")[0] for name, _ in sides))(world)
        assert " 0.00 %" in outcome.output, outcome.output
        return outcome

    fault(TEXTS, f"score reads {_name}", codes=0)(_equal)
for _name, (_file, _content, _said) in REFUSED.items():
    _read = _file.partition("/")[0]
    fault(TEXTS, f"score refuses {_name}", codes=4, says=_said)(_score([(_file, _content)], "score", _read, _read))
fault(TEXTS, "score of capitals against small letters", codes=0, says="one side is in capitals")(
    _score([("r", "u1 ONE TWO\nu2 THREE\n"), ("h", "u1 one two\nu2 three\n")], "score", "r", "h")
)

TEXT = "u1 one\nu2 two\n"
SPEAKERS = "u1 a\nu2 b\n"
for _name, _files, _words in (
    ("the reference", [("r", TEXT), ("h", TEXT)], ("score", "r", "h", "--alignments", "./r")),
    ("the hypotheses", [("r", TEXT), ("h", TEXT)], ("score", "r", "h", "--alignments", "h")),
    ("a file of a folder of hypotheses", [("r", "a one\n"), ("h/a.txt", "one\n")],
     ("score", "r", "h", "--alignments", "h/a.txt")),
    ("the speakers", [("r", TEXT), ("s", SPEAKERS)],
     ("score", "r", "r", "--by-speaker", "--speakers", "s", "--alignments", "s")),
    ("a manifest of the data", [("data/dev.json", "{}"), ("data/train.json", "{}")],
     ("lm", "data", "--output", "data/dev.json")),
):
    _option = "--output" if _words[0] == "lm" else "--alignments"
    fault(LOST, f"{_words[0]} {_option} onto {_name}", codes=2, says=_option)(_score(_files, *_words))

for _words in (
    ("score", "", "r"), ("score", "r", ""), ("decode", "", "r"), ("decode", "r", ""), ("stream", ""), ("lm", ""),
    ("decode", "m", "r", "--output-folder", ""), ("train", "FSDD", "--output-folder", ""), ("quantize", "m", ""),
    ("score", "r", "r", "--alignments", ""), ("recipes", "copy", "FSDD", ""), ("compare", ""), ("profile", "m", ""),
):
    fault(EMPTY, f"an empty name: {' '.join(each or '_' for each in _words)}", codes=2, says="is empty")(
        _score([("r", TEXT)], *_words)
    )

# Results onto files of the user's own: name to the files that are there, and the command.
FOREIGN: dict[str, tuple[list[tuple[str, str]], tuple[str, ...]]] = {
    "lm onto notes": ([("t", "one two\n"), ("notes", "of years\n")], ("lm", "t", "--output", "notes")),
    "lm onto a run's results": ([("t", "one\n"), ("test.json", "{}")], ("lm", "t", "--output", "test.json")),
    "score --alignments onto notes": ([("r", TEXT), ("n", "notes\n")], ("score", "r", "r", "--alignments", "n")),
    "analyze onto numbers": ([("analysis.json", "[1]")], ("analyze", "RUN", "--output-folder", ".")),
    "analyze onto a picture": ([("raster.png", "mine")], ("analyze", "RUN", "--output-folder", ".")),
}
for _name, (_files, _words) in FOREIGN.items():

    def _foreign(
        world: World, files: list[tuple[str, str]] = _files, words: tuple[str, ...] = _words
    ) -> Outcome:
        if words[0] == "analyze":
            import pytest

            pytest.importorskip("matplotlib")
        return _score(files, *(str(world.made / "run") if each == "RUN" else each for each in words))(world)

    fault(LOST, _name, codes=2, says="is there already")(_foreign)


@fault(LOST, "results again onto those of the call before", codes=0)
def _again(world: World) -> Outcome:
    for _ in range(2):
        assert _score([("t", TEXT)], "lm", "t", "--output", "lm.arpa.gz")(world).code == 0
        outcome = world.run("score", "t", "t", "--alignments", "per_utt")
        assert outcome.code == 0, outcome.errors
    return outcome


@fault(LOST, "lm --output /dev/stdout, which is a file with something in it", codes=0, slow=True)
def _standard_output(world: World) -> Outcome:
    (world.folder / "t").write_text("one two\n")
    (world.folder / "log").write_text("before\n")
    script = world.folder / "script"
    script.write_text('exec "$@" >>log\n')
    outcome = world.process("lm", "t", "--output", "/dev/stdout", before=("sh", str(script)))
    lines = (world.folder / "log").read_text().splitlines()
    assert lines[0] == "before" and "\\data\\" in lines, lines
    return outcome
