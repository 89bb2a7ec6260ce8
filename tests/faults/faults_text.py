"""Faults of transcripts, language models, JSON, options and standard streams."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from faults.table import fault
from faults.world import Outcome, World

TEXTS = "transcripts and language models"
STREAMS = "unexpected error: standard streams"
SHAPES = "unexpected error: files of another shape"
VALUES = "unexpected error: values of a wrong type"


def _with(files: dict[str, str | bytes], *words: str) -> Callable[[World], Outcome]:
    """A command in a folder of these files; "RUN" and "AUDIO" among its words are a trained run and a recording."""

    def does(world: World) -> Outcome:
        for name, content in files.items():
            path = world.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        places: dict[str, Path] = {}
        if "RUN" in words:
            places["RUN"] = world.made / "run"
        if "AUDIO" in words:
            places["AUDIO"] = world.recording()
        world.monkeypatch.chdir(world.folder)
        return world.run(*(places.get(each, each) for each in words))

    return does


def _printing(wanted: str, does: Callable[[World], Outcome]) -> Callable[[World], Outcome]:
    """As ``does``, and its output has to hold ``wanted``."""

    def checked(world: World) -> Outcome:
        outcome = does(world)
        assert wanted in outcome.output, f"no '{wanted}' in {outcome.output}{outcome.errors}"
        return outcome

    return checked


# Formats that are read: name to reference, hypothesis and what has to be printed.
READ: dict[str, tuple[Sequence[str], dict[str, str | bytes], str]] = {
    "stm against ctm": (
        ("a.stm", "a.ctm"),
        {"a.stm": "a 1 s 0.00 2.00 <o> one two\n", "a.ctm": "a 1 0.0 0.5 one\na 1 0.6 0.5 two\n"}, " 0.00 %",
    ),
    "csv of SpeechBrain": (("a.csv", "a.csv"), {"a.csv": "ID,duration,wav,wrd\na,1.0,a.wav,one two\n"}, " 0.00 %"),
    "a table with tabs and a quote that another line ends": (
        ("r.tsv", "h"),
        {"r.tsv": 'path\tsentence\na.mp3\t"one\nb.mp3\ttwo\nc.mp3\tsix"\n', "h": "a one\nb two\nc six\n"},
        "3 utterances",
    ),
    "alternatives of trn": (
        ("r.trn", "h.trn"),
        {
            "r.trn": "i saw { an / the } owl (s1-1)\n(uh) well then (s1-2)\n",
            "h.trn": "i saw the owl (s1-1)\nwell then (s1-2)\n",
        },
        " 0.00 %",
    ),
    "Kaldi texts that end in parentheses": (
        ("r", "h"), {"r": "u1 one (noise)\nu2 three (laugh)\n", "h": "u1 one (noise)\nu2 four (laugh)\n"},
        "u2: 1 errors",
    ),
    "a mark of byte order": (("r", "h"), {"r": b"\xef\xbb\xbfu1 one\n", "h": "u1 one\n"}, " 0.00 %"),
    "UTF-16 of an editor": (("r", "h"), {"r": "u1 one\n".encode("utf-16"), "h": "u1 one\n"}, " 0.00 %"),
    "a folder with a list of failures": (
        ("r", "out"),
        {"r": "a one\nbad two\n", "out/a.json": '{"id": "a", "text": "one"}', "out/errors.json": '{"bad.wav": "no"}'},
        "50.00 %",
    ),
    "a folder of subtitles": (
        ("r", "out"), {"r": "a one two\n", "out/a.srt": "1\n00:00:00,000 --> 00:00:01,000\none two\n"}, " 0.00 %",
    ),
    "a folder of ctm with silence": (
        ("r", "out"), {"r": "a one\nb\n", "out/a.ctm": "a 1 0.0 0.5 one 0.9\n", "out/b.ctm": ""}, " 0.00 %",
    ),
}
for _name, (_sides, _files, _wanted) in READ.items():
    fault(TEXTS, f"score reads {_name}", codes=0)(_printing(_wanted, _with(_files, "score", *_sides)))

# Formats that are refused: name to the reference's name and content, and what is said.
REFUSED: dict[str, tuple[str, str, str]] = {
    "a ctm called txt": ("r.txt", "a 1 0.0 0.5 one\nb 1 0.6 0.5 two\n", "r.txt: looks like ctm"),
    "an stm called txt": ("r.txt", "a 1 s 0.00 2.00 <o> one\n", "r.txt: looks like stm"),
    "subtitles called txt": ("r.txt", "1\n00:00:00,000 --> 00:00:01,000\none\n", "r.txt: looks like srt"),
    "a table called txt": ("r.txt", "ID,duration,wav,wrd\na,1.0,a.wav,one\n", "r.txt: looks like csv"),
    "what trn and Kaldi both are": ("r.txt", "u1 one (s1-1)\nu2 two (s1-2)\n", "r.txt: may be"),
    "labels of HTK": ("r.mlf", '#!MLF!#\n"*/a.lab"\none\n.\n', "r.mlf: .mlf is no format"),
    "braces that do not match": ("r.trn", "one { two (a1)\n", "reference 'a1'"),
    "segments that do not count": ("r.stm", "a 1 s 0.0 1.0 IGNORE_TIME_SEGMENT_IN_SCORING\n", "r.stm:1"),
    "a table without texts": ("r.csv", "id,path\na,b\n", "r.csv:1"),
    "an id twice": ("r.json", '{"u1": {"text": "a"}, "u2": {"text": "b"}, "u1": {"text": "c"}}', "'u1' is there twice"),
    "an id twice in lines": ("r.jsonl", '{"id": "u1", "text": "a"}\n{"id": "u1", "text": "b"}\n', "'u1' is there"),
    "half of a surrogate pair": ("r.json", '{"u1": {"text": "\\ud800"}}', "surrogate"),
    "a number of 5000 digits": ("r.json", '{"u1": {"text": "a", "duration": ' + "9" * 5000 + "}}", "5000 digits"),
    "text that is a number": ("r.json", '{"u1": {"text": 3}}', "no 'text'"),
    "phones that are none": ("r.json", '{"u1": {"text": "a", "phones": 3}}', "r.json"),
}
for _name, (_file, _content, _said) in REFUSED.items():
    _words = ("score", _file, _file, *(("--unit", "phone") if "phones" in _name else ()))
    fault(TEXTS, f"score refuses {_name}", codes=4, says=_said)(_with({_file: _content}, *_words))

ARPA = (
    "\\data\\\nngram 1=4\nngram 2=1\n\n\\1-grams:\n-1\t<s>\t-0.1\n-1\t</s>\n-0.5\tlow\n-0.5\thigh\n"
    "\n\\2-grams:\n-0.3\t<s> low\n\n\\end\\\n"
)
DAMAGED_ARPA: dict[str, tuple[str | bytes, str]] = {
    "claims 10^17 n-grams": (ARPA.replace("1=4", "1=" + "1" + "0" * 17), "do not fit"),
    "claims fewer n-grams": (ARPA.replace("1=4", "1=2"), "expected"),
    "has NaN": (ARPA.replace("-0.5\tlow", "nan\tlow"), "cannot be nan"),
    "has an infinite back-off": (ARPA.replace("-0.1", "inf"), "cannot be inf"),
    "has a word twice": (ARPA.replace("high", "low"), "is there twice"),
    "has many orders": (ARPA.replace("2=1", "2=1\n" + "\n".join(f"ngram {n}=0" for n in range(3, 50))), "n-grams"),
    "is gzip that is cut short": (b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb", "damaged, or cut short"),
    "is in upper case": (ARPA.replace("low", "LOW").replace("high", "HIGH"), "knows none"),
    "is one line": ("x" * 200_000, "characters or more"),
}
for _name, (_content, _said) in DAMAGED_ARPA.items():
    _does = _with({"x.arpa": _content}, "decode", "RUN", "AUDIO", "--lm", "x.arpa")
    fault(TEXTS, f"a language model {_name}", codes=4, says=_said)(_does)
fault(TEXTS, "a language model with a mark of byte order", codes=0)(
    _with({"x.arpa": b"\xef\xbb\xbf" + ARPA.encode()}, "decode", "RUN", "AUDIO", "--lm", "x.arpa")
)


@fault(TEXTS, "lm writes gzip that decode reads", codes=0)
def _(world: World) -> Outcome:
    (world.folder / "t.txt").write_text("low high low\n")
    assert world.run("lm", world.folder / "t.txt", "--order", 2, "--output", world.folder / "x.arpa.gz").code == 0
    assert (world.folder / "x.arpa.gz").read_bytes().startswith(b"\x1f\x8b")
    return world.run("decode", world.made / "run", world.recording(), "--lm", world.folder / "x.arpa.gz")


for _name, _words, _said in (
    ("onto its own text", ("lm", "t.txt", "--output", "t.txt"), "--output"),
    ("as xz", ("lm", "t.txt", "--output", "x.arpa.xz"), "x.arpa.xz"),
    ("of order 10^9", ("lm", "t.txt", "--output", "x.arpa", "--order", "1000000000"), "order"),
    ("to a folder", ("lm", "t.txt", "--output", "."), "."),
    ("below a file", ("lm", "t.txt", "--output", "t.txt/x.arpa"), "t.txt"),
):
    fault(TEXTS, f"lm writes {_name}", codes=(2, 4), says=_said)(_with({"t.txt": "one two\n"}, *_words))

for _pair in ("train=abc", "train=1.5", "train=-1", "train=true", "train=null", "seed=1e9", "dev=.inf", "test=[1]"):
    _does = _with({}, "prepare", "demo", "--output-folder", "demo", _pair)
    fault(VALUES, f"prepare demo {_pair}", codes=2, says=_pair.partition("=")[0])(_does)
for _words in (
    ("train", "FSDD", "--data-folder", "x", "--output-folder", "y"), ("prepare", "demo", "--output-folder", "y"),
    ("recipes", "show", "FSDD"),
):
    for _pair, _said in (("train=&a [*a]", "holds an alias"), (f"train={'[' * 9999}", "not YAML")):
        fault(VALUES, f"{_words[0]} {_pair[:20]}", codes=2, says=_said)(_with({}, *_words, _pair))
for _option in ("--weights", "--bonuses"):
    for _value in ("nan", "inf", "", "one", ","):
        _does = _with({"t": ARPA}, "tune", "RUN", "--data-folder", "x", "--lm", "t", f"{_option}={_value}")
        fault(VALUES, f"tune {_option}={_value}", codes=2, says=_option)(_does)
for _words in (("--confusions", "-1"), ("--errors", "x"), ("--unit", "letter"), ("--bootstrap", "seed")):
    _does = _with({"r": "u1 one\n"}, "score", "r", "r", *_words)
    fault(VALUES, f"score {' '.join(_words)}", codes=2)(_does)


def _odd(name: str, content: str) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        run = world.model_run()
        (run / name).write_text(content)
        return world.run("compare", run)

    return does


for _name in ("test.json", "run.json", "model/metrics.json"):
    for _content in ("[]", "{}", "null", '{"a": 3}', '{"a": 1, "a": 2}', "[" * 100_000, '{"a": ' + "9" * 400 + "}", ""):
        _said = Path(_name).name.replace(".", r"\.")
        fault(SHAPES, f"compare: {_name} is {_content[:20] or 'empty'}", codes=4, says=_said)(_odd(_name, _content))


def _journal(name: str, content: str) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        recording, out = world.recording("in/a.wav"), world.folder / "out"
        assert world.run("decode", world.made / "run", recording.parent, "--output-folder", out).code == 0
        (out / name).write_text(content)
        return world.run("decode", world.made / "run", recording.parent, "--output-folder", out)

    return does


for _content in ("[]\n", "{}\n", '{"name": ["a"]}\n', '{"name": "a", "finished": "now"}\n', "[" * 50_000 + "\n"):
    _does = _journal("decoded.jsonl", _content)
    fault(SHAPES, f"decode: decoded.jsonl is {json.dumps(_content[:30])}", codes=(0, 4), says="")(_does)


def _redirected(words: str, redirections: str, environment: dict[str, str] | None = None) -> Callable[[World], Outcome]:
    def does(world: World) -> Outcome:
        (world.folder / "r").write_text("u1 é\n", encoding="utf-8")
        script = world.folder / "script"
        script.write_text(f'exec "$@" {redirections}\n')
        return world.process(*words.split(), before=("sh", str(script)), environment=environment)

    return does


for _words, _redirections, _codes, _said in (
    ("score r r", ">&-", 0, ""), ("score r r", ">/dev/full", 4, "standard output"), ("score r r", "2>&-", 0, ""),
    ("score r r", "<&- >&- 2>&-", 0, ""), ("recipes list", ">/dev/full", 4, "standard output"),
    ("score r r --json", ">/dev/full", 4, "standard output"), ("doctor --help", ">/dev/full", 4, "standard output"),
):
    _does = _redirected(_words, _redirections)
    fault(STREAMS, f"{_words} {_redirections}", codes=_codes, says=_said, slow=True)(_does)
for _encoding in ("ascii", "latin-1", "utf-8"):
    _does = _redirected("score r r", "", {"PYTHONIOENCODING": _encoding, "LC_ALL": "C"})
    fault(STREAMS, f"output in {_encoding}", codes=0, slow=True)(_does)
