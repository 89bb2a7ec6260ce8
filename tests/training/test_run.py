"""Training runs on a corpus of tones: they learn, are repeatable, and go on where they were interrupted."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from marks import graded
from short_runs import (
    BATCHES,
    SHORT,
    assert_same_run,
    content,
    finished_epochs,
    interrupt_at,
    log_of,
    weights,
)

from snn_asr import corpora
from snn_asr.cli import main as program
from snn_asr.errors import DataError, DivergenceError, InterruptedRun, UsageError
from snn_asr.files import read_json
from snn_asr.network.model_folder import find_model
from snn_asr.training.loop.brain import RecognizerBrain
from snn_asr.training.run import train

LOG_KEYS = {
    "epoch", "train_loss", "dev_loss", "dev_error_rate", "learning_rate", "density", "ranges", "best_epoch", "seconds",
    "waiting_seconds",
}
PROGRAM = (sys.executable, "-c", "from snn_asr.cli.main import main; main()")


def test_a_model_learns_the_tones_and_is_scored_on_its_best_epoch(tone_run):
    metrics, rows = read_json(tone_run / "model" / "metrics.json"), log_of(tone_run)
    best = rows[metrics["best_epoch"] - 1]
    assert metrics["dev_error_rate"] == best["dev_error_rate"] == min(row["dev_error_rate"] for row in rows)
    assert metrics["dev_error_rate"] < 50
    assert metrics["test"]["error_rate"] < 50
    assert metrics["test"]["utterances"] == 6 and metrics["unit"] == "word"
    assert not list(tone_run.rglob(".*"))  # no temporary files stay behind


@pytest.mark.thorough
def test_processes_that_read_ahead_change_nothing(short_train, whole_run, tmp_path):
    assert_same_run(short_train(tmp_path / "ahead", loader_workers=2), whole_run)


def test_accumulated_batches_are_fewer_steps_of_the_same_schedule(short_train, whole_run, tmp_path):
    folder = short_train(tmp_path / "accumulated", accumulation=2)
    assert weights(folder) != weights(whole_run)
    rates, wanted = ([row["learning_rate"] for row in log_of(each)] for each in (folder, whole_run))
    assert rates == pytest.approx(wanted)


def test_a_backend_that_cannot_run_is_refused_before_data_is_read(tmp_path):
    with pytest.raises(UsageError, match="'triton' cannot run on cpu"):
        train("AN4", tmp_path / "absent", tmp_path / "run", device="cpu", overrides={"backend": "triton"})
    assert not (tmp_path / "run").exists()


def test_more_accumulation_than_batches_is_refused(short_train, tmp_path):
    with pytest.raises(UsageError, match="accumulation=50: an epoch has .* lower it"):
        short_train(tmp_path / "run", accumulation=50)


@pytest.mark.thorough
def test_mixed_precision_learns_much_the_same(short_train, whole_run, tmp_path):
    folder = short_train(tmp_path / "bf16", precision="bf16")
    assert read_json(folder / "model" / "metrics.json")["precision"] == "bf16"
    losses, wanted = ([row["train_loss"] for row in log_of(each)] for each in (folder, whole_run))
    assert losses != wanted
    assert losses[0] == pytest.approx(wanted[0], rel=0.1)  # rounding grows: later epochs are not close
    assert losses[-1] < losses[0] / 2 and wanted[-1] < wanted[0] / 2


def test_one_seed_gives_one_model(short_train, whole_run, tmp_path):
    assert_same_run(short_train(tmp_path / "again"), whole_run)
    assert weights(short_train(tmp_path / "other", seed=2)) != weights(whole_run)


def test_every_epoch_leaves_a_row_in_the_log(whole_run):
    rows = [json.loads(line) for line in (whole_run / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        assert row.keys() == LOG_KEYS
        assert len(row["density"]) == 2 and all(0 <= each <= 1 for each in row["density"])
        assert row["ranges"] == [1.0, 1.0]  # the recipe's coder has a fixed range
        assert 0 < row["train_loss"] < 100 and 0 < row["dev_loss"] < 100 and 1 <= row["best_epoch"] <= row["epoch"]
    assert rows[-1]["learning_rate"] == pytest.approx(0) and rows[1]["learning_rate"] == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("owner", "method", "call", "epochs"),
    graded(
        [
            ("RecognizerBrain", "on_fit_batch_end", 2 * BATCHES + 5, 2),  # in the midst of the third epoch
            ("RecognizerBrain", "on_fit_batch_end", 1, 0),  # before there is a checkpoint
            ("RecognizerBrain", "_save", 2, 1),  # the second epoch is done and nowhere on the disk
            ("BestEpoch", "restore", 1, 4),  # all epochs done, nothing decoded yet
        ],
        fast=[("RecognizerBrain", "on_fit_batch_end", 2 * BATCHES + 5, 2)],
    ),
)
def test_a_run_killed_and_resumed_is_the_uninterrupted_one(
    owner, method, call, epochs, short_train, whole_run, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        interrupt_at(patch, owner, method, call)
        with pytest.raises((InterruptedRun, KeyboardInterrupt)):
            short_train(tmp_path)
    assert not (tmp_path / "model").exists() and finished_epochs(tmp_path) == epochs
    assert_same_run(short_train(tmp_path), whole_run)


def test_an_interrupted_command_says_how_to_go_on(tones, tone_recipe, tmp_path, monkeypatch, capsys):
    interrupt_at(monkeypatch, "RecognizerBrain", "on_stage_start", 3)
    words = [f"{key}={value}" for key, value in SHORT.items()]
    code = program.run(
        ["train", str(tone_recipe), "--data-folder", str(tones), "--output-folder", str(tmp_path), *words]
    )
    captured = capsys.readouterr()
    assert (code, captured.out) == (130, "")
    expected = f"snn-asr: {tmp_path}: interrupted after 1 of 4 epochs; run the same command again to go on"
    assert captured.err.splitlines()[-1] == expected
    with pytest.raises(DataError, match="no finished model"):
        find_model(tmp_path)


@pytest.mark.thorough
def test_resumed_ranges_and_optimizer_of_a_gru_and_a_moving_range(short_train, tmp_path, monkeypatch):
    """State that improved_v2 with a fixed range does not have."""
    spiking = {"range": "moving_average", "candidate": "relu", "activity_penalty": 0.1}
    for name, options in (("gru", {"encoder": "gru"}), ("spiking", spiking)):
        whole = short_train(tmp_path / name / "whole", epochs=2, **options)
        with monkeypatch.context() as patch:
            interrupt_at(patch, "RecognizerBrain", "on_fit_batch_end", BATCHES + 6)
            with pytest.raises(InterruptedRun):
                short_train(tmp_path / name / "killed", epochs=2, **options)
        assert finished_epochs(tmp_path / name / "killed") == 1
        assert_same_run(short_train(tmp_path / name / "killed", epochs=2, **options), whole)


@pytest.mark.thorough
def test_a_largest_gradient_norm_of_zero_is_no_clipping(short_train, tmp_path):
    free, loose = (short_train(tmp_path / name, epochs=1, max_grad_norm=norm) for name, norm in (("a", 0), ("b", 1e9)))
    assert_same_run(free, loose)
    assert weights(short_train(tmp_path / "c", epochs=1, max_grad_norm=1.0)) != weights(free)


def running_statistics(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "checkpoint.pt", weights_only=True)["model"]
    return {name: each for name, each in state.items() if name.endswith(("running_mean", "running_var"))}


@pytest.mark.thorough
def test_batch_normalisation_keeps_its_statistics_after_so_many_epochs(short_train, tmp_path):
    short, long, moving = (
        running_statistics(short_train(tmp_path / name, epochs=epochs, batch_norm_epochs=limit))
        for name, epochs, limit in (("short", 3, 2), ("long", 4, 2), ("moving", 4, 0))
    )
    assert short and all(torch.equal(short[name], long[name]) for name in short)
    assert not any(torch.equal(short[name], moving[name]) for name in short)


@pytest.mark.thorough
def test_the_papers_schedule_and_curriculum_train_and_resume(short_train, tmp_path, monkeypatch):
    options = {"schedule": "halving", "length_curriculum": [[60, 2]], "batch_utterances": 3, "average_decay": 0.0}
    whole = short_train(tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        interrupt_at(patch, "RecognizerBrain", "on_stage_start", 5)
        with pytest.raises(InterruptedRun):
            short_train(tmp_path / "killed", **options)
    assert_same_run(short_train(tmp_path / "killed", **options), whole)


def test_a_finished_run_is_left_alone(short_train, whole_run, tmp_path, monkeypatch):
    folder = shutil.copytree(whole_run, tmp_path / "run")
    before = content(folder)
    monkeypatch.setattr(RecognizerBrain, "fit", None)
    short_train(folder)
    after = content(folder)
    assert after.keys() == before.keys()
    changed = [path.name for path in before if after[path][1] != before[path][1]]
    assert changed == []


def test_a_run_folder_names_its_recipe_and_all_settings(whole_run, tone_recipe):
    mark = read_json(whole_run / "run.json")
    assert (mark["recipe"], mark["device"], mark["overrides"]) == (str(tone_recipe.resolve()), "cpu", SHORT)
    assert mark["settings"].items() >= {"epochs": 4, "seed": 1, "bits": 6, "stack": 3, "optimizer": {
        "!name:torch.optim.AdamW": {"weight_decay": 0.01}
    }}.items()
    assert set(mark["data"]) == {"train", "dev", "test"}


def test_no_resume_begins_anew_and_keeps_the_old_run_until_there_is_a_new_one(
    short_train, whole_run, tmp_path, monkeypatch
):
    folder = shutil.copytree(whole_run, tmp_path / "run")
    with monkeypatch.context() as patch:
        interrupt_at(patch, "RecognizerBrain", "on_fit_batch_end", 1)
        with pytest.raises(InterruptedRun):
            short_train(folder, seed=2, resume=False)
    assert_same_run(folder, whole_run)
    with monkeypatch.context() as patch:
        interrupt_at(patch, "RecognizerBrain", "on_stage_start", 3)
        with pytest.raises(InterruptedRun):
            short_train(folder, seed=2, resume=False)
    with pytest.raises(DataError, match="no finished model"):
        find_model(folder)  # the old one is not taken for the new
    assert log_of(short_train(folder, seed=2))[0] != log_of(whole_run)[0]
    assert len(log_of(folder)) == 4


def test_a_loss_that_is_no_number_ends_the_run(short_train, tones, tone_recipe, tmp_path, monkeypatch, capsys):
    def diverged(logits, *_, **__):
        return logits.sum() * math.nan

    monkeypatch.setattr(torch.nn.functional, "ctc_loss", diverged)
    with pytest.raises(DivergenceError, match="diverged in epoch 1: the loss is nan; lower learning_rate"):
        short_train(tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()
    arguments = ["train", str(tone_recipe), "--data-folder", str(tones), "--output-folder", str(tmp_path)]
    assert program.run(arguments) == 5
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"snn-asr: {tmp_path}: training diverged")


def test_a_development_loss_that_is_no_number_ends_the_run_too(short_train, tmp_path, monkeypatch):
    loss = torch.nn.functional.ctc_loss

    def diverged(*arguments, zero_infinity, **options):
        value = loss(*arguments, zero_infinity=zero_infinity, **options)
        return value * math.nan if zero_infinity else value

    monkeypatch.setattr(torch.nn.functional, "ctc_loss", diverged)
    with pytest.raises(DivergenceError, match="diverged in epoch 1"):
        short_train(tmp_path)


def test_a_corpus_is_prepared_where_there_are_no_manifests(tone_recipe, tones, tmp_path, monkeypatch):
    calls = []

    def prepare(name, data_folder, output_folder):
        calls.append((name, data_folder, output_folder))
        shutil.copytree(tones, output_folder)

    monkeypatch.setattr(corpora, "prepare", prepare)
    monkeypatch.setattr(RecognizerBrain, "fit", lambda *_: (_ for _ in ()).throw(InterruptedRun("far enough")))
    with pytest.raises(InterruptedRun, match="far enough"):
        train(tone_recipe, None, tmp_path / "run", device="cpu")
    assert calls == [("demo", None, tmp_path / "run" / "data")]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_goes_on_where_it_was(kind, tones, tone_recipe, tmp_path):
    words = [f"{key}={value}" for key, value in (SHORT | {"epochs": 12}).items()]
    command = [*PROGRAM, "train", str(tone_recipe), "--data-folder", str(tones), *words, "--device", "cpu"]

    def run(folder: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [*command, "--output-folder", str(tmp_path / folder)], capture_output=True, text=True, check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    done = run("whole")
    assert done.stdout == f"{tmp_path / 'whole' / 'model'}\n"
    process = subprocess.Popen(
        [*command, "--output-folder", str(tmp_path / "killed")], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    log = tmp_path / "killed" / "log.jsonl"
    deadline = time.monotonic() + 120
    while not (log.is_file() and len(log.read_text().splitlines()) >= 2):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(kind)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if kind == signal.SIGINT else -signal.SIGKILL)
    assert kind == signal.SIGKILL or "run the same command again to go on" in errors.splitlines()[-1]
    assert not (tmp_path / "killed" / "model").exists()
    run("killed")
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
