"""``snn-asr profile --energy``: the table, its numbers as JSON, and what is refused."""

from __future__ import annotations

import json
import re

import pytest


@pytest.fixture
def audio(tones):
    return tones / "audio" / "test"


@pytest.mark.parametrize("precision", ["float32", "int8", "int4"])
def test_the_table_has_the_numbers_of_the_json(precision, run, tone_run, audio):
    words = ("profile", tone_run, audio, "--energy", "--precision", precision)
    code, text, _ = run(*words)
    energy = json.loads(run(*words, "--json")[1])["energy"]
    assert code == 0 and energy["precision"] == precision and f"improved_v2, {precision}" in text
    rows = re.findall(r"^  .*?(\S+) M[B ] +(\S+) µJ +(\S+) M[B ] +(\S+) µJ$", text, re.MULTILINE)
    priced = [energy[each]["lines"].values() for each in ("events", "every_product")]
    assert len(rows) == 9
    for row, taken, dense in zip(rows, *priced, strict=True):
        numbers = [taken["per_second"] / 1e6, taken["microjoules"], dense["per_second"] / 1e6, dense["microjoules"]]
        assert [float(each) for each in row] == pytest.approx(numbers, abs=0.0051)
    totals = [energy[each]["microjoules"]["sram"] for each in ("events", "every_product")]
    assert re.search(rf"weights in SRAM +{totals[0]:.2f} µJ +{totals[1]:.2f} µJ", text)
    assert totals == pytest.approx([sum(each["microjoules"] for each in lines) for lines in priced])
    assert totals[0] < totals[1]
    assert f"density of events    {energy['density']:.3f}" in text
    assert len(re.findall(r"\((\S+) µJ\) +(?:none|any|0\.\d+)", text)) == 3


def test_a_network_of_dense_layers_says_that_nothing_is_saved(run, gru_run, audio):
    code, text, _ = run("profile", gru_run, audio, "--energy")
    energy = json.loads(run("profile", gru_run, audio, "--energy", "--json")[1])["energy"]
    assert code == 0 and energy["events"] == energy["every_product"]
    assert "nothing that spiking saves" in text


def test_the_profile_of_the_event_engine_has_the_totals(run, tone_run, audio):
    words = ("profile", tone_run, audio, "--engine", "event")
    (line,) = [line for line in run(*words)[1].splitlines() if "energy" in line]
    own = json.loads(run(*words, "--json")[1])["energy"]
    assert own == json.loads(run("profile", tone_run, audio, "--energy", "--json")[1])["energy"]
    assert f"{own['events']['microjoules']['sram']:.1f} µJ a second" in line
    assert "energy" not in json.loads(run("profile", tone_run, audio, "--json")[1])


@pytest.mark.parametrize(("words", "code", "problem"), [
    (("--engine", "batch"), 2, "--energy: energy is that of the event engine; leave out --engine batch"),
    (("--engine", "events"), 2, "did you mean 'event'"),
    (("--precision", "int9"), 2, "did you mean 'int8'"),
    (("--energie",), 2, "--energy"),
    (("--device", "tpu"), 2, "tpu"),
])
def test_a_mistake_is_one_line_and_its_code(words, code, problem, run, tone_run, audio):
    found, out, errors = run("profile", tone_run, audio, "--energy", *words)
    assert (found, out) == (code, "")
    assert problem in errors[-1]


def test_a_bad_file_is_named_and_the_others_are_profiled(run, tone_run, audio, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    code, text, errors = run("profile", tone_run, audio, tmp_path / "bad.wav", "--energy")
    assert code == 3 and "audio                6 files" in text
    assert any("bad.wav" in line for line in errors)
