"""Trainings of four short epochs, and what is compared of two of them."""

from __future__ import annotations

import json
from pathlib import Path

from snn_asr.files import read_json

# Everything random that a recipe may have.
BATCHES = 14  # of an epoch: utterances of many lengths, which SpeechBrain's sampler keeps apart
SHORT = {"epochs": 4, "hidden_size": 8, "dropout": 0.1, "batch_frames": 1000, "cooldown_epochs": 1}

SMALLEST = """\
# Options: a network as small as may be, with the encoder blocks of the package
corpus: demo
tokens: words
sample_rate: 8000
high_hz: 3800
mels: 10
hidden_size: 8
num_layers: 1
batch_frames: 1000
"""


def write_smallest_recipe(folder: Path) -> Path:
    """A recipe of the tones whose network is as small as may be, for every encoder of the package."""
    path = folder / "Options" / "train.yaml"
    path.parent.mkdir()
    path.write_text(SMALLEST)
    return path


def weights(folder: Path) -> bytes:
    return (folder / "model" / "weights.safetensors").read_bytes()


def log_of(folder: Path) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.endswith("seconds")} for row in rows]


def finished_epochs(folder: Path) -> int:
    """The number of epochs whose state is on the disk; a run that goes on from 0 repeats all of its training."""
    return len(log_of(folder)) if (folder / "checkpoint.pt").is_file() else 0


def assert_same_run(folder: Path, whole: Path) -> None:
    assert weights(folder) == weights(whole)
    assert log_of(folder) == log_of(whole)
    assert read_json(folder / "test.json") == read_json(whole / "test.json")
    metrics, wanted = (read_json(each / "model" / "metrics.json") for each in (folder, whole))
    of_the_run = {"training_seconds": 0, "run": ""}  # the identity is another where an option is that changes nothing
    assert metrics | of_the_run == wanted | of_the_run


def content(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def interrupt_at(monkeypatch, owner: str, method: str, call: int, error: type = KeyboardInterrupt) -> None:
    """Raise at the ``call``-th call of a method, instead of calling it."""
    from snn_asr.training.loop import brain  # it loads SpeechBrain

    original, calls = getattr(getattr(brain, owner), method), []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == call:
            raise error()
        return original(self, *arguments)

    monkeypatch.setattr(getattr(brain, owner), method, interrupted)
