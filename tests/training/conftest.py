"""Short trainings that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest
from short_runs import SHORT


@pytest.fixture
def short_train(tones, tone_recipe):
    """``train`` for four short epochs."""
    from snn_asr.training.run import train  # it loads SpeechBrain, which not all tests of this folder need

    def run(folder: Path, data: Path = tones, seed: int | None = None, resume: bool = True, **overrides) -> Path:
        overrides = SHORT | overrides
        return train(tone_recipe, data, folder, device="cpu", seed=seed, resume=resume, overrides=overrides)

    return run


@pytest.fixture(scope="session")
def whole_run(trained_once) -> Path:
    """A short run that nothing interrupted; tests must not change it."""
    return trained_once("runs/whole", **SHORT)
