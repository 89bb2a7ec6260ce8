"""One recipe trained with several encoders and seeds: which overrides each gets."""

from __future__ import annotations

import pytest

from snn_asr.errors import UsageError
from snn_asr.training import sweep as training
from snn_asr.training.sweep import train_encoders


def test_encoders_and_seeds_get_the_overrides_they_know(tone_recipe, tones, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        training, "train",
        lambda output_folder, **options: calls.append((output_folder.name, options)) or output_folder,
    )
    overrides = {"bits": 4, "epochs": 2}
    folders = train_encoders(tone_recipe, ["improved_v2", "gru"], 2, tones, tmp_path, "cpu", overrides)
    assert [each.name for each in folders] == [name for name, _ in calls]
    spiking = {"encoder": "improved_v2", "bits": 4, "epochs": 2}
    assert [(name, options["seed"], options["overrides"]) for name, options in calls] == [
        ("improved_v2-seed1", 1, spiking), ("improved_v2-seed2", 2, spiking),
        ("gru-seed1", 1, {"encoder": "gru", "epochs": 2}), ("gru-seed2", 2, {"encoder": "gru", "epochs": 2}),
    ]
    with pytest.raises(UsageError, match="did you mean 'bits'"):
        train_encoders(tone_recipe, ["improved_v2", "gru"], 1, tones, tmp_path, "cpu", {"bitz": 4})
    calls.clear()
    train_encoders(tone_recipe, ["improved_v2", "gru"], 1, tones, tmp_path, "cpu", {"gru.epochs": 3, "epochs": 2})
    assert [options["overrides"]["epochs"] for _, options in calls] == [2, 3]
    with pytest.raises(UsageError, match="did you mean 'gru'"):
        train_encoders(tone_recipe, ["improved_v2", "gru"], 1, tones, tmp_path, "cpu", {"gro.epochs": 3})
    calls.clear()
    grid = {"bits": [4, 6], "gru.epochs": [3, 4], "hidden_size": [8, 12]}
    train_encoders(tone_recipe, ["improved_v2", "gru"], 1, tones, tmp_path, "cpu", {"epochs": 2}, grid=grid)
    assert [name for name, _ in calls] == [
        *(f"improved_v2-bits={bits}-hidden_size={size}-seed1" for bits in (4, 6) for size in (8, 12)),
        *(f"gru-epochs={epochs}-hidden_size={size}-seed1" for epochs in (3, 4) for size in (8, 12)),
    ]
    assert calls[3][1]["overrides"] == {"encoder": "improved_v2", "epochs": 2, "bits": 6, "hidden_size": 12}
    assert calls[4][1]["overrides"] == {"encoder": "gru", "epochs": 3, "hidden_size": 8}
    with pytest.raises(UsageError, match="'bits' is given twice"):
        train_encoders(tone_recipe, ["gru"], 1, tones, tmp_path, "cpu", {"bits": 2}, grid={"bits": [4]})
    with pytest.raises(UsageError, match="did you mean 'bits'"):
        train_encoders(tone_recipe, ["improved_v2"], 1, tones, tmp_path, "cpu", {}, grid={"bitz": [4]})


@pytest.mark.parametrize(
    ("grid", "seeds", "words"),
    [
        ({"dropout": [0, 0.0]}, 1, "gru-dropout=0 and gru-dropout=0.0 are the same training"),
        ({"feature_cache": ["none", "auto"]}, 1, "are the same training"),
        ({"initial_model": ["a/b", "a_b"]}, 1, "two values would be trained in one folder, gru-initial_model=a_b"),
        ({"seed": [1, 2]}, 2, "--grid seed: the seeds to train with are counted by --seeds, too"),
    ],
)
def test_runs_that_the_table_could_not_tell_apart_are_refused_before_one_is_trained(
    grid, seeds, words, tone_recipe, tones, tmp_path, monkeypatch
):
    monkeypatch.setattr("snn_asr.training.sweep.run_jobs", lambda *arguments: pytest.fail("trained"))
    with pytest.raises(UsageError, match=words):
        train_encoders(tone_recipe, ["gru"], seeds, tones, tmp_path, "cpu", {}, grid=grid)
