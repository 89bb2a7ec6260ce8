"""``snn-asr score`` as a user runs it."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from snn_asr.cli.score import score
from snn_asr.errors import DataError, UsageError


@pytest.fixture
def files(tmp_path):
    """REFERENCE and HYPOTHESIS in two formats: 1 insertion, 2 deletions (one missing utterance), 1 substitution."""
    reference, hypothesis = tmp_path / "reference.trn", tmp_path / "text"
    reference.write_text("the cat sat (u1)\nhello world (u2)\nyes (u3)\n")
    hypothesis.write_text("u1 the bat sat down\nu2 hello\n")
    return str(reference), str(hypothesis)


def run(*arguments: str):
    app = typer.Typer()
    app.command()(score)
    return CliRunner().invoke(app, arguments)


def test_human_readable(files):
    result = run(*files)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("word error rate: 66.67 % [") and lines[0].endswith("(95 % bootstrap over utterances)")
    assert lines[1:4] == [
        "errors: 4 = 1 insertions, 2 deletions, 1 substitutions, in 3 utterances",
        "references: 3 utterances, 6 words",
        "missing: 1 utterances without hypothesis, all deletions: u3",
    ]
    aligned = "REF: the cat sat ***\nHYP: the bat sat down\n         S       I\n"
    assert "\nu1: 2 errors in 3 words\n" + aligned in result.stdout
    assert "     1  cat > bat\n" in result.stdout


def test_json(files):
    result = run(*files, "--json")
    value = json.loads(result.stdout)
    low, high = value.pop("interval")
    assert 0 <= low < value["error_rate"] < high
    confusions, worst = value.pop("confusions"), value.pop("worst")
    assert [(each["utterance"], each["words"], each["substitutions"]) for each in worst][0] == ("u1", 3, 1)
    assert {each["utterance"] for each in worst} == {"u1", "u2", "u3"}
    assert value == {
        "unit": "word",
        "bootstrap": "utterance",
        "error_rate": pytest.approx(200 / 3),
        "words": 6,
        "correct": 3,
        "insertions": 1,
        "deletions": 2,
        "substitutions": 1,
        "utterances": 3,
        "wrong_utterances": 3,
        "missing": ["u3"],
        "extra": [],
    }
    assert [(each["reference"], each["hypothesis"], each["count"]) for each in confusions] == [
        ("cat", "bat", 1), (None, "down", 1), ("world", None, 1), ("yes", None, 1),
    ]


@pytest.mark.parametrize(("unit", "key", "length"), [("phone", "phones", 6), ("character", "characters", 25)])
def test_units(files, unit, key, length):
    value = json.loads(run(*files, "--unit", unit, "--json").stdout)
    assert value[key] == length


def test_errors_shown(files):
    shown = run(*files, "--errors", "1").stdout
    assert "u1: 2 errors" in shown and "u2: 1 errors" not in shown
    assert len(run(*files, "--errors", "0", "--confusions", "0").stdout.splitlines()) == 4


def test_confusions_shown(files):
    shown = run(*files, "--errors", "0", "--confusions", "2").stdout
    assert shown.endswith("most frequent errors (reference > hypothesis):\n     1  cat > bat\n     1  *** > down\n")
    assert "confusions" not in json.loads(run(*files, "--json", "--confusions", "0").stdout)


@pytest.fixture
def spoken_files(tmp_path):
    """Two speakers of ten utterances each: one always right, one always wrong."""
    reference, hypothesis = tmp_path / "reference.trn", tmp_path / "hypothesis.ctm"
    ids = [f"{speaker}-{index}" for speaker in ("ann", "bob") for index in range(10)]
    reference.write_text("".join(f"yes ({identifier})\n" for identifier in ids))
    said = {identifier: "yes" if identifier.startswith("ann") else "no" for identifier in ids}
    hypothesis.write_text("".join(f"{identifier} 1 0.0 0.5 {word}\n" for identifier, word in said.items()))
    return str(reference), str(hypothesis)


def test_by_speaker(spoken_files):
    lines = run(*spoken_files, "--by-speaker", "--errors", "0", "--confusions", "0").stdout.splitlines()
    assert lines[3:] == [
        "speakers: 2, from the utterance ids (what precedes the last '-' or '_')",
        "",
        "speaker  utterances  wrong  words  sub  ins  del  error rate",
        "ann              10      0     10    0    0    0      0.00 %",
        "bob              10     10     10   10    0    0    100.00 %",
    ]
    speakers = json.loads(run(*spoken_files, "--by-speaker", "--json").stdout)["speakers"]
    assert speakers["bob"] == {
        "error_rate": 100.0, "words": 10, "correct": 0, "insertions": 0, "deletions": 0, "substitutions": 10,
        "utterances": 10, "wrong_utterances": 10,
    }
    assert list(speakers) == ["ann", "bob"]


def test_bootstrap_of_speakers(spoken_files, tmp_path):
    """Two speakers, one right and one wrong: a quarter of all draws are all right, a quarter all wrong."""
    value = json.loads(run(*spoken_files, "--bootstrap", "speaker", "--json").stdout)
    assert (value["interval"], value["bootstrap"]) == ([0.0, 100.0], "speaker")
    assert "(95 % bootstrap over speakers)" in run(*spoken_files, "--bootstrap", "speaker").stdout
    (tmp_path / "utt2spk").write_text("".join(f"{name}-{i} one\n" for name in ("ann", "bob") for i in range(10)))
    alone = run(*spoken_files, "--bootstrap", "speaker", "--speakers", str(tmp_path / "utt2spk"), "--json")
    assert json.loads(alone.stdout)["interval"] is None


def test_alignments_file(files, tmp_path):
    path = tmp_path / "new" / "per_utt"
    run(*files, "--alignments", str(path))
    assert path.read_text().splitlines()[:4] == [
        "u1 ref  the  cat  sat   ***", "u1 hyp  the  bat  sat  down", "u1 op    C    S    C     I", "u1 #csid 2 1 1 0",
    ]
    assert len(path.read_text().splitlines()) == 12


def test_phone_set(tmp_path):
    entry = {"text": "had", "speaker": "x", "phones": [["hv", 0.1], ["ae", 0.2], ["dcl", 0.3], ["d", 0.4]]}
    reference, hypothesis = tmp_path / "test.json", tmp_path / "text"
    reference.write_text(json.dumps({"u": entry}))
    hypothesis.write_text("u hh ae sil d\n")
    files = (str(reference), str(hypothesis), "--unit", "phone")
    folded = run(*files, "--phone-set", "39", "--json")
    assert (json.loads(folded.stdout)["error_rate"], json.loads(folded.stdout)["phones"]) == (0.0, 4)
    assert folded.stderr == ""
    plain = run(*files, "--json")
    assert json.loads(plain.stdout)["error_rate"] == 50.0
    assert plain.stderr == "note: TIMIT's phones are usually scored on 39 (--phone-set 39)\n"


def test_a_run_against_itself(tmp_path):
    path = tmp_path / "test.json"
    path.write_text(json.dumps({"u": {"speaker": "x", "reference": "one two", "hypothesis": "one"}}))
    value = json.loads(run(str(path), str(path), "--by-speaker", "--json").stdout)
    assert (value["deletions"], list(value["speakers"])) == (1, ["x"])


def test_perfect(files):
    shown = run(files[0], files[0]).stdout
    assert shown.startswith("word error rate: 0.00 % [0.00, 0.00]")
    assert "REF" not in shown and "most frequent" not in shown


def test_empty_references(tmp_path):
    (tmp_path / "text").write_text("a\nb\n")
    result = run(str(tmp_path / "text"), str(tmp_path / "text"))
    assert result.stdout.startswith("word error rate: undefined (the references are empty)\n")
    value = json.loads(run(str(tmp_path / "text"), str(tmp_path / "text"), "--json").stdout)
    assert (value["error_rate"], value["interval"], value["words"]) == (None, None, 0)


def test_extra_hypotheses(files):
    reference, hypothesis = files
    with open(hypothesis, "a") as file:
        file.write("u9 who\n")
    refused = run(reference, hypothesis)
    assert isinstance(refused.exception, DataError) and "'u9'" in str(refused.exception)
    allowed = run(reference, hypothesis, "--allow-extra")
    assert "skipped: 1 hypotheses without reference: u9" in allowed.stdout


def test_mistakes_are_our_errors(files):
    unknown = run(*files, "--unit", "words")
    assert isinstance(unknown.exception, UsageError) and "did you mean 'word'" in str(unknown.exception)
    resampled = run(*files, "--bootstrap", "speakers")
    assert isinstance(resampled.exception, UsageError) and "did you mean 'speaker'" in str(resampled.exception)
    unused = run(*files, "--speakers", files[0])
    assert isinstance(unused.exception, UsageError) and "--speakers: is not used" in str(unused.exception)
    nobody = run(*files, "--by-speaker")
    assert isinstance(nobody.exception, DataError) and "'u1' holds no speaker" in str(nobody.exception)
    words = run(*files, "--phone-set", "39")
    assert isinstance(words.exception, UsageError) and "words are scored" in str(words.exception)
    absent = run(files[0], files[1] + "x")
    assert isinstance(absent.exception, DataError) and "no such file" in str(absent.exception)
