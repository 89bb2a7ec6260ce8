"""Trainings that are killed or told to end at random moments, and gone on with, end in the same bits as a whole one.

``make test-resume`` runs a hundred trials; ``make test`` ends trainings at chosen moments (test_run.py, and the faults
of training). A trial's signals and moments follow from its number. Each training is a process of its own, forked from
one that has imported what a training needs.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from faults.inject.kill_at import kill_at
from faults.world import digest, halves

from snn_asr.files import read_json_object

OPTIONS = ("epochs=3", "hidden_size=8", "batch_frames=1000", "cooldown_epochs=1", "dropout=0.1", "range=moving_average")
SIGNALS = {signal.SIGKILL: -9, signal.SIGTERM: 130, signal.SIGINT: 130}
CALLS = ("replace", "fsync", "unlink", "mkdir", "open")  # of the os module, before which a training may be ended
TRIALS = 100
MOST_ENDS = 3  # of one trial


def _train(words: list[str], errors: Path, kill: tuple[str, int, int] | None) -> None:
    """A training in this process, as the program runs it."""
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from snn_asr.cli import main as program

    if kill is not None:
        kill_at(*kill)
    sys.argv[1:] = words
    program.main()


class Trainings:
    """Starts trainings of one recipe on one folder of data."""

    def __init__(self, recipe: Path, data: Path) -> None:
        self.words = ["train", str(recipe), "--data-folder", str(data), "--device", "cpu", *OPTIONS]
        self.context = multiprocessing.get_context("forkserver")
        preloaded = ["snn_asr.training.run", "snn_asr.cli.train", "snn_asr.network.kernels.cpu"]
        self.context.set_forkserver_preload(preloaded)

    def start(self, folder: Path, kill: tuple[str, int, int] | None = None) -> BaseProcess:
        words = [*self.words, "--output-folder", str(folder)]
        process = self.context.Process(target=_train, args=(words, self.errors(folder), kill))
        process.start()
        return process

    def errors(self, folder: Path) -> Path:
        return folder.with_name(f"{folder.name}-errors.txt")

    def run(self, folder: Path) -> None:
        """A training to its end."""
        process = self.start(folder)
        process.join(300)
        assert process.exitcode == 0, self.errors(folder).read_text()

    def end_once(self, draw: random.Random, folder: Path, seconds: float) -> None:
        """Train until a signal ends it: after a random time, or just before a random call to the system."""
        kind = draw.choice(list(SIGNALS))
        if draw.random() < 0.5:
            process = self.start(folder, (draw.choice(CALLS), draw.randrange(1, 25), int(kind)))
        else:
            process = self.start(folder)
            process.join(draw.uniform(0.1, 1.0) * seconds)
            if process.exitcode is None and process.pid is not None:
                os.kill(process.pid, kind)
        process.join(300)
        said = self.errors(folder).read_text() if self.errors(folder).exists() else ""
        assert process.exitcode in (0, SIGNALS[kind], -int(kind)), said  # by the signal itself before Python listens
        assert "unexpected error" not in said, said


@pytest.fixture(scope="session")
def trainings(tones: Path, tone_recipe: Path) -> Trainings:
    return Trainings(tone_recipe, tones)


@pytest.fixture(scope="session")
def whole(trainings: Trainings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The run that nothing ends, and the seconds that it takes when kernels and frames are on the disk."""
    folder = tmp_path_factory.mktemp("whole")
    for name in ("first", "run"):
        started = time.monotonic()
        trainings.run(folder / name)
    return folder / "run", time.monotonic() - started


@pytest.mark.slow
@pytest.mark.parametrize("number", range(TRIALS))
def test_a_training_that_is_ended_and_gone_on_with_is_the_whole_one(
    number: int, trainings: Trainings, whole: tuple[Path, float], tmp_path: Path
) -> None:
    run, seconds = whole
    draw, folder = random.Random(number), tmp_path / "run"
    for _ in range(draw.randint(1, MOST_ENDS)):
        trainings.end_once(draw, folder, seconds)
    trainings.run(folder)
    expected, found = digest(run), digest(folder)
    for name in ("model/weights.safetensors", "model/normalization.json", "model/config.json", "test.json", "run.json"):
        assert found[name] == expected[name], f"{name} differs"
    assert expected.keys() == found.keys() and not halves(folder)
    metrics, wanted = (read_json_object(each / "model" / "metrics.json") for each in (folder, run))
    assert {**metrics, "training_seconds": 0} == {**wanted, "training_seconds": 0}
    assert len((folder / "log.jsonl").read_text().splitlines()) == 3
