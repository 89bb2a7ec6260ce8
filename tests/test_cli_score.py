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
        "errors: 4 = 1 insertions, 2 deletions, 1 substitutions",
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
    assert value == {
        "error_rate": pytest.approx(200 / 3),
        "words": 6,
        "insertions": 1,
        "deletions": 2,
        "substitutions": 1,
        "utterances": 3,
        "missing": ["u3"],
    }


@pytest.mark.parametrize(("unit", "key", "length"), [("phone", "phones", 6), ("character", "characters", 25)])
def test_units(files, unit, key, length):
    value = json.loads(run(*files, "--unit", unit, "--json").stdout)
    assert value[key] == length


def test_errors_shown(files):
    shown = run(*files, "--errors", "1").stdout
    assert "u1: 2 errors" in shown and "u2: 1 errors" not in shown
    assert len(run(*files, "--errors", "0").stdout.splitlines()) == 4


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
    absent = run(files[0], files[1] + "x")
    assert isinstance(absent.exception, DataError) and "no such file" in str(absent.exception)
