"""The benchmarks run, and their arithmetic is right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def timing(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import _timing

    return _timing


def test_steps_run_in_turns_after_one_that_is_not_timed(timing):
    calls = []
    seconds = timing.in_turns({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=2)
    assert calls == ["a", "b"] * 3
    assert {name: len(each) for name, each in seconds.items()} == {"a": 2, "b": 2}


def test_a_ratio_is_the_median_of_the_rounds_own(timing):
    assert timing.ratio([1.0, 9.0, 30.0], [2.0, 10.0, 10.0]) == 0.9


def test_peak_sees_what_is_freed_again(timing):
    before = timing.reset_peak()
    if before is None:
        pytest.skip("the system does not tell")
    block = bytearray(64 << 20)
    block[::4096] = b"x" * len(block[::4096])
    del block
    assert 50 < timing.peak() - before < 90


def test_quick_run_prints_a_table_and_writes_rows(timing, tmp_path, capsys):
    import torch
    import train_step

    arguments = ["--quick", "--no-memory", "--threads", str(torch.get_num_threads()), "--encoders", "lif,gru"]
    train_step.main([*arguments, "--backends", "cpu,reference", "--json", str(tmp_path / "rows.json")])
    rows, printed = json.loads((tmp_path / "rows.json").read_text()), capsys.readouterr().out
    assert [row["name"] for row in rows] == ["torch.nn.LSTM", "torch.nn.GRU", "lif/cpu", "lif/reference", "gru/auto"]
    assert all(row["name"] in printed for row in rows)
    assert 1.0 in [row["ratio"] for row in rows[:2]]
    assert all(0 < each < 1 for each in rows[2]["density"])
