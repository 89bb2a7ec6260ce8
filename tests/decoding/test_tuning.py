"""The grid over weight and bonus, and the commands around language models: lm, tune, decode --lm."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tones import WORDS_HZ

from snn_asr.data.manifest import Utterance, read_manifest
from snn_asr.data.tokens import WordTokens
from snn_asr.decoding import tuning
from snn_asr.decoding.beam import BeamSettings
from snn_asr.decoding.language_models.arpa import read_arpa, write_arpa
from snn_asr.decoding.language_models.ngram_estimation import estimate
from snn_asr.decoding.recognizer import Recognizer
from snn_asr.decoding.tuning import GridPoint, Tuning, tune
from snn_asr.errors import DataError, UsageError
from snn_asr.files import read_json


class Unsure:
    """A recogniser that hears "one" and something between "one" and "two", a little more like "one", every time."""

    tokens = WordTokens(["one", "two"])
    calls = 0

    def samples(self, path: Path) -> torch.Tensor:
        return torch.zeros(1)

    def log_posteriors(self, batch: list) -> list[np.ndarray]:
        self.calls += len(batch)
        frames = np.log(np.array([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.02, 0.6, 0.38]]))
        return [frames for _ in batch]


@pytest.fixture
def utterances() -> dict[str, Utterance]:
    texts = {"u1": "one two", "u2": "one two", "u3": "one two", "u4": "one one"}
    return {name: Utterance(name, Path(f"{name}.wav"), 1.0, "s", text) for name, text in texts.items()}


@pytest.fixture
def arpa(tmp_path) -> Path:
    write_arpa(tmp_path / "lm.arpa", estimate([["one", "two"]] * 5 + [["one"], ["two", "one"]], 2))
    return tmp_path / "lm.arpa"


def test_the_grid_finds_that_the_language_model_helps(utterances, arpa):
    recognizer = Unsure()
    found = tune(recognizer, utterances, arpa, 10, [0.0, 0.5, 1.0], [0.0, -50.0])
    rates = {(each.language_weight, each.insertion_bonus): each.error_rate for each in found.points}
    assert rates == {
        (0.0, 0.0): 37.5, (0.5, 0.0): 12.5, (1.0, 0.0): 12.5, (0.0, -50.0): 100.0, (0.5, -50.0): 100.0,
        (1.0, -50.0): 100.0,
    }
    assert found.greedy == 37.5 and found.best == GridPoint(0.5, 0.0, 12.5)
    assert (found.unit, found.utterances) == ("word", 4)
    assert recognizer.calls == 4  # the network ran once an utterance


def test_recordings_that_fail_are_left_out_and_named(utterances, arpa):
    class Unlucky(Unsure):
        def samples(self, path: Path) -> torch.Tensor:
            if path.name == "u4.wav":
                raise DataError("damaged", path)
            return super().samples(path)

        def log_posteriors(self, batch: list) -> list[np.ndarray]:
            if any(name == "u2" for name, _ in batch):
                raise MemoryError
            return super().log_posteriors(batch)

    found = tune(Unlucky(), utterances, arpa, 10, [0.5], [0.0])
    assert {name: str(error).partition(":")[0] for name, error in found.failed.items()} == {
        "u2": "u2.wav", "u4": "u4.wav"
    }
    assert (found.utterances, found.best.error_rate, found.greedy) == (2, 0.0, 50.0)
    with pytest.raises(DataError, match="u4.wav: damaged"):
        tune(Unlucky(), {"u4": utterances["u4"]}, arpa)


def test_in_ties_the_smaller_weight_and_bonus_win_and_edges_are_told():
    points = [GridPoint(weight, bonus, 10.0) for weight in (1.0, 0.0, 2.0) for bonus in (2.0, -1.0, 0.0)]
    result = Tuning("word", 5, 20.0, (*points,))
    assert result.best == GridPoint(0.0, 0.0, 10.0) and result.at_an_edge == ()
    result = Tuning("word", 5, 20.0, (*points, GridPoint(2.0, 2.0, 9.0)))
    assert result.at_an_edge == ("weight", "bonus")


def test_what_cannot_be_tuned(utterances, arpa):
    with pytest.raises(UsageError, match="grid is empty"):
        tune(Unsure(), utterances, arpa, 10, [], [0.0])
    silent = {"u": Utterance("u", Path("u.wav"), 1.0, "s", "")}
    with pytest.raises(DataError, match="no utterance has a transcript"):
        tune(Unsure(), silent, arpa)


def test_a_model_that_classifies_has_no_beam():
    recognizer = SimpleNamespace(model=SimpleNamespace(settings=SimpleNamespace(task="classification")))
    recognizer.require_transcription = partial(Recognizer.require_transcription, recognizer)
    with pytest.raises(UsageError, match="this model classifies"):
        Recognizer.use_beam(recognizer, BeamSettings())


def test_lm_reads_the_training_transcripts_alone(run, tones, tone_recipe, tmp_path):
    sentences = [each.text.split() for each in read_manifest(tones / "train.json").values()]
    expected = estimate(sentences, 2)
    text = tmp_path / "text.txt"
    text.write_text("\n".join(" ".join(each) for each in sentences if each) + "\n\n", encoding="utf-8")
    sources = [(tones,), (tones / "train.json",), (tone_recipe, "--data-folder", tones)]
    for source in sources:
        code, out, errors = run("lm", *source, "--order", "2", "--output", tmp_path / "lm.arpa")
        assert (code, out) == (0, f"{tmp_path / 'lm.arpa'}\n")
        counts = f"{len(sentences)} sentences, {sum(map(len, sentences))} words"
        assert errors[-1].startswith(f"{counts}; n-grams: 6 of order 1, ")
        assert read_arpa(tmp_path / "lm.arpa").probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    assert run("lm", text, "--output", tmp_path / "lm.arpa")[0] == 0
    assert read_arpa(tmp_path / "lm.arpa").order == 3
    spoken = [each for each in sentences if each]
    expected = estimate(spoken, 3)  # a text has no empty sentences
    assert read_arpa(tmp_path / "lm.arpa").probabilities == pytest.approx(expected.probabilities, abs=1e-6)


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("lm", "nowhere.txt", "--output", "x"), 4, "nowhere.txt: no such file"),
        (("lm", "Tonez", "--output", "x"), 2, "unknown recipe 'Tonez'"),
        (("lm", "FSDD", "--output", "x"), 2, "--data-folder: a recipe needs its data"),
        (("lm", "{data}", "--output", "x", "--unit", "tokens"), 2, "did you mean 'token'?"),
        (("lm", "{data}", "--output", "x", "--unit", "token"), 2, "give --model"),
        (("lm", "{data}", "--output", "x", "--order", "9"), 2, "--order: order 9"),
        (("tune", "nowhere", "--data-folder", "{data}", "--lm", "x"), 4, "nowhere: no finished model"),
        (("tune", "nowhere", "--data-folder", "{data}", "--lm", "x", "--weights", "1;2"), 2, "--weights: '1;2'"),
        (("decode", "nowhere", "x.wav", "--lm-weight", "1"), 2, "--lm-weight: there is no language model"),
        (("decode", "nowhere", "x.wav", "--closed-vocabulary"), 2, "--closed-vocabulary: there is no language model"),
        (("decode", "nowhere", "x.wav", "--lm-unit", "word"), 2, "--lm-unit: there is no language model"),
        (("decode", "nowhere", "x.wav", "--nbest", "3"), 2, "--nbest: the best text alone"),
        (("decode", "nowhere", "x.wav", "--beam", "0"), 2, "--beam"),
    ],
)
def test_a_mistake_is_one_line_and_its_code(words, code, problem, run, tones, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    got, out, errors = run(*(word.format(data=tones) for word in words))
    assert (got, out) == (code, "")
    assert errors[-1].startswith("snn-asr: ") and problem in errors[-1]
    assert len(errors) == 1 and not (tmp_path / "x").exists()


def test_tune_prints_a_table_and_the_options_for_decode(run, tones, arpa, monkeypatch):
    from snn_asr.decoding import recognizer

    monkeypatch.setattr(recognizer, "Recognizer", lambda *_: Unsure())
    utterances = {"u": Utterance("u", Path("u.wav"), 1.0, "s", "one two")}
    monkeypatch.setattr(tuning, "log_posteriors", lambda asked, _: ({"u": asked.log_posteriors(["u"])[0]}, {}))
    read = lambda path, **_: utterances if path.name == "dev.json" else {}  # noqa: E731
    monkeypatch.setattr("snn_asr.data.manifest.read_manifest", read)
    words = ["tune", "run", "--data-folder", tones, "--lm", arpa, "--weights", "0,0.5", "--bonuses", "0"]
    code, out, errors = run(*words)
    assert code == 0 and out.splitlines()[-1] == f"--beam 10 --lm {arpa} --lm-weight 0.5 --insertion-bonus 0"
    assert out.startswith("word error % of 1 development utterances: best 0.00, greedy 50.00\n")
    assert re.search(r"weight .* bonus 0\b.*\n.*\n.* 0 .* 50\.00 .*\n.* 0\.5 .* \*0\.00 ", out)
    assert errors[-1] == "the best weight is at the end of the grid: try values beyond it too"
    code, out, _ = run(*words, "--json")
    assert (code, json.loads(out)["best"]) == (0, {"language_weight": 0.5, "insertion_bonus": 0.0, "error_rate": 0.0})


def test_decode_with_a_beam_and_a_language_model(run, tone_run, tones, tmp_path):
    """The n-best list in json; another option decodes again, the same one does not; tune's own words are understood."""
    assert run("lm", tones, "--unit", "token", "--model", tone_run, "--output", tmp_path / "lm.arpa")[0] == 0
    code, out, _ = run("tune", tone_run, "--data-folder", tones, "--lm", tmp_path / "lm.arpa", "--weights", "0.5,1")
    flags = out.splitlines()[-1].split()
    assert code == 0 and flags[0] == "--beam"
    words = ["decode", tone_run, tones / "audio" / "test", "--output-folder", tmp_path / "out", "--format", "json"]
    assert run(*words)[2][-1].startswith("6 transcribed, 0 failed")
    assert "nbest" not in read_json(tmp_path / "out" / "test-03.json")
    assert run(*words, *flags, "--nbest", 3)[2][-1].startswith("6 transcribed, 0 failed")
    assert run(*words, *flags, "--nbest", 3)[2][-1].startswith("0 transcribed, 6 already done")
    result = read_json(tmp_path / "out" / "test-03.json")
    scores = [each["score"] for each in result["nbest"]]
    assert result["text"] == result["nbest"][0]["text"] and len(scores) == 3 and scores == sorted(scores, reverse=True)
    assert len({each["text"] for each in result["nbest"]}) == 3
    assert [each["label"] for each in result["tokens"]] == result["text"].split() and set(WORDS_HZ) & set(
        result["text"].split()
    )
    assert run(*words, *flags[:-1], "7")[2][-1].startswith("6 transcribed, 0 failed")
    write_arpa(tmp_path / "few.arpa", estimate([[word] for word in list(WORDS_HZ)[:2]], 1))
    few = "--lm", tmp_path / "few.arpa"
    code, out, _ = run("tune", tone_run, "--data-folder", tones, *few, "--closed-vocabulary", "--weights", "1")
    flags = out.splitlines()[-1].split()
    assert code == 0 and "--closed-vocabulary" in flags
    assert run(*words, *flags, "--nbest", 3)[2][-1].startswith("6 transcribed, 0 failed")
    texts = [read_json(path)["text"] for path in (tmp_path / "out").glob("test-*.json")]
    assert len(texts) == 6 and set(" ".join(texts).split()) == set(list(WORDS_HZ)[:2])
    code, out, errors = run("decode", tone_run, tones / "audio" / "test", "--lm", tmp_path / "absent.arpa")
    assert (code, out) == (4, "") and "absent.arpa: no such file" in errors[-1]
