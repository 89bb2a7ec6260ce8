"""Batches that processes read ahead: what is wrong in one of them is told as if it had not been in another process."""

from __future__ import annotations

import multiprocessing
import os
import signal
from functools import partial

import pytest
from torch.utils.data import DataLoader
from utterance_sets import tone_set

from snn_asr.data import reading_ahead
from snn_asr.data.batches import collate
from snn_asr.data.reading_ahead import ReadAhead, WholeBatches, possible_workers
from snn_asr.errors import DataError


class Breaking:
    """Three utterances, one of which raises an error or ends the process."""

    def __init__(self, break_it) -> None:
        self.break_it = break_it

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> int:
        return self.break_it() if index == 1 else index


def _raise(error: Exception) -> None:
    raise error


def _read(break_it) -> list:
    return list(ReadAhead(WholeBatches(Breaking(break_it), list), [[0], [1], [2]], 1, pin_memory=False))


@pytest.mark.parametrize(
    "error, line",
    [
        (DataError("gone", "x.wav", "restore it"), "x.wav: gone; restore it"),
        (FileNotFoundError(2, "No such file", "x.wav"), "x.wav: no such file; check the path"),
    ],
)
def test_an_error_for_the_user_keeps_its_line(error, line):
    with pytest.raises(DataError) as raised:
        _read(partial(_raise, error))
    assert str(raised.value) == line


def test_a_defect_of_ours_is_one_with_its_traceback():
    with pytest.raises(KeyError, match="Traceback"):
        _read(partial(_raise, KeyError("tokens")))


def test_a_process_that_the_system_ends_is_named_with_what_to_do():
    with pytest.raises(DataError, match="loader_workers=1: a process that read ahead has been ended") as raised:
        _read(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert raised.value.todo


def test_no_process_outlives_a_reading_that_is_broken_off():
    ahead = ReadAhead(WholeBatches(Breaking(lambda: 1), list), [[0], [1], [2]], 1, pin_memory=False)
    batches = iter(ahead)
    assert next(batches) == [0] and multiprocessing.active_children()
    ahead.close()
    assert not multiprocessing.active_children()
    assert list(ahead) == [[0], [1], [2]] and not multiprocessing.active_children()


def test_batches_are_those_that_this_process_reads(tones):
    dataset, batches = tone_set(tones), [[0, 2], [3], [1, 4, 5]]
    ahead = ReadAhead(WholeBatches(dataset, collate), batches, 2, pin_memory=False)
    for mine, read in zip(DataLoader(dataset, batch_sampler=batches, collate_fn=collate), ahead, strict=True):
        assert mine.utterances == read.utterances
        assert mine.frames.equal(read.frames) and mine.targets.equal(read.targets)


@pytest.mark.parametrize("free, possible", [(0, 0), (63, 0), (64, 1), (130, 2), (10**9, 4)])
def test_no_more_processes_read_ahead_than_files_may_be_open(monkeypatch, caplog, free, possible):
    monkeypatch.setattr("snn_asr.devices.available_processors", lambda: 8)
    monkeypatch.setattr(reading_ahead.resource, "getrlimit", lambda which: (free + 3, free + 3))
    monkeypatch.setattr(os, "listdir", lambda folder: ["0", "1", "2"])  # of those that are open
    assert possible_workers(4) == possible
    assert ("ulimit -n" in caplog.text) == (possible < 4)


def test_files_without_a_limit_are_many(monkeypatch):
    monkeypatch.setattr("snn_asr.devices.available_processors", lambda: 8)
    monkeypatch.setattr(reading_ahead.resource, "getrlimit", lambda which: (reading_ahead.resource.RLIM_INFINITY,) * 2)
    assert possible_workers(4) == 4
    monkeypatch.setattr(reading_ahead.resource, "getrlimit", lambda which: (64, 64))
    assert possible_workers(4) == 0, "the files that are open count"
