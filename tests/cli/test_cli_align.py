"""``snn-asr align``: one recording and folders, every kind of transcript, and what goes wrong."""

from __future__ import annotations

import json

import pytest
from babbler import babbler
from tones import RATE_HZ, speak

from snn_asr.data.audio import write_audio
from snn_asr.data.tokens import CharacterTokens, PhoneTokens, SentencePieceTokens

TEXTS = {"a/first": "low high", "a/second": "mid low mid", "third": "high"}


@pytest.fixture
def audio(tmp_path):
    """A folder of three recordings, two of them in a folder below."""
    folder = tmp_path / "audio"
    for seed, (name, text) in enumerate(TEXTS.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_audio(folder / f"{name}.wav", speak(text.split(), seed), RATE_HZ)
    return folder


def write_transcripts(folder, kind: str):
    """The transcripts of all recordings; returns the file or folder."""
    base = {name.rpartition("/")[2]: text for name, text in TEXTS.items()}
    if kind == "folder":
        for name, text in TEXTS.items():
            path = folder / "texts" / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return folder / "texts"
    contents = {
        "text": "".join(f"{name} {text}\n" for name, text in base.items()),
        "all.trn": "".join(f"{text} ({name})\n" for name, text in base.items()),
        "all.trans.txt": "".join(f"{name} {text.upper()}\n" for name, text in base.items()),
        "all.json": json.dumps({name: {"id": name, "text": text} for name, text in TEXTS.items()}),
        "all.tsv": "id\ttext\n" + "".join(f"{name}\t{text}\n" for name, text in base.items()),
    }
    (folder / kind).write_text(contents[kind])
    return folder / kind


@pytest.mark.parametrize("kind", ["folder", "text", "all.trn", "all.trans.txt", "all.json", "all.tsv"])
def test_a_folder_with_its_transcripts(kind, run, tone_run, audio, tmp_path):
    transcripts = write_transcripts(tmp_path, kind)
    words = ("align", tone_run, audio, transcripts, "--output-folder", tmp_path / "out")
    words += ("--format", "ctm,json,textgrid")
    code, out, errors = run(*words)
    assert (code, out) == (0, "") and errors[-1].startswith("3 aligned, 0 failed")
    for name, text in TEXTS.items():
        found = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert [each["text"] for each in found["words"]] == text.split()
        rows = (tmp_path / "out" / f"{name}.ctm").read_text().splitlines()
        assert [row.split()[4] for row in rows] == text.split()
        assert 'name = "words"' in (tmp_path / "out" / f"{name}.TextGrid").read_text()
    assert "0 aligned, 3 already done" in run(*words)[2][-1]


@pytest.mark.parametrize("named", [{"a/first": "u1", "a/second": "u2", "third": "u3"}, {"a/first": "third"}])
def test_a_manifest_that_calls_its_utterances_otherwise(named, run, tone_run, audio, tmp_path):
    """Its utterances are found by the recordings that it names, even if one is called like another's file."""
    texts = {named.get(name, name.replace("third", "a/first")): (name, text) for name, text in TEXTS.items()}
    manifest = {
        identifier: {"wav": f"audio/{name}.wav", "duration": 1.0, "speaker": "s", "text": text}
        for identifier, (name, text) in texts.items()
    }
    (tmp_path / "test.json").write_text(json.dumps(manifest))
    words = ("align", tone_run, audio, tmp_path / "test.json", "--output-folder", tmp_path / "out")
    assert run(*words)[0] == 0
    for name, text in TEXTS.items():
        rows = (tmp_path / "out" / f"{name}.ctm").read_text().splitlines()
        assert [row.split()[4] for row in rows] == text.split()
    (tmp_path / "elsewhere").symlink_to(audio / "a")
    code, out, _ = run("align", tone_run, tmp_path / "elsewhere" / "second.wav", tmp_path / "test.json")
    assert code == 0 and [row.split()[4] for row in out.splitlines()] == TEXTS["a/second"].split()


def test_one_recording_and_its_text_on_standard_output(run, tone_run, audio, tmp_path):
    (tmp_path / "said.txt").write_text("low\nhigh\n")
    code, out, _ = run("align", tone_run, audio / "a" / "first.wav", tmp_path / "said.txt")
    assert code == 0 and [line.split()[4] for line in out.splitlines()] == ["low", "high"]
    code, out, _ = run("align", tone_run, audio / "a" / "first.wav", tmp_path / "said.txt", "--format", "json")
    assert json.loads(out)["text"] == "low high"


@pytest.mark.parametrize(
    ("tokens", "text", "words"),
    [
        (CharacterTokens([" ", *"abdo"]), "a bad do", ["a", "bad", "do"]),
        (PhoneTokens.build([]), "b ae dcl d", ["b", "ae", "sil", "d"]),
        (SentencePieceTokens.build(["a bad do bad"] * 20, 7), "bad do", ["bad", "do"]),
    ],
    ids=["characters", "phones", "sentencepiece"],
)
def test_every_kind_of_token(tokens, text, words, run, tmp_path):
    write_audio(tmp_path / "said.wav", speak(["low", "high", "mid"], 1), RATE_HZ)
    (tmp_path / "said.txt").write_text(text)
    model = tmp_path / "model"
    babbler(model, "improved_v2", tokens)
    code, out, _ = run("align", model, tmp_path / "said.wav", tmp_path / "said.txt")
    assert code == 0 and [line.split()[4] for line in out.splitlines()] == words
    code, out, _ = run("align", model, tmp_path / "said.wav", tmp_path / "said.txt", "--format", "textgrid")
    assert code == 0 and ('name = "phones"' in out) == (tokens.kind == "phones")


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ("first low zebra\nsecond mid low mid\nthird high\n", "first: no words token for 'zebra'"),
        ("first \u043d\u0435\u0442\nsecond mid low mid\nthird high\n", "no words token for '\u043d\u0435\u0442'"),
        (f"first {'low ' * 500}\nsecond mid low mid\nthird high\n", "the transcript needs 999 frames"),
        ("second mid low mid\nthird high\n", "no transcript"),
        (f"{'f' * 5000} low\nsecond mid low mid\nthird high\n", "no transcript"),
        (f"first {'z' * 5000}\nsecond mid low mid\nthird high\n", "no words token for 'zzz"),
    ],
)
def test_one_that_cannot_be_aligned_is_one_line_and_the_rest_is_written(texts, said, run, tone_run, audio, tmp_path):
    (tmp_path / "text").write_text(texts, encoding="utf-8")
    code, _, errors = run("align", tone_run, audio, tmp_path / "text", "--output-folder", tmp_path / "out")
    failed = [line for line in errors if line.startswith("failed: ")]
    assert code == 3 and len(failed) == 1 and said in failed[0] and len(failed[0]) < 400, errors
    assert sorted(each.stem for each in (tmp_path / "out").rglob("*.ctm")) == ["second", "third"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("MODEL", "AUDIO", "nowhere"), 4, "nowhere"),
        (("MODEL", "nowhere", "TEXT"), 4, "nowhere"),
        (("nowhere", "AUDIO", "TEXT"), 4, "nowhere"),
        (("MODEL", "AUDIO", "TEXT", "--format", "ctn"), 2, "unknown format 'ctn'"),
        (("MODEL", "AUDIO", "TEXT", "--format", "ctm,json"), 2, "give --output-folder"),
        (("MODEL", "AUDIO"), 2, "TRANSCRIPT"),
    ],
)
def test_mistakes_are_one_line(words, code, said, run, tone_run, audio, tmp_path):
    places = {"MODEL": tone_run, "AUDIO": audio, "TEXT": write_transcripts(tmp_path, "text")}
    found, out, errors = run("align", *(places.get(each, each) for each in words))
    assert (found, out) == (code, "") and said in errors[-1]


def test_a_model_that_classifies_cannot_align_and_says_so_once(run, audio, tmp_path):
    babbler(tmp_path / "model", "gru", task="classification")
    code, _, errors = run("align", tmp_path / "model", audio, write_transcripts(tmp_path, "text"))
    (line,) = errors
    assert code == 2 and "this model classifies" in line
