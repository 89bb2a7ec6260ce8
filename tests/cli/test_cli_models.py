"""The commands around a model: results on stdout and nothing else, the rest on stderr, the exit codes."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from tones import RATE_HZ, speak

from snn_asr.data.audio import write_audio
from snn_asr.files import read_json

SHORT = ("epochs=1", "hidden_size=8", "batch_frames=1000")
EPOCH = (
    r"\S+ epoch 1/1: loss \d+\.\d{3}, dev loss \d+\.\d{3}, dev word error \d+\.\d\d %( \(best\))?, "
    r"learning rate \d\.\de[-+]\d\d, density \d\.\d\d \d\.\d\d, \d+ s"
)
TEST = r"(?P<folder>.*): test word error \d+\.\d\d % .*"
BACKEND = "computing with the cpu backend on cpu"


@pytest.fixture
def train_words(tones, tone_recipe, tmp_path) -> list[object]:
    return [
        "train", tone_recipe, "--data-folder", tones, "--output-folder", tmp_path / "run", "--device", "cpu", *SHORT
    ]


def test_train_prints_the_model_folder_and_one_line_an_epoch(run, train_words, tmp_path):
    code, out, errors = run(*train_words)
    assert (code, out) == (0, f"{tmp_path / 'run' / 'model'}\n")
    # The backend is logged once a process, features once a data folder.
    lines = [line for line in errors if line != BACKEND and "/features: " not in line]
    assert len(lines) == 2 and re.fullmatch(EPOCH, lines[0])
    assert re.fullmatch(TEST, lines[1])["folder"] == str(tmp_path / "run")
    code, out, errors = run(*train_words)
    assert (code, out) == (0, f"{tmp_path / 'run' / 'model'}\n")
    assert errors == [f"{tmp_path / 'run'}: already trained, nothing to do"]
    code, out, errors = run(*train_words, "dropout=0.2")
    assert (code, out, len(errors)) == (2, "", 1)
    assert "holds another run" in errors[0]


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("train", "Tonez", "--output-folder", "x"), 2, "unknown recipe 'Tonez'"),
        (("train", "{recipe}", "--output-folder", "x", "epochs"), 2, "'epochs': not of the form key=value"),
        (("train", "{recipe}", "--output-folder", "x", "epoch=3"), 2, "did you mean 'epochs'?"),
        (("train", "{recipe}", "--output-folder", "x", "--data-folder", "nowhere"), 4, "nowhere: no such folder"),
        (("train", "{recipe}", "--output-folder", "x", "--data-folder", "{data}", "--device", "gpu"), 2, "--device"),
        (("decode", "nowhere", "{audio}"), 4, "nowhere: no finished model here"),
        (("decode", "nowhere", "{audio}", "--engine", "event", "--beam", "3"), 2, "decodes greedily"),
        (("decode", "{model}", "nowhere"), 4, "nowhere: no such file or folder"),
        (("decode", "{model}", "{audio}", "--format", "text"), 2, "did you mean 'txt'?"),
        (("decode", "{model}", "{audio}", "--format", "txt,srt"), 2, "give --output-folder"),
        (("decode", "{model}", "{audio}", "--format", ",", "--output-folder", "x"), 2, "--format: names no format"),
        (("decode", "{model}"), 2, "Missing argument"),
        (("profile", "{model}", "nowhere"), 4, "nowhere: no such file or folder"),
        (("compare", "nowhere"), 2, "unknown recipe 'nowhere'"),
        (("compare", "{recipe}"), 2, "--output-folder: training needs a place"),
        (("compare", "{recipe}", "{recipe}"), 2, "train.yaml: not the folder of a run; give one recipe, or only"),
        (("compare", "{run}", "nowhere"), 2, "nowhere: not the folder of a run"),
        (("compare", "{run}", "bits=4"), 2, "finished runs take no key=value"),
        (("compare", "{run}", "--seeds", "0"), 2, "--seeds"),
        (("compare", "{recipe}", "--output-folder", "x", "--encoders", "gru,lstn"), 2, "did you mean 'lstm'?"),
        (("compare", "{recipe}", "--output-folder", "x", "--baseline", "gr"), 2, "unknown baseline 'gr'"),
    ],
)
def test_a_mistake_is_one_line_and_its_code(
    words, code, problem, run, tone_run, tone_recipe, tones, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    places = {
        "recipe": tone_recipe, "model": tone_run, "run": tone_run, "data": tones, "audio": tones / "audio" / "test"
    }
    got, out, errors = run(*(word.format(**places) for word in words))
    assert (got, out) == (code, "")
    assert len(errors) == 1 and errors[0].startswith("snn-asr: ") and problem in errors[0]


@pytest.fixture
def audio(tmp_path) -> Path:
    for index, name in enumerate(("one.wav", "sub/two.wav")):
        write_audio(tmp_path / "audio" / name, speak(["low", "high"][: 1 + index], index), RATE_HZ)
    return tmp_path / "audio"


def test_decode_prints_the_text_of_one_and_the_names_of_several(run, recognizer, tone_run, audio):
    one, two = (recognizer.transcribe(audio / name).text for name in ("one.wav", "sub/two.wav"))
    code, out, errors = run("decode", tone_run / "model", audio / "one.wav")
    assert (code, out) == (0, f"{one}\n")
    assert len(errors) == 1 and re.fullmatch(r"1 transcribed, 0 failed, \d+(\.\d)? times real time", errors[0])
    assert run("decode", tone_run, audio)[:2] == (0, f"one\t{one}\nsub/two\t{two}\n")
    code, out, _ = run("decode", tone_run, audio / "one.wav", "--format", "json")
    assert (code, json.loads(out)["text"]) == (0, one)


def test_decode_takes_a_list_from_standard_input(run, tone_run, audio, monkeypatch):
    monkeypatch.chdir(audio)
    monkeypatch.setattr(sys, "stdin", io.StringIO("sub/two.wav\none.wav\n"))
    code, out, _ = run("decode", tone_run, "-")
    assert code == 0 and [line.split("\t")[0] for line in out.splitlines()] == ["sub/two", "one"]
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert run("decode", tone_run, "-") == (0, "", ["0 transcribed, 0 failed"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert run("profile", tone_run, "-")[0] == 4


def test_decode_writes_a_folder_and_reports_what_failed(run, tone_run, audio, tmp_path):
    (audio / "broken.wav").write_text("no audio")
    code, out, errors = run("decode", tone_run, audio, "--output-folder", tmp_path / "out", "--format", "txt, ctm")
    assert (code, out) == (3, "")
    assert errors[0].startswith(f"failed: {audio / 'broken.wav'}: not readable as audio")
    assert errors[1].startswith("2 transcribed, 1 failed")
    assert errors[2:] == ["snn-asr: 1 of 3 inputs failed; see the lines above; the rest is written"]
    assert {each.name for each in (tmp_path / "out").rglob("*.*")} == {
        "one.txt", "one.ctm", "two.txt", "two.ctm", "decoded.jsonl", "errors.json"
    }


def test_decode_of_silence_is_a_success(run, tone_run, tmp_path):
    write_audio(tmp_path / "quiet.wav", torch.zeros(4000), RATE_HZ)
    assert run("decode", tone_run, tmp_path / "quiet.wav")[:2] == (0, "\n")


def test_profile_prints_a_report_or_json(run, tone_run, audio):
    code, out, errors = run("profile", tone_run, audio)
    assert (code, errors) == (0, []) and out.startswith("encoder              improved_v2")
    code, out, errors = run("profile", tone_run, audio, "--json")
    assert (code, errors, json.loads(out)["files"]) == (0, [], 2)


def test_compare_prints_a_table_or_json(run, tone_run, gru_run):
    code, out, errors = run("compare", tone_run, gru_run, "--json")
    rows = json.loads(out)
    assert (code, errors, [row["encoder"] for row in rows]) == (0, [], ["improved_v2", "gru"])
    assert rows[1]["macs_ratio_to_baseline"] == 1 and [row["p_value"] for row in rows] == [None, None]  # of one seed
    code, out, errors = run("compare", tone_run, gru_run)
    assert (code, errors) == (0, []) and "improved_v2" in out and "Test results" in out


def test_compare_takes_a_run_folder_whose_name_holds_an_equals_sign(run, gru_run, tmp_path):
    folder = shutil.copytree(gru_run, tmp_path / "epochs=2")
    code, out, _ = run("compare", folder, "--json")
    assert (code, len(json.loads(out))) == (0, 1)


def test_compare_trains_each_encoder_once(run, tone_recipe, tones, tmp_path, monkeypatch):
    words = [
        "compare", tone_recipe, "--encoders", "improved_v2, gru", "--data-folder", tones, "--device", "cpu", "--json",
        "--output-folder", tmp_path / "runs", *SHORT, "bits=4",
    ]
    code, out, errors = run(*words)
    assert code == 0 and [row["encoder"] for row in json.loads(out)] == ["improved_v2", "gru"]
    begins = [line.partition(":")[0] for line in errors]
    assert "improved_v2-seed1 epoch 1/1" in begins and "gru-seed1 epoch 1/1" in begins
    assert read_json(tmp_path / "runs" / "improved_v2-seed1" / "run.json")["overrides"]["bits"] == 4
    monkeypatch.setattr("snn_asr.training.loop.brain.RecognizerBrain.fit", None)
    assert run(*words)[:2] == (0, out)


@pytest.mark.thorough
def test_compare_trains_a_grid(run, tone_recipe, tones, tmp_path):
    words = [
        "compare", tone_recipe, "--encoders", "improved_v2,gru", "--grid", "bits=4,5", "--data-folder", tones, "--json",
        "--output-folder", tmp_path / "runs", "--device", "cpu", *SHORT,
    ]
    code, out, _ = run(*words)
    rows = json.loads(out)
    assert code == 0 and [row["encoder"] for row in rows] == ["improved_v2 bits=4", "improved_v2 bits=5", "gru"]
    assert rows[2]["macs_ratio_to_baseline"] == 1.0
    assert run(*words)[:2] == (0, out)
    form = "not of the form key=value"
    for wrong, said in (("bits", form), ("bits=4,4", form), ("bitz=4", "did you mean 'bits'")):
        code, _, errors = run(*words[:4], "--grid", wrong, *words[6:])
        assert code == 2 and said in errors[-1]


@pytest.mark.parametrize("command", ["train", "decode", "compare", "profile"])
def test_the_list_of_commands_shows_whole_sentences(command, run):
    lines = run("--help")[1].split("Commands:\n")[1].splitlines()
    line = next(each for each in lines if each.split()[0] == command)
    assert not line.endswith("...")
