"""Training options hold for every encoder, alone and together: the table of options and encoders, on the tones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from marks import graded
from short_runs import write_smallest_recipe

from snn_asr import load_model
from snn_asr.errors import InterruptedRun
from snn_asr.network.encoders import ENCODERS
from snn_asr.training.loop.brain import RecognizerBrain
from snn_asr.training.run import train
from snn_asr.training.run_folder.folder import RunFolder

EVERY = graded(ENCODERS, fast=["improved_v2"], thorough=["spiking_lstm", "gru"])  # one encoder of each kind
TOGETHER = {
    "epochs": 5, "warmup_epochs": 1, "cooldown_epochs": 3, "length_curriculum": [[60, 2]], "accumulation": 2,
    "average_decay": 0.5, "batch_norm_epochs": 2, "head_epsilon": 1e-3, "pruning": 0.5, "pruning_epochs": [1, 4],
    "activity_penalty": 0.1, "speeds": [0.95, 1.05], "blank_bias": 1.0,
    "frame_augmentations": [{"frequency_warp": {"low": 0.9, "high": 1.1}}, {"stack_shift": {"frames": 2}}],
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    return write_smallest_recipe(tmp_path_factory.mktemp("recipes"))


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def statistics(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: each.clone() for name, each in state.items() if "running_" in name or "num_batches" in name}


@pytest.mark.parametrize("encoder", EVERY)
def test_all_together_and_resumed(encoder, recipe, tones, tmp_path, monkeypatch):
    kept: dict[int, dict[str, torch.Tensor]] = {}
    save = RunFolder.save

    def watched(self, state, log):
        kept[state["epoch"]] = statistics(state["model"])
        save(self, state, log)

    monkeypatch.setattr(RunFolder, "save", watched)
    options = {"encoder": encoder, **TOGETHER}
    whole = train(recipe, tones, tmp_path / "whole", device="cpu", overrides=options)
    log = rows(whole)
    rates, losses = [row["learning_rate"] for row in log], [row["dev_loss"] for row in log]
    assert max(rates) > 0 and rates[-1] == pytest.approx(0, abs=max(rates) / 100)  # it cools down all the way
    assert len(set(losses)) == len(losses)  # every epoch trains, those of the curriculum too
    assert kept[1] and any(not torch.equal(kept[2][name], kept[1][name]) for name in kept[1])
    assert all(torch.equal(kept[5][name], kept[2][name]) for name in kept[2])  # frozen after two epochs
    weights = load_model(whole).model.state_dict()
    matrices = [each for name, each in weights.items() if name.startswith("encoder.layers") and each.dim() == 2]
    assert all(float((each == 0).float().mean()) == pytest.approx(0.5, abs=0.02) for each in matrices)
    with monkeypatch.context() as patch:
        interrupt_in_epoch(patch, 4)
        with pytest.raises(InterruptedRun):
            train(recipe, tones, tmp_path / "killed", device="cpu", overrides=options)
    train(recipe, tones, tmp_path / "killed", device="cpu", overrides=options)
    again = load_model(tmp_path / "killed").model.state_dict()
    assert all(torch.equal(each, again[name]) for name, each in weights.items())


def interrupt_in_epoch(patch: pytest.MonkeyPatch, last: int) -> None:
    original = RecognizerBrain.on_stage_start

    def interrupted(self, stage, epoch=None):
        if epoch == last:
            raise KeyboardInterrupt
        original(self, stage, epoch)

    patch.setattr(RecognizerBrain, "on_stage_start", interrupted)


@pytest.mark.parametrize("encoder", EVERY)
@pytest.mark.parametrize(
    "options",
    [
        {"precision": "bf16", "bidirectional": True, "smoothing": 0.5, "learn_smoothing": True},
        {"precision": "fp64", "input_coding": "bernoulli", "schedule": "halving", "backend": "reference"},
        {"front_end": "subsample4", "stack": 4, "normalization": "utterance", "head_normalization": "output"},
    ],
    ids=lambda options: "-".join(options),
)
def test_options_beside_each_other(encoder, options, recipe, tones, tmp_path):
    run = train(recipe, tones, tmp_path, device="cpu", overrides={"encoder": encoder, "epochs": 2, **options})
    losses = [row["train_loss"] for row in rows(run)]
    assert losses[1] < losses[0] and (run / "test.json").is_file()


@pytest.mark.parametrize("encoder", graded(["improved_v2", "improved_v1"], fast=["improved_v2"], thorough=[]))
def test_with_the_preset_shift_nothing_is_multiplied(encoder, recipe, tones, tmp_path):
    run = train(recipe, tones, tmp_path, device="cpu", overrides={"encoder": encoder, "preset": "shift", "epochs": 2})
    counted = json.loads((run / "model" / "metrics.json").read_text())["test"]["operations"]
    assert counted["macs_per_second"] == counted["element_wise_per_second"] == 0 < counted["acs_per_second"]
    losses = [row["train_loss"] for row in rows(run)]
    assert losses[1] < losses[0]
