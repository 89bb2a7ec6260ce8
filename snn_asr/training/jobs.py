"""Several independent calls at once, each in a process of its own, sharing the machine's processors and its GPU."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from snn_asr.interruption import end_quietly_when_told, interruptible
from snn_asr.logs import log_to_stderr


def run_jobs(function: Callable[..., Any], calls: Sequence[dict[str, Any]], jobs: int) -> list[Any]:
    """``function(**call)`` for every call, at most ``jobs`` at a time; results in the order of the calls.

    With one job everything runs in this process. The first error ends the waiting: running calls finish, or are
    interrupted where this process is; the others are not begun.
    """
    if jobs == 1 or len(calls) < 2:
        return [function(**call) for call in calls]
    threads = max(1, _processors() // min(jobs, len(calls)))
    level = logging.getLogger("snn_asr").level
    context = multiprocessing.get_context("spawn")  # a forked torch may hang on the locks of its threads
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(threads, level)) as pool:
        pending = [pool.submit(interruptible, function, call) for call in calls]
        try:
            return [each.result() for each in pending]
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):  # which a signal to this process alone may have been
                for process in multiprocessing.active_children():
                    process.terminate()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _processors() -> int:
    """How many of the machine's processors this process may use: a container or a batch system may give it a part."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def _begin(threads: int, level: int) -> None:
    import torch

    end_quietly_when_told()
    torch.set_num_threads(threads)
    log_to_stderr(level)
