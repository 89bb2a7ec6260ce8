"""Gradual pruning: its schedule, what is kept, blocks, copies, and the masks of a resumed run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_asr import load_model
from snn_asr.errors import UsageError
from snn_asr.files import read_json
from snn_asr.network import encoders
from snn_asr.training.loop.best_epoch import BestEpoch
from snn_asr.training.loop.brain import RecognizerBrain
from snn_asr.training.loop.pruning import REFRESH_STEPS, GradualPruning, keep_largest, matrices
from snn_asr.training.recipes.keys import TrainingConfig
from snn_asr.training.run import train


def test_the_share_is_cubic_and_ends_at_the_target():
    pruning = GradualPruning(encoders.build("gru", 3, 4, 1), 0.8, first=100, last=200)
    assert [pruning.share(step) for step in (1, 100, 200, 999)] == pytest.approx([0, 0, 0.8, 0.8])
    assert pruning.share(150) == pytest.approx(0.8 * (1 - 0.5**3))
    assert not pruning.complete(199) and pruning.complete(200)


@given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 8), st.floats(0, 1))
def test_whole_blocks_are_pruned_and_no_larger_one_before_a_smaller(rows, columns, block, share):
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows * 100 + columns))
    mask = keep_largest(weight, share, block)
    assert mask.shape == weight.shape and set(mask.unique().tolist()) <= {0.0, 1.0}
    blocks = [(part, column) for part in weight.split(block) for column in range(columns)]
    kept = [part[:, column].unique().item() for part in mask.split(block) for column in range(columns)]
    sizes = [float(part[:, column].abs().mean()) for part, column in blocks]
    assert kept.count(0.0) == round(share * len(blocks))
    alive = [size for size, one in zip(sizes, kept, strict=True) if one]
    dead = [size for size, one in zip(sizes, kept, strict=True) if not one]
    assert not alive or not dead or min(alive) >= max(dead)


@pytest.mark.parametrize("name", encoders.ENCODERS)
def test_every_encoder_is_pruned_to_the_share_in_each_of_its_matrices(name):
    torch.manual_seed(0)
    encoder = encoders.build(name, 12, 16, 2)
    pruning = GradualPruning(encoder, 0.75, first=1, last=2)
    pruning.apply(2)
    assert len(matrices(encoder)) == sum(len(layer.core_weights()) for layer in encoder.layers)
    for weight in matrices(encoder).values():
        assert float((weight == 0).float().mean()) == pytest.approx(0.75, abs=0.01)


def test_copies_are_masked_alike_and_masks_move_only_when_due():
    torch.manual_seed(0)
    encoder = encoders.build("improved_v2", 8, 8, 1)
    name, weight = next(iter(matrices(encoder).items()))
    average = {name: torch.ones_like(weight)}
    pruning = GradualPruning(encoder, 0.5, first=1, last=1000)
    pruning.apply(REFRESH_STEPS * 30, [average])
    masked = weight == 0
    assert masked.any() and torch.equal(average[name] == 0, masked)
    with torch.no_grad():
        weight.copy_(torch.randn_like(weight) * 0.01)
    pruning.apply(REFRESH_STEPS * 30 + 1, [average])
    assert torch.equal(weight == 0, masked)


def test_a_resumed_pruning_has_the_masks_of_one_that_went_on():
    torch.manual_seed(0)
    encoder = encoders.build("lif", 8, 8, 2)
    pruning = GradualPruning(encoder, 0.5, first=1, last=1000)
    pruning.apply(REFRESH_STEPS)
    resumed = GradualPruning(encoder, 0.5, first=1, last=1000)
    resumed.load_state_dict(pruning.state_dict())
    with torch.no_grad():
        for weight in matrices(encoder).values():
            weight.normal_()
    before = {key: each.clone() for key, each in matrices(encoder).items()}
    pruning.apply(REFRESH_STEPS + 1)
    wanted = {key: each.clone() for key, each in matrices(encoder).items()}
    with torch.no_grad():
        for key, weight in matrices(encoder).items():
            weight.copy_(before[key])
    resumed.apply(REFRESH_STEPS + 1)
    assert all(torch.equal(each, wanted[key]) for key, each in matrices(encoder).items())


@pytest.mark.parametrize(("options", "best", "last"), [
    ({"patience": 3}, [2], 5), ({"patience": 3}, [2, 4], 7), ({}, [2], 20), ({"patience": 30}, [2], 20),
    ({"patience": 3, "pruning": 0.5, "pruning_epochs": (0, 10)}, [2], 13),
    ({"patience": 3, "pruning": 0.5, "pruning_epochs": (0.1, 0.5)}, [2, 12], 15),
])
def test_patience_counts_from_the_best_epoch_or_from_the_end_of_pruning(options, best, last):
    training = SimpleNamespace(training=TrainingConfig(epochs=20, **options))
    brain = SimpleNamespace(config=training, epoch=0, best=BestEpoch())
    for epoch in RecognizerBrain.epochs(brain):
        brain.epoch = epoch
        brain.best = BestEpoch(epoch) if epoch in best else brain.best
    assert brain.epoch == last


def test_nothing_is_pruned_where_nothing_is_asked_for():
    encoder = encoders.build("gru", 3, 4, 1)
    before = {key: each.clone() for key, each in matrices(encoder).items()}
    pruning = GradualPruning(encoder, 0.0, first=1, last=2)
    pruning.apply(5)
    assert pruning.complete(1) and all(torch.equal(each, before[key]) for key, each in matrices(encoder).items())


@pytest.mark.thorough
def test_a_pruned_training_keeps_a_pruned_network_and_resumes_alike(tone_recipe, tones, tmp_path):
    options = {"epochs": 4, "pruning": 0.75, "pruning_epochs": [1, 3], "hidden_size": 16}
    whole = train(tone_recipe, tones, tmp_path / "whole", device="cpu", overrides=options)
    weights = load_model(whole).model.state_dict()
    for name, weight in weights.items():
        if name.endswith(("input_weight", "recurrent_weight")):
            assert float((weight == 0).float().mean()) == pytest.approx(0.75, abs=0.01), name
    assert read_json(whole / "model" / "config.json")["format"] == 3  # its zeros are not written
    assert read_json(whole / "model" / "metrics.json")["best_epoch"] >= 3
    with pytest.raises(UsageError, match="pruning_epochs"):
        train(tone_recipe, tones, tmp_path / "wrong", device="cpu", overrides={**options, "pruning_epochs": [1, 9]})
