"""What cannot work is refused before it costs time, and never touches what a run folder already holds."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import torch
from marks import graded
from short_runs import content

from snn_asr.data.audio import write_audio
from snn_asr.errors import DataError, UsageError
from snn_asr.files import read_json, write_json


def test_other_options_do_not_go_into_the_folder_of_a_run(short_train, whole_run, tones, tmp_path):
    folder = shutil.copytree(whole_run, tmp_path / "run")
    other_data = shutil.copytree(tones, tmp_path / "data")
    manifest = read_json(other_data / "train.json")
    manifest.pop("train-00")
    write_json(other_data / "train.json", manifest)
    before = content(folder)
    others = {
        "seed 1 → 2": {"seed": 2}, "dropout 0.1 → 0.25, hidden_size 8 → 9": {"hidden_size": 9, "dropout": 0.25},
        "encoder improved_v2 → gru": {"encoder": "gru"}, "the content of train.json": {"data": other_data},
    }
    for difference, options in others.items():
        with pytest.raises(UsageError, match="holds another run: ") as caught:
            short_train(folder, **options)
        assert str(folder) in str(caught.value) and "--no-resume" in str(caught.value)
        assert difference in str(caught.value)
    write_json(folder / "run.json", {"encoder": "improved_v2", "overrides": {}, "identity": "0"})
    with pytest.raises(UsageError, match="holds another run of an earlier snn-asr"):
        short_train(folder)
    shutil.copy(whole_run / "run.json", folder)
    assert [path for path, (_, each) in content(folder).items() if each != before[path][1]] == []


def test_a_refused_option_leaves_the_finished_run_that_was_to_be_replaced(short_train, whole_run, tmp_path):
    folder = shutil.copytree(whole_run, tmp_path / "run")
    before = content(folder)
    with pytest.raises(UsageError, match="accumulation=50"):
        short_train(folder, resume=False, accumulation=50)
    assert content(folder) == before


def changed_data(tones: Path, folder: Path, split: str, **values) -> Path:
    """A copy of the manifests in which the first utterance of a split is changed; the audio stays where it is."""
    for each in ("train", "dev", "test"):
        manifest = read_json(tones / f"{each}.json")
        for entry in manifest.values():
            entry["wav"] = str(tones / entry["wav"])
        if each == split:
            next(iter(manifest.values())).update(values)
        write_json(folder / f"{each}.json", manifest)
    return folder


def test_targets_longer_than_their_frames_are_listed_before_training(short_train, tones, tmp_path):
    data = changed_data(tones, tmp_path / "data", "train", text="low " * 40)
    with pytest.raises(DataError, match=r"train\.json: 1 targets are longer than their frames: train-00 \(79 frames"):
        short_train(tmp_path / "run", data)
    assert not (tmp_path / "run" / "log.jsonl").exists()
    repaired = changed_data(tones, tmp_path / "data", "train", text="high")
    short_train(tmp_path / "run", repaired, epochs=1)  # nothing was trained: the folder is still free


def test_what_cannot_be_scored_or_is_in_two_splits_is_refused_before_training(short_train, tones, tmp_path):
    data = tmp_path / "data"
    changed_data(tones, data, "none")
    silent = {name: {**entry, "text": ""} for name, entry in read_json(data / "test.json").items()}
    write_json(data / "test.json", silent)
    with pytest.raises(DataError, match=r"test\.json: no utterance has a transcript"):
        short_train(tmp_path / "run", data)
    write_json(data / "test.json", read_json(data / "dev.json"))
    with pytest.raises(DataError, match="dev and test"):
        short_train(tmp_path / "run", data)
    with pytest.raises(DataError, match="nowhere: no such folder; check --data-folder"):
        short_train(tmp_path / "run", tmp_path / "nowhere")


@pytest.mark.parametrize("split", graded(["dev", "test"], fast=["test"]))
def test_utterances_too_short_for_a_frame_may_be_decoded_and_scored(split, short_train, tones, tmp_path):
    write_audio(tmp_path / "short.wav", torch.zeros(150), 8000)
    values = {"wav": str(tmp_path / "short.wav"), "duration": 150 / 8000, "text": "low"}
    data = changed_data(tones, tmp_path / "data", split, **values)
    run = short_train(tmp_path / "run", data, epochs=1, batch_frames=1)  # in a batch of its own
    assert split == "dev" or read_json(run / "test.json")["test-00"]["hypothesis"] == ""


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"epochs": 0}, "epochs: 0; must be a whole number from 1"),
        ({"epochs": "many"}, "epochs: 'many'"),
        ({"batch_frames": 2.5}, "batch_frames: 2.5"),
        ({"seed": -1}, "seed: -1; must be a whole number from 0"),
        ({"learning_rate": "fast"}, "learning_rate: 'fast'; must be a number"),
        ({"learning_rate": math.nan}, "learning_rate: nan"),
        ({"max_grad_norm": None}, "max_grad_norm: None"),
        ({"speeds": []}, "speeds: .*; must be a list of numbers"),
        ({"speeds": [0.01]}, "speeds: .*; must be a list of numbers"),
        ({"hiden_size": 3}, "did you mean 'hidden_size'"),
        ({"encoder": "gro"}, "did you mean 'gru'"),
        ({"dropout": 1.5}, "dropout"),
        ({"bits": 1}, "bits"),
        ({"tokens": "wurds"}, "did you mean 'words'"),
        ({"schedule": "halfing"}, "did you mean 'halving'"),
        ({"average_decay": 1.0}, "average_decay: 1.0"),
        ({"length_curriculum": [[100]]}, r"length_curriculum: \[\[100\]\]; must be a list"),
        ({"batch_utterances": -1}, "batch_utterances: -1; must be a whole number from 0"),
        ({"batch_norm_epochs": -1}, "batch_norm_epochs: -1; must be a whole number from 0"),
        ({"frame_augmentations": ["noise"]}, "frame_augmentations: .*; must be a list of augmentations"),
        ({"task": "classify"}, "task 'classify'; did you mean 'classification'"),
        ({"learning_rat": 1}, "did you mean 'learning_rate'"),
    ],
)
def test_options_that_cannot_work_are_named(overrides, words, short_train, tmp_path):
    with pytest.raises(UsageError, match=words) as caught:
        short_train(tmp_path / "run", **overrides)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_classes_are_not_cut(short_train, tmp_path):
    options = {"task": "classification", "length_curriculum": [[10, 1]], "longer_utterances": "cut"}
    with pytest.raises(UsageError, match="longer_utterances=cut; a class has no first words"):
        short_train(tmp_path / "run", **options)
