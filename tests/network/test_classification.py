"""Classification from recipe to table: one tone a clip, told by the last of a few segments."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from tones import RATE_HZ, WORDS_HZ, speak, write_recipe

import snn_asr
from snn_asr.cli import main as program
from snn_asr.data.audio import write_audio
from snn_asr.data.manifest import Utterance, write_manifest
from snn_asr.errors import DataError, InterruptedRun, UsageError
from snn_asr.files import read_json, write_json
from snn_asr.network.lengths import Lengths
from snn_asr.training import run
from snn_asr.training.loop.objectives import last_frame_cross_entropy
from snn_asr.training.run import train

SPLITS = {"train": 24, "dev": 9, "test": 9}
REPLACED = {
    "    stack: 3\n": "    stack: 1\n    segments: 4\n",
    "num_layers: 2\n": "num_layers: 1\ntask: classification\nmanifests: single_\n",
    "hidden_size: 32\n": "hidden_size: 12\n",
    "epochs: 26\npatience: 26\nbatch_frames: 120\n": "epochs: 4\npatience: 4\nbatch_frames: 16\n",
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Manifests single_*.json of one tone a clip, and connected ones that must not matter."""
    folder, draw = tmp_path_factory.mktemp("clips"), random.Random(3)
    for split, count in SPLITS.items():
        utterances = []
        for index in range(count):
            word = list(WORDS_HZ)[index % 3]
            samples = speak([word], seed=draw.randrange(10**6))
            path = folder / "audio" / split / f"{split}-{index:02}.wav"
            write_audio(path, samples, RATE_HZ)
            utterances.append(Utterance(path.stem, path, len(samples) / RATE_HZ, "tuning fork", word))
        write_manifest(folder / f"single_{split}.json", utterances)
        (folder / f"{split}.json").write_text("not read")
    return folder


@pytest.fixture(scope="module")
def classification_recipe(tmp_path_factory) -> Path:
    path = write_recipe(tmp_path_factory.mktemp("recipes"))
    text = path.read_text()
    for old, new in REPLACED.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def classifier(clips, classification_recipe, tmp_path_factory) -> Path:
    """The run folder of a trained improved_v2."""
    return train(classification_recipe, clips, tmp_path_factory.mktemp("runs") / "classifier", device="cpu")


def without_times(folder: Path) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.endswith("seconds")} for row in rows]


def test_classes_are_learnt_and_every_clip_gets_one_word(classifier, clips):
    metrics, decoded = read_json(classifier / "model" / "metrics.json"), read_json(classifier / "test.json")
    assert metrics["test"]["error_rate"] < 34  # a guess is wrong two times of three
    assert decoded.keys() == read_json(clips / "single_test.json").keys()
    assert all(each["hypothesis"] in WORDS_HZ for each in decoded.values())
    wrong = sum(each["hypothesis"] != each["reference"] for each in decoded.values())
    assert metrics["test"]["error_rate"] == pytest.approx(100 * wrong / 9)
    assert metrics["test"]["insertions"] == metrics["test"]["deletions"] == 0
    assert read_json(classifier / "model" / "config.json")["model"]["task"] == "classification"


