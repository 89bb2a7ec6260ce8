"""Checkpoints: whole and of this run, or passed over; nothing from them runs."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from snn_asr.errors import DataError
from snn_asr.training.run_folder.checkpoint import NAME, PREVIOUS, UNUSABLE, Checkpoints


def state(epoch: int) -> dict:
    return {
        "epoch": epoch, "one": torch.tensor(3),
        "weights": OrderedDict(w=torch.full((64,), float(epoch)), h=torch.ones(2, dtype=torch.bfloat16)),
        "betas": (0.9, 0.999), "log": [{"epoch": epoch, "range": None}], "none": torch.zeros(0),
    }


@pytest.fixture
def two(tmp_path) -> Checkpoints:
    """After two epochs."""
    checkpoints = Checkpoints(tmp_path, "this run")
    for epoch in (1, 2):
        checkpoints.save(state(epoch))
    return checkpoints


def again(folder: Path, identity: str = "this run") -> Checkpoints:
    """As another process sees them."""
    return Checkpoints(folder, identity)


def flip(path: Path) -> None:
    content = path.read_bytes()
    at = content.rfind(torch.load(path, weights_only=True)["weights"]["w"].numpy().tobytes())
    path.write_bytes(content[: at + 3] + bytes([content[at + 3] ^ 0x40]) + content[at + 4 :])


def test_the_last_two_are_kept_and_the_last_is_loaded(two, tmp_path):
    assert again(tmp_path).load()["epoch"] == 2
    assert torch.load(tmp_path / PREVIOUS, weights_only=True)["epoch"] == 1
    two.save(state(3))
    assert torch.load(tmp_path / PREVIOUS, weights_only=True)["epoch"] == 2
    two.remove_previous()
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME]
    assert again(tmp_path / "empty").load() is None


DAMAGES = {
    "one bit of a weight": flip,
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "text": lambda path: path.write_text("hello"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "of an older version": lambda path: torch.save(state(2), path),
    "a list": lambda path: torch.save([1, 2], path),
    "lacks a part": lambda path: torch.save(
        {key: value for key, value in torch.load(path, weights_only=True).items() if key != "weights"}, path
    ),
    "of another run": lambda path: Checkpoints(path.parent, "another").save(state(9)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_named_and_passed_over(damage, two, tmp_path, caplog):
    (tmp_path / PREVIOUS).rename(tmp_path / "kept")
    DAMAGES[damage](tmp_path / NAME)
    with pytest.raises(DataError, match=rf"{NAME}: .*; remove it, or begin anew with --no-resume") as caught:
        again(tmp_path).load()
    assert "\n" not in str(caught.value) and (tmp_path / NAME).exists()
    (tmp_path / "kept").rename(tmp_path / PREVIOUS)
    checkpoints = again(tmp_path)
    assert checkpoints.load()["epoch"] == 1
    assert NAME in caplog.text and "goes on after epoch 1" in caplog.text
    assert (tmp_path / UNUSABLE).exists() and not (tmp_path / NAME).exists()
    checkpoints.save(state(2))
    assert again(tmp_path).load()["epoch"] == 2
    assert torch.load(tmp_path / PREVIOUS, weights_only=True)["epoch"] == 1


def test_where_both_are_damaged_the_last_is_named_and_both_stay(two, tmp_path):
    for name in (NAME, PREVIOUS):
        flip(tmp_path / name)
    with pytest.raises(DataError, match=f"{NAME}: damaged"):
        again(tmp_path).load()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((NAME, PREVIOUS))


@pytest.mark.parametrize("call", [1, 2])
def test_one_that_is_interrupted_in_taking_its_place_loses_one_epoch_at_most(call, two, tmp_path, monkeypatch):
    replace, calls = os.replace, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        replace(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            two.save(state(3))
    checkpoints = again(tmp_path)
    assert checkpoints.load()["epoch"] == 2
    assert not list(tmp_path.glob(".*"))
    checkpoints.save(state(3))
    assert again(tmp_path).load()["epoch"] == 3


def test_nothing_from_a_checkpoint_runs(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"weights": Payload()}, tmp_path / NAME)
    with pytest.raises(DataError, match=NAME):
        again(tmp_path).load()
    assert not (tmp_path / "ran").exists()
