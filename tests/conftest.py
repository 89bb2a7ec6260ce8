"""Fixtures shared by all tests."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from made_once import made_once

# One thread, as in 'make test': networks this small only lose time to more, the more so beside other work. torch reads
# it as it is imported, which the tests and fixtures do: pytest-xdist's controller imports this file and no torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says more of the machine, and of what else it does, than of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems() -> None:
    _tell_that_lazy_modules_have_no_file()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    _tell_that_lazy_modules_have_no_file()


_told_of = 0  # modules


def _tell_that_lazy_modules_have_no_file() -> None:
    """Hypothesis asks every loaded module for its file: SpeechBrain's lazy ones would import what is not installed."""
    global _told_of
    if "speechbrain" in sys.modules and len(sys.modules) != _told_of:
        from speechbrain.utils.importutils import LazyModule

        for module in list(sys.modules.values()):
            if isinstance(module, LazyModule):
                module.__file__ = None
        _told_of = len(sys.modules)


@pytest.fixture(scope="session")
def speechbrain():
    """For property tests that come to need it: it must be there before Hypothesis starts."""
    return importlib.import_module("speechbrain")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real speech: $SNN_ASR_DATA, or ``shared/data`` beside the checkout; skips where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SNN_ASR_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real speech at {folder} (set SNN_ASR_DATA)")
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command line as in a process of its own; returns exit code, stdout and the lines of stderr."""
    from snn_asr.cli import main as program

    def run_command(*words: object) -> tuple[int, str, list[str]]:
        monkeypatch.setattr(logging.getLogger(), "handlers", [])  # not pytest's, so that ours is made
        code = program.run([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines()

    return run_command


@pytest.fixture(scope="session")
def tones(tmp_path_factory) -> Path:
    """A folder of manifests and audio: 48 + 6 + 6 utterances of no to three words, each word a tone."""
    from tones import write_corpus

    return made_once(tmp_path_factory, "tones", write_corpus)


@pytest.fixture(scope="session")
def tone_recipe(tmp_path_factory) -> Path:
    """A recipe that learns the tones in some seconds."""
    from tones import write_recipe

    return made_once(tmp_path_factory, "recipes", write_recipe) / "Tones" / "train.yaml"


@pytest.fixture(scope="session")
def trained_once(tones: Path, tone_recipe: Path, tmp_path_factory):
    """``train`` on the tones, once for all workers; returns the run folder, which tests must not change."""

    def run(name: str, **overrides: object) -> Path:
        def make(folder: Path) -> None:
            from snn_asr.training.run import train  # it loads SpeechBrain, which takes seconds

            train(tone_recipe, tones, folder, device="cpu", overrides=overrides)

        return made_once(tmp_path_factory, name, make)

    return run


@pytest.fixture(scope="session")
def tone_run(trained_once) -> Path:
    """The run folder of improved_v2 trained on the tones, at a rate at which it settles on every processor."""
    return trained_once("runs/spiking", learning_rate=0.01)


@pytest.fixture(scope="session")
def gru_run(trained_once) -> Path:
    """The run folder of its GRU twin, trained for two epochs only."""
    return trained_once("runs/gru", encoder="gru", epochs=2)


@pytest.fixture(scope="session")
def recognizer(tone_run: Path):
    """The trained model; tests must not change it."""
    from snn_asr import load_model

    return load_model(tone_run)
