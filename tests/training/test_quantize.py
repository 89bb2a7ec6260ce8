"""Trainings that go on with a trained model, in float32 or with weights rounded to int8 and int4."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from compared import compare_runs
from marks import graded
from short_runs import BATCHES, SHORT, assert_same_run, finished_epochs, interrupt_at, write_smallest_recipe

from snn_asr import load_model
from snn_asr.errors import DataError, InterruptedRun, UsageError
from snn_asr.events.quantization import quantize_folder
from snn_asr.files import read_json
from snn_asr.network.encoders import ENCODERS
from snn_asr.network.integers import Grid
from snn_asr.training.run import train

OPTIONS = {**SHORT, "epochs": 3, "average_decay": 0.5, "pruning": 0.5, "pruning_epochs": [0, 1]}
GOING_ON = {**SHORT, "epochs": 2, "average_decay": 0.5, "learning_rate": 0.001}
EVERY = graded(product(sorted(ENCODERS), ("int8", "int4")), fast=[("improved_v2", "int4")], thorough=[("gru", "int8")])


def trained(recipe: Path, data: Path, folder: Path, **options: Any) -> Path:
    return train(recipe, data, folder, device="cpu", overrides=options)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    return write_smallest_recipe(tmp_path_factory.mktemp("recipes"))


@pytest.fixture(scope="module")
def pruned_run(tone_recipe, tones, tmp_path_factory) -> Path:
    return trained(tone_recipe, tones, tmp_path_factory.mktemp("pruned") / "run", **OPTIONS)


def zeros(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    names = ("input_weight", "recurrent_weight")
    return {name: each == 0 for name, each in model.state_dict().items() if name.endswith(names)}


@pytest.mark.parametrize(("encoder", "kind"), EVERY)
def test_what_is_trained_is_what_the_folder_holds(encoder, kind, recipe, tones, tmp_path):
    first = trained(recipe, tones, tmp_path / "first", encoder=encoder, **OPTIONS)
    words = {**GOING_ON, "encoder": encoder, "initial_model": str(first), "quantize": kind}
    run = trained(recipe, tones, tmp_path / "run", **words)
    loaded, before = load_model(run).model, load_model(first).model
    assert loaded.precision == kind and loaded.settings.head_normalization == "none"
    for name, grid in loaded.grids.items():
        weight = loaded.state_dict()[name]
        assert torch.equal(grid.nearest(weight), weight) and grid.kind == ("int8" if name == "head.weight" else kind)
    state = loaded.state_dict()
    for name, zero in zeros(before).items():
        assert zero.float().mean() > 0.45 and not state[name][zero].any(), name  # what was pruned stays so
    recognizer = load_model(run)
    for name, each in read_json(run / "test.json").items():
        assert recognizer.transcribe(tones / "audio" / "test" / f"{name}.wav").text == each["hypothesis"]


@pytest.mark.thorough
def test_a_resumed_run_is_the_run_that_went_on(pruned_run, tone_recipe, tones, tmp_path, monkeypatch):
    words = {**GOING_ON, "epochs": 4, "initial_model": str(pruned_run), "quantize": "int4"}
    whole = trained(tone_recipe, tones, tmp_path / "whole", **words)
    with monkeypatch.context() as patch:
        interrupt_at(patch, "RecognizerBrain", "fit_batch", 2 * BATCHES + 2)  # the grids are older than that
        with pytest.raises(InterruptedRun):
            trained(tone_recipe, tones, tmp_path / "killed", **words)
    assert finished_epochs(tmp_path / "killed") == 2
    trained(tone_recipe, tones, tmp_path / "killed", **words)
    assert_same_run(tmp_path / "killed", whole)


@pytest.mark.thorough
def test_runs_that_go_on_with_one_seed_each_are_seeds_of_one_row(recipe, tones, tmp_path):
    runs = []
    for seed in (1, 2):
        first = trained(recipe, tones, tmp_path / f"first-{seed}", **SHORT, seed=seed)
        words = {**GOING_ON, "initial_model": str(first), "quantize": "int4", "seed": seed}
        runs.append(trained(recipe, tones, tmp_path / f"run-{seed}", **words))
    (row,) = compare_runs(runs)
    assert row.seeds == [1, 2]
    other = trained(recipe, tones, tmp_path / "other", **{**SHORT, "seed": 3, "epochs": 3})
    words = {**GOING_ON, "initial_model": str(other), "quantize": "int4", "seed": 3}
    assert len(compare_runs([*runs, trained(recipe, tones, tmp_path / "run-3", **words)])) == 2


@pytest.mark.thorough
def test_going_on_in_float32_changes_weights_and_prunes_further(pruned_run, tone_recipe, tones, tmp_path):
    words = {**GOING_ON, "initial_model": str(pruned_run), "pruning": 0.8, "pruning_epochs": [0, 1]}
    run = trained(tone_recipe, tones, tmp_path / "run", **words)
    before, after = load_model(pruned_run).model, load_model(run).model
    assert after.precision == "float32" and after.settings == before.settings
    for name, zero in zeros(before).items():
        left = after.state_dict()[name]
        assert not left[zero].any() and float((left == 0).float().mean()) == pytest.approx(0.8, abs=0.02)
        assert not torch.equal(left, before.state_dict()[name])


def statistics(run: Path) -> list[torch.Tensor]:
    return [each for name, each in load_model(run).model.state_dict().items() if "running_" in name]


@pytest.mark.parametrize(("epochs", "kept"), [(5, True), (0, False)])
def test_statistics_that_were_to_be_kept_are_kept_from_the_start(
    epochs, kept, pruned_run, tone_recipe, tones, tmp_path
):
    words = {**GOING_ON, "epochs": 1, "batch_norm_epochs": epochs, "initial_model": str(pruned_run)}
    run = trained(tone_recipe, tones, tmp_path / "run", **words)
    same = [torch.equal(*pair) for pair in zip(statistics(run), statistics(pruned_run), strict=True)]
    assert same and all(each == kept for each in same)


@pytest.mark.thorough
def test_it_helps_where_four_bits_hurt(tone_run, tone_recipe, tones, tmp_path):
    """The development loss after two epochs is below that of the rounded model that training began with."""
    words = {"epochs": 2, "learning_rate": 0.002, "warmup_epochs": 0.5, "cooldown_epochs": 1}
    run = trained(tone_recipe, tones, tmp_path / "run", initial_model=str(tone_run), quantize="int4", **words)
    quantize_folder(tone_run, tmp_path / "rounded", "int4")
    before, after = load_model(tmp_path / "rounded").model, load_model(run).model
    assert any(not torch.equal(each, after.state_dict()[name]) for name, each in before.state_dict().items())
    assert read_json(run / "model" / "metrics.json")["test"]["error_rate"] <= 20


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"quantize": "int4", "initial_model": ""}, UsageError, "give initial_model=RUN_FOLDER"),
        ({"quantize": "int3"}, UsageError, "quantize 'int3'.*int"),
        ({"hidden_size": 9}, UsageError, "is another network: hidden_size 8, not 9"),
        ({"bits": 5}, UsageError, "is another network: bits 6, not 5"),
        ({"encoder": "gru"}, UsageError, "is another network: .*encoder improved_v2, not gru"),
        ({"tokens": "characters"}, UsageError, "has other tokens"),
        ({"initial_model": "nowhere"}, DataError, "nowhere: no finished model here"),
        ({"bidirectional": True, "quantize": "int4"}, UsageError, "bidirectional False, not True"),
    ],
)
def test_what_cannot_be_is_one_line(options, error, said, pruned_run, tone_recipe, tones, tmp_path):
    words = {**GOING_ON, "initial_model": str(pruned_run), **options}
    with pytest.raises(error, match=said) as caught:
        trained(tone_recipe, tones, tmp_path / "run", **words)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_another_network_is_refused_before_features_are_computed(pruned_run, tone_recipe, tones, tmp_path, monkeypatch):
    def looked_at(*_: object) -> None:
        raise AssertionError("the data were looked at")

    monkeypatch.setattr("snn_asr.training.run.data_sets", looked_at)
    with pytest.raises(UsageError, match="is another network"):
        words = {**GOING_ON, "hidden_size": 9}
        trained(tone_recipe, tones, tmp_path / "run", **words, initial_model=str(pruned_run))


@pytest.mark.thorough
def test_a_network_without_an_engine_in_whole_numbers_is_refused(tone_recipe, tones, tmp_path):
    first = trained(tone_recipe, tones, tmp_path / "first", **{**GOING_ON, "epochs": 1, "bidirectional": True})
    words = {**GOING_ON, "bidirectional": True, "initial_model": str(first), "quantize": "int8"}
    with pytest.raises(UsageError, match="a bidirectional encoder needs whole utterances"):
        trained(tone_recipe, tones, tmp_path / "run", **words)


@pytest.mark.thorough
def test_another_model_in_its_place_is_another_run_and_a_quantised_one_is_no_beginning(
    pruned_run, tone_recipe, tones, tmp_path
):
    first = trained(tone_recipe, tones, tmp_path / "first", **{**OPTIONS, "epochs": 1, "pruning": 0.0})
    words = {**GOING_ON, "epochs": 1}
    trained(tone_recipe, tones, tmp_path / "run", **words, initial_model=str(first))
    with pytest.raises(UsageError, match="initial_model .* → "):
        trained(tone_recipe, tones, tmp_path / "run", **words, initial_model=str(pruned_run))
    quantize_folder(first, tmp_path / "small")
    with pytest.raises(UsageError, match="its weights are int8; give the float32 model"):
        trained(tone_recipe, tones, tmp_path / "other", **words, initial_model=str(tmp_path / "small"))


def test_a_training_does_not_replace_the_model_that_it_begins_with(pruned_run, tone_recipe, tones):
    before = (pruned_run / "model" / "checksums.json").read_text()
    for path in (pruned_run, pruned_run / "model"):
        words = {**OPTIONS, **GOING_ON, "initial_model": str(path)}
        with pytest.raises(UsageError, match="lies in the folder of this training.*choose another --output-folder"):
            train(tone_recipe, tones, pruned_run, device="cpu", resume=False, overrides=words)
    assert (pruned_run / "model" / "checksums.json").read_text() == before


def test_a_grid_of_a_checkpoint_is_the_grid_that_it_was():
    from snn_asr.training.loop.rounded_weights import packed, unpacked

    grid = Grid.of(torch.randn(3, 5), "int4")
    again = unpacked(packed({"w": grid}))["w"]
    assert again.kind == "int4" and torch.equal(again.scales, grid.scales)
