"""``snn-asr quantize``, and the commands that read what it wrote."""

from __future__ import annotations

import pytest

from snn_asr.files.locks import only_writer
from snn_asr.network.weights_file import WEIGHTS


@pytest.fixture(scope="module")
def small(tone_run, tmp_path_factory):
    """The int8 folder of the trained tones."""
    from snn_asr.events.quantization import quantize_folder

    folder = tmp_path_factory.mktemp("int8") / "small"
    quantize_folder(tone_run, folder)
    return folder


def test_sizes_are_printed_and_the_rest_is_silent(run, tone_run, tmp_path):
    code, out, errors = run("quantize", tone_run, tmp_path / "small")
    before, after = ((each / WEIGHTS).stat().st_size for each in (tone_run / "model", tmp_path / "small"))
    assert (code, errors) == (0, [])
    assert out == f"{WEIGHTS}: {before} bytes before, {after} after ({after / before:.0%})\n"


def test_four_bits_are_asked_for_by_name_and_every_command_takes_them(run, tone_run, tones, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("quantize", tone_run, "least", "--precision", "int4")[0] == 0
    assert (tmp_path / "least" / WEIGHTS).stat().st_size < 0.4 * (tone_run / "model" / WEIGHTS).stat().st_size
    audio = tones / "audio" / "test"
    path = audio / "test-03.wav"
    for words in (("decode", audio, "--engine", "event"), ("stream", path)):
        own, whole = run(words[0], "least", *words[1:]), run(words[0], tone_run, *words[1:], "--precision", "int4")
        assert own[0] == 0 and own[1] and own[:2] == whole[:2]
    assert run("decode", "least", audio)[0] == 0
    assert "engine event, int4" in run("profile", "least", path, "--engine", "event")[1]
    code, out, (line,) = run("stream", "least", path, "--precision", "int8")
    assert (code, out) == (2, "") and "its weights are int4 already" in line


def test_every_command_takes_the_folder(run, tone_run, small, tones):
    audio = tones / "audio" / "test"
    events = ["decode", audio, "--engine", "event"]
    assert run(events[0], small, *events[1:])[:2] == run(events[0], tone_run, *events[1:], "--precision", "int8")[:2]
    batch = run("decode", small, audio)
    assert batch[0] == 0 and batch[1] == run("decode", tone_run, audio)[1]
    path = audio / "test-03.wav"
    streamed = run("stream", small, path)
    assert streamed[0] == 0 and streamed[1]
    assert streamed[:2] == run("stream", tone_run, path, "--precision", "int8")[:2]
    assert "engine event, int8" in run("profile", small, path, "--engine", "event")[1]
    assert "engine event, float32" in run("profile", small, path, "--engine", "event", "--precision", "float32")[1]
    assert run("profile", small, path)[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("nowhere", "out"), 4, "nowhere: no finished model here"),
        (("{model}", "{model}"), 2, "has a model already"),
        (("{small}", "out"), 2, "its weights are int8 already"),
        (("{model}",), 2, "OUTPUT"),
        (("{model}", "int4"), 2, "give --precision int4, too"),
        (("{model}", "out", "--precision", "int3"), 2, "unknown precision 'int3'"),
    ],
)
def test_a_mistake_is_one_line_and_its_code(words, code, problem, run, tone_run, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, out, errors = run("quantize", *(each.format(model=tone_run, small=small) for each in words))
    assert (found, out, len(errors)) == (code, "", 1) and problem in errors[0]
    assert not (tmp_path / "out").exists()


def test_two_do_not_write_to_one_folder_at_a_time(run, tone_run, tmp_path):
    with only_writer(tmp_path / "out", "quantization"):
        code, out, (line,) = run("quantize", tone_run, tmp_path / "out")
        assert (code, out) == (2, "") and "another quantization is at work here" in line
        assert [each.name for each in (tmp_path / "out").iterdir()] == [".quantization.lock"]
    assert run("quantize", tone_run, tmp_path / "out")[0] == 0
