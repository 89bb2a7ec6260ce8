"""Models that come with the package: listed, described, and taken by name wherever a folder is."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from snn_asr import load_model
from snn_asr.network import model_folder, shipped_models

NAME = "an4-letters"


@pytest.fixture
def recording(tmp_path, monkeypatch):
    """Half a second of silence, in the working folder."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("silence.wav", np.zeros(8000, np.float32), 16000)
    return "silence.wav"


def test_models_are_listed_and_described(run):
    code, out, errors = run("models", "list")
    assert (code, errors) == (0, []) and f"{NAME}\t" in out
    assert all("\t" in line for line in out.splitlines())
    code, out, errors = run("models", "show", NAME)
    assert (code, errors) == (0, []) and "licence" in out and "commit" in out and "error" in out
    code, out, (line,) = run("models", "show", "an4-leters")
    assert (code, out) == (2, "") and "did you mean 'an4-letters'?" in line


def test_a_name_is_taken_where_a_folder_is(run, recording):
    words = {
        "decode": (NAME, recording), "stream": (NAME, recording), "profile": (NAME, recording),
        "export": (NAME, "--output-folder", "c"), "align": (NAME, recording, "transcript.txt"),
    }
    Path("transcript.txt").write_text("a\n")
    for command, rest in words.items():
        code, _, errors = run(command, *rest)
        assert code in (0, 3) and "no finished model" not in " ".join(errors), (command, errors)
    code, _, (line,) = run("quantize", NAME, NAME)
    assert code == 2 and "int4 already" in line


def test_a_folder_of_that_name_goes_first_and_nothing_is_guessed(run, recording, tone_run):
    code, _, (line,) = run("decode", "an4", recording)
    assert code == 4 and "an4: no finished model here" in line and NAME in line
    Path(NAME).mkdir()  # as of 'decode an4-letters talk.wav --output-folder an4-letters'
    code, _, (line,) = run("decode", NAME, recording)
    assert code == 4 and "work in another folder, or rename what is here" in line
    Path(NAME).rmdir()
    shutil.copytree(tone_run / "model", NAME)
    assert model_folder.find_model(NAME).resolve() == Path(NAME).resolve()
    assert load_model(NAME).fingerprint == load_model(tone_run).fingerprint


@pytest.mark.parametrize("name", shipped_models.discover())
def test_a_model_is_small_and_says_nothing_of_where_it_was_made(name):
    folder = shipped_models.discover()[name]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 200_000
    for path in folder.glob("*[!s].[jym]*"):
        assert "/work" not in path.read_text() and "/home" not in path.read_text()
    recognizer = load_model(name, "cpu")
    assert recognizer.model.precision == "int4"
    frames = np.zeros((3, recognizer.model.settings.features.stacked_size), np.float32)
    assert len(recognizer.network().run(frames, recognizer.network().initial_state())) == 3


@pytest.mark.slow
def test_the_card_of_an4_letters_tells_its_error(shared_data, tmp_path):
    """On the official test set, as distributed."""
    from snn_asr import corpora
    from snn_asr.data.manifest import read_manifest
    from snn_asr.scoring.error_rates import count_errors

    corpora.prepare("an4", shared_data / "an4", tmp_path)
    test = read_manifest(tmp_path / "test.json")
    recognizer = load_model(NAME, "cpu")
    recognizer.endpointing = None
    texts = {key: recognizer.transcribe(each.wav).text for key, each in test.items()}
    references = {key: each.text for key, each in test.items()}
    rate = count_errors(references, texts, "word", None).error_rate
    assert f"{rate:.1f} % of words" in shipped_models.card(NAME)
