"""Threads that wait for one another within the walk of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from snn_asr.network.kernels.cpu import frames
from snn_asr.network.kernels.cpu.barrier import wait

THREADS, ROWS, UNITS = 3, 7, 5


@pytest.fixture(autouse=True)
def weights_shared_out(monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(frames, "shares_weights", lambda panels: True)
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(threads)


def walk(run) -> None:
    frames.walk(run, np.zeros((2, UNITS, 64), np.float32), torch.zeros(ROWS, UNITS))


def test_nobody_goes_on_before_all_have_come():
    turns, ahead = np.zeros(ROWS, np.int64), []

    def run(rows: slice, passage: frames.Passage) -> None:
        for turn in range(200):
            turns[rows] = turn
            wait(passage.barrier, passage.threads)
            ahead.append(turns.min() < turn)
            wait(passage.barrier, passage.threads)

    walk(run)
    assert len(ahead) == 200 * THREADS and not any(ahead)


@pytest.mark.parametrize(("load", "shared"), [(2.1, True), (6.0, False)])
def test_weights_are_shared_out_where_they_are_many_and_the_machine_is_not_busy(monkeypatch, load, shared):
    monkeypatch.undo()
    monkeypatch.setattr(frames.os, "getloadavg", lambda: (load, load, load))
    monkeypatch.setattr(frames.os, "cpu_count", lambda: 2)
    assert frames.shares_weights(np.zeros(1 << 19, np.float32)) == (shared and frames.WAITS)
    assert not frames.shares_weights(np.zeros(1 << 10, np.float32))


def test_every_product_is_one_thread_s():
    pairs = []
    walk(lambda rows, passage: pairs.extend(range(passage.begin, passage.end)))
    assert sorted(pairs) == list(range(2 * ROWS))


def test_a_thread_that_fails_leaves_no_other_waiting():
    def run(rows: slice, passage: frames.Passage) -> None:
        if rows.start == 0:
            raise MemoryError("no room")
        wait(passage.barrier, passage.threads)

    with pytest.raises(MemoryError, match="no room"):
        walk(run)