@pytest.mark.thorough
def test_an_interrupted_classifier_goes_on_to_the_same_weights(
    classifier, clips, classification_recipe, tmp_path, monkeypatch
):
    stop, calls = run.RecognizerBrain.on_fit_batch_end, []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 14:  # in the third epoch of six batches
            raise KeyboardInterrupt
        return stop(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(run.RecognizerBrain, "on_fit_batch_end", interrupted)
        with pytest.raises(InterruptedRun, match="after 2 of 4 epochs"):
            train(classification_recipe, clips, tmp_path, device="cpu")
    train(classification_recipe, clips, tmp_path, device="cpu")
    weights = Path("model", "weights.safetensors")
    assert (tmp_path / weights).read_bytes() == (classifier / weights).read_bytes()
    assert without_times(tmp_path) == without_times(classifier)


def test_files_are_classified_as_in_the_test_alone_and_together(classifier, clips):
    recognizer = snn_asr.load_model(classifier)
    expected = {name: each["hypothesis"] for name, each in read_json(classifier / "test.json").items()}
    paths = sorted((clips / "audio" / "test").iterdir())
    alone = [recognizer.transcribe(path) for path in paths]
    assert {each.id: each.text for each in alone} == expected
    assert recognizer.transcribe_batch([(each.stem, recognizer.samples(each)) for each in paths]) == alone
    for each in alone:
        (token,) = each.tokens
        assert (token.label, token.start_seconds) == (each.text, 0)
        assert token.end_seconds == pytest.approx(each.duration_seconds)
        assert 1 / 3 < token.confidence <= 1  # the best of three


def test_silence_is_some_word_and_less_than_a_window_none(classifier):
    recognizer = snn_asr.load_model(classifier)
    silence, short, empty = (recognizer.transcribe(torch.zeros(samples)) for samples in (4000, 199, 0))
    assert silence.text in WORDS_HZ
    assert short.text == empty.text == "" and short.tokens == empty.tokens == ()


def test_the_commands_take_a_classifier(classifier, clips, classification_recipe, tmp_path, capsys):
    audio, rate = str(clips / "audio" / "test"), read_json(classifier / "model" / "metrics.json")["test"]["error_rate"]
    assert program.run(["decode", str(classifier), audio, "--output-folder", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    assert program.run(["score", str(clips / "single_test.json"), str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["error_rate"] == pytest.approx(rate)
    assert program.run(["profile", str(classifier), audio, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 4 * 9  # segments by clips
    arguments = ["compare", str(classification_recipe), "--encoders", "gru,lstm", "--data-folder", str(clips)]
    assert program.run([*arguments, "--output-folder", str(tmp_path / "runs"), "--json", "epochs=1"]) == 0
    assert [row["encoder"] for row in json.loads(capsys.readouterr().out)] == ["gru", "lstm"]


def test_what_is_not_one_word_is_refused_before_training(clips, classification_recipe, tmp_path):
    for split in SPLITS:
        manifest = read_json(clips / f"single_{split}.json")
        for entry in manifest.values():
            entry["wav"] = str(clips / entry["wav"])
        if split == "dev":
            manifest["dev-04"]["text"] = "low high"
        write_json(tmp_path / "data" / f"single_{split}.json", manifest)
    with pytest.raises(DataError, match=r"single_dev\.json: classification needs one token .*: dev-04 \(2 tokens\);"):
        train(classification_recipe, tmp_path / "data", tmp_path / "run", device="cpu")
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"task": "classify"}, "unknown task 'classify'; did you mean 'classification'"),
        ({"manifests": "../single_"}, r"manifests: '\.\./single_'; must be how"),
        ({"manifests": 3}, "manifests: 3; must be how"),
    ],
)
def test_a_wrong_task_or_prefix_is_named(overrides, words, clips, classification_recipe, tmp_path):
    with pytest.raises(UsageError, match=words):
        train(classification_recipe, clips, tmp_path / "run", device="cpu", overrides=overrides)


def test_the_objective_is_the_cross_entropy_of_the_words_at_the_last_frame():
    class Targets:
        targets = torch.tensor([[2], [1], [3]])

    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = last_frame_cross_entropy(logits, Lengths.of(torch.tensor([5, 2, 0]), logits), Targets)
    rows = logits.detach().softmax(dim=-1)
    words = [rows[0, 4, 2] / rows[0, 4, 1:].sum(), rows[1, 1, 1] / rows[1, 1, 1:].sum(), torch.tensor(1 / 3)]
    assert loss.item() == pytest.approx(-sum(each.log().item() for each in words) / 3, abs=1e-6)
    loss.backward()
    touched = logits.grad.abs().sum(dim=-1).nonzero().tolist()
    assert touched == [[0, 4], [1, 1]]  # neither padding nor an utterance without frames
    assert not logits.grad[..., 0].any()
