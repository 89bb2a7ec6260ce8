"""Calls in processes of their own: order, errors, and errors that keep their parts across processes."""

from __future__ import annotations

import os
import pickle

import pytest

from snn_asr.errors import DataError, InterruptedRun
from snn_asr.training.jobs import run_jobs


def named(value: int) -> tuple[int, int]:
    return value, os.getpid()


def failing(value: int, here: int) -> int:
    assert os.getpid() != here
    raise DataError(f"bad {value}", "file.wav", "repair it")


CALLS = [{"value": each} for each in (3, 1, 2)]


def test_one_job_runs_here():
    assert run_jobs(named, CALLS, jobs=1) == [(each, os.getpid()) for each in (3, 1, 2)]


@pytest.mark.slow
def test_two_jobs_run_elsewhere_and_answer_in_the_order_of_the_calls():
    results = run_jobs(named, CALLS, jobs=2)
    assert [value for value, _ in results] == [3, 1, 2]
    assert os.getpid() not in {process for _, process in results}


def test_an_error_keeps_its_line_and_code_across_processes():
    with pytest.raises(DataError, match="file.wav: bad 1; repair it"):
        run_jobs(failing, [{"value": each, "here": os.getpid()} for each in (1, 2)], jobs=2)
    copy = pickle.loads(pickle.dumps(InterruptedRun("interrupted", 7, "go on")))
    assert (str(copy), copy.exit_code) == ("7: interrupted; go on", 130)
