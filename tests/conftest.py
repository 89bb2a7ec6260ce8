"""Fixtures shared by all tests."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from pathlib import Path

import pytest
import torch
from tones import write_corpus, write_recipe


def pytest_configure() -> None:
    """One thread, as in 'make test': networks this small only lose time to more, the more so beside other work."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


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
    """A folder of manifests and audio: 24 + 6 + 6 utterances of no to three words, each word a tone."""
    folder = tmp_path_factory.mktemp("tones")
    write_corpus(folder)
    return folder


@pytest.fixture(scope="session")
def tone_recipe(tmp_path_factory) -> Path:
    """A recipe that learns the tones in some seconds."""
    return write_recipe(tmp_path_factory.mktemp("recipes"))


@pytest.fixture(scope="session")
def tone_run(tones: Path, tone_recipe: Path, tmp_path_factory) -> Path:
    """The run folder of improved_v2 trained on the tones."""
    from snn_asr.training.run import train

    return train(tone_recipe, tones, tmp_path_factory.mktemp("runs") / "spiking", device="cpu")


@pytest.fixture(scope="session")
def gru_run(tones: Path, tone_recipe: Path, tmp_path_factory) -> Path:
    """The run folder of its GRU twin, trained for two epochs only."""
    from snn_asr.training.run import train

    overrides = {"encoder": "gru", "epochs": 2}
    return train(tone_recipe, tones, tmp_path_factory.mktemp("runs") / "gru", device="cpu", overrides=overrides)


@pytest.fixture(scope="session")
def recognizer(tone_run: Path):
    """The trained model; tests must not change it."""
    from snn_asr import load_model

    return load_model(tone_run)
