"""``snn-asr stream``, ``decode --engine event`` and ``profile --engine event``."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import torch
from tones import RATE_HZ, speak

from snn_asr.data.audio import write_audio
from snn_asr.data.resampling import resample
from snn_asr.files import read_json

SPOKEN = ["low", "high", "mid"]


def pcm(samples: torch.Tensor) -> bytes:
    return (samples * 32767).round().short().numpy().astype("<i2").tobytes()


@pytest.fixture
def stdin(monkeypatch):
    """Put bytes on standard input."""

    def put(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return put


def test_raw_samples_on_stdin_become_json_lines_with_times(run, stdin, tone_run, recognizer):
    samples = torch.cat([speak(SPOKEN, 1), torch.zeros(2 * RATE_HZ)])
    stdin(pcm(resample(samples, RATE_HZ, 16000)))
    code, out, _ = run("stream", tone_run)
    rows = [json.loads(line) for line in out.splitlines()]
    expected = recognizer.transcribe(samples)
    assert code == 0
    assert [row["text"] for row in rows if row["type"] == "word"] == expected.text.split()
    assert len(expected.tokens) > 1
    assert rows[-1]["type"] == "segment" and rows[-1]["text"] == expected.text
    for row, token in zip(rows, expected.tokens, strict=False):
        assert abs(row["start"] - token.start_seconds) < 0.05 < row["confidence"] <= 1
    stdin(pcm(samples))
    assert run("stream", tone_run, "--sample-rate", RATE_HZ, "--text")[1].split() == expected.text.split()


def test_a_file_streams_too_and_endpoints_can_be_chosen(run, tone_run, tmp_path):
    pieces = [speak(SPOKEN, 1), torch.zeros(RATE_HZ), speak(["low"], 3), torch.zeros(RATE_HZ)]
    write_audio(tmp_path / "two.wav", torch.cat(pieces), RATE_HZ)
    segments = {}
    for silence in (0, 0.5, 9):
        code, out, _ = run("stream", tone_run, tmp_path / "two.wav", "--endpoint-silence", silence, "--partial")
        rows = [json.loads(line) for line in out.splitlines()]
        segments[silence] = [row["text"] for row in rows if row["type"] == "segment"]
        assert code == 0 and {"word", "segment"} <= {row["type"] for row in rows} <= {"partial", "word", "segment"}
    assert segments[0] == segments[9] == [" ".join(segments[0.5])]
    assert len(segments[0.5]) == 2


def test_a_word_is_shown_while_it_lasts(run, tone_run, tmp_path):
    """A tone of 0.2 s lies across the end of a block of 0.5 s wherever it begins, in one of these recordings."""
    kinds = set()
    for index, lead in enumerate((0.0, 0.1, 0.2, 0.3, 0.4)):
        path = tmp_path / f"{index}.wav"
        write_audio(path, torch.cat([torch.zeros(int(lead * RATE_HZ)), speak(["low", "high", "mid"], 1)]), RATE_HZ)
        code, out, _ = run("stream", tone_run, path, "--partial")
        kinds |= {json.loads(line)["type"] for line in out.splitlines()}
        assert code == 0
    assert kinds == {"partial", "word", "segment"}


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("stream", "nowhere"), 4, "nowhere: no finished model here"),
        (("stream", "{model}", "nowhere.wav"), 4, "nowhere.wav: no such audio file"),
        (("stream", "no-model", "nowhere.wav"), 4, "nowhere.wav: no such audio file"),
        (("stream", "{model}", "--precision", "int9"), 2, "did you mean 'int8'"),
        (("stream", "{model}", "--endpoint-silence", "-1"), 2, "--endpoint-silence"),
        (("decode", "{model}", "{audio}", "--engine", "events"), 2, "did you mean 'event'"),
        (("decode", "{model}", "{audio}", "--engine", "event", "--beam", "3"), 2, "decodes greedily"),
        (("decode", "{model}", "{audio}", "--engine", "event", "--precision", "int7"), 2, "did you mean 'int8'"),
    ],
)
def test_a_mistake_is_one_line_and_its_code(words, code, problem, run, stdin, tone_run, tones, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stdin(b"")
    words = [each.format(model=tone_run, audio=tones / "audio" / "test") for each in words]
    found, out, errors = run(*words)
    assert (found, out) == (code, "")
    assert problem in errors[-1]


def test_decode_with_events_writes_what_the_batch_engine_writes(run, tone_run, tones, tmp_path):
    audio = tones / "audio" / "test"
    texts = {}
    for engine in ("batch", "event"):
        folder = tmp_path / engine
        words = ["decode", tone_run, audio, "--output-folder", folder, "--format", "txt,ctm"]
        code, _, errors = run(*words, "--engine", engine)
        assert code == 0 and errors[-1].startswith("6 transcribed")
        texts[engine] = {path.name: path.read_text() for path in folder.glob("*.txt")}
        assert len(texts[engine]) == 6 == len(list(folder.glob("*.ctm")))
    assert texts["event"] == texts["batch"]
    assert "6 already done" in run(*words, "--engine", "event")[2][-1]
    assert run(*words, "--engine", "event", "--precision", "int8")[2][-1].startswith("6 transcribed")
    assert run(*words)[2][-1].startswith("6 transcribed")


def test_a_file_that_fails_on_the_way_is_listed_and_the_rest_is_written(run, tone_run, recognizer, tmp_path):
    soundfile.write(tmp_path / "bad.wav", np.array([0.0] * 2000 + [np.nan]), RATE_HZ, subtype="FLOAT")
    write_audio(tmp_path / "good.wav", speak(SPOKEN, 1), RATE_HZ)
    words = ["decode", tone_run, tmp_path / "*.wav", "--engine", "event", "--output-folder", tmp_path / "out"]
    code, _, errors = run(*words)
    assert code == 3 and "1 of 2 inputs failed" in errors[-1]
    assert (tmp_path / "out" / "good.txt").read_text().strip() == recognizer.transcribe(tmp_path / "good.wav").text
    assert len(read_json(tmp_path / "out" / "errors.json")) == 1


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_profile_of_the_event_engine_counts_what_the_batch_engine_counts(precision, run, tone_run, recognizer, tones):
    audio = tones / "audio" / "test"
    code, out, _ = run("profile", tone_run, audio, "--engine", "event", "--precision", precision, "--json")
    result, batch = json.loads(out), json.loads(run("profile", tone_run, audio, "--json")[1])
    assert code == 0 and (result["frames"], result["seconds"]) == (batch["frames"], batch["seconds"])
    features, first, second = result["layers"]
    units, inputs, classes = 32, 30, recognizer.tokens.size  # two gates a unit
    assert [each["density"] for each in (first, second)] == pytest.approx(batch["density"], rel=0.02)
    products = {"features": inputs * 2 * units, "first": units * 4 * units, "second": units * (2 * units + classes)}
    for each, dense in zip((features, first, second), products.values(), strict=True):
        total = (each["done_per_second"] + each["avoided_per_second"]) * result["seconds"]
        assert total == pytest.approx(dense * result["frames"])
        assert each["done_per_second"] * result["seconds"] == pytest.approx(each["density"] * total)
    assert features["operation"] == "MAC" and features["density"] == pytest.approx(1, abs=0.01)
    operations = {name: each["per_second"] for name, each in result["energy"]["events"]["lines"].items()}
    assert operations["additions"] == pytest.approx(sum(each["done_per_second"] for each in result["layers"]), rel=0.02)
    assert result["algorithmic_latency_seconds"] == pytest.approx(0.045)  # two hops and a window
    assert 0 < result["network_microseconds_per_frame"] < 1e4 and 0 < result["real_time_factor"] < 1
    assert result["word_latency_seconds"]["median"] >= 0.03
    assert "energy, an estimate" in run("profile", tone_run, audio, "--engine", "event")[1]


@pytest.mark.slow
def test_ctrl_c_writes_the_last_words(tone_run, recognizer):
    """The sound stops, the pipe stays open: the words are there before Ctrl-C, the segment behind it."""
    samples = speak([*SPOKEN, "low"], 1)
    spoken = recognizer.transcribe(samples).text.split()
    words = [sys.executable, "-c", "from snn_asr.cli.main import main; main()", "stream", str(tone_run)]
    process = subprocess.Popen([*words, "--sample-rate", str(RATE_HZ)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.stdin.write(pcm(samples))
        process.stdin.flush()
        rows = [json.loads(process.stdout.readline()) for _ in spoken[:-1]]
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert [row["text"] for row in rows] == spoken[:-1] != []
    last = json.loads(rest.splitlines()[-1])
    assert (last["type"], last["text"]) == ("segment", " ".join(spoken))
