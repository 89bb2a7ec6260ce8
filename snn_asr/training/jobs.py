"""Several independent calls at once, each in a process of its own, sharing the machine's processors and its GPU.

A process serves one call only. If it dies, for example of too little memory, the other calls are not affected, and
after an interruption no further call starts.
"""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from snn_asr.devices import available_processors
from snn_asr.errors import DataError, InterruptedRun, SnnAsrError, UsageError, as_user_error
from snn_asr.interruption import INTERRUPTED, held_back, interruptible
from snn_asr.logs import log_to_stderr

log = logging.getLogger(__name__)


def run_jobs(
    function: Callable[..., Any], calls: Sequence[dict[str, Any]], jobs: int,
    failed: Callable[[SnnAsrError], None] | None = None,
) -> list[Any]:
    """The results of ``function(**call)`` for every call, in the order of the calls, at most ``jobs`` at a time.

    With one job everything runs in this process. The error of a call is given to ``failed``, the other calls go on, and
    the results are theirs alone. A UsageError, an interruption and, without ``failed``, any error is raised instead:
    running calls are then told to end, which saves their work, and waited for.
    """

    def take(error: SnnAsrError) -> None:
        if failed is None or isinstance(error, (UsageError, InterruptedRun)):
            raise error
        failed(error)

    if jobs == 1 or len(calls) < 2:
        return _one_by_one(function, calls, take)
    return _together(function, calls, jobs, take)


def _one_by_one(
    function: Callable[..., Any], calls: Sequence[dict[str, Any]], take: Callable[[SnnAsrError], None]
) -> list[Any]:
    """The results of calls in this process; ``take`` is given the error of a call that fails."""
    results = []
    for call in calls:
        try:
            results.append(function(**call))
        except Exception as error:
            described = as_user_error(error)
            if described is None:
                raise
            take(described)
    return results


def _together(
    function: Callable[..., Any], calls: Sequence[dict[str, Any]], jobs: int, take: Callable[[SnnAsrError], None]
) -> list[Any]:
    """The results of calls in up to ``jobs`` processes at a time; ``take`` is given the error of a call that fails."""
    results: dict[int, Any] = {}
    threads = max(1, available_processors() // min(jobs, len(calls)))
    waiting, running = list(enumerate(calls)), dict[Connection, tuple[int, _Worker]]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                index, call = waiting.pop(0)
                worker = _Worker(function, call, threads)
                running[worker.connection] = index, worker
            for connection in multiprocessing.connection.wait(list(running)):
                index, worker = running[connection]  # type: ignore[index]  # it gives back what it was given
                try:
                    results[index] = worker.result()
                except SnnAsrError as error:
                    take(error)
                del running[worker.connection]
    finally:
        for _, worker in running.values():
            worker.process.terminate()
        for _, worker in running.values():
            worker.process.join()
    return [results[index] for index in sorted(results)]


class _Worker:
    """A call in a process of its own. ``connection`` becomes ready when the call has ended."""

    def __init__(self, function: Callable[..., Any], call: dict[str, Any], threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # a forked torch may hang on the locks of its threads
        self._name = call.get("output_folder", function.__name__)
        self.connection, theirs = context.Pipe(duplex=False)
        level = logging.getLogger("snn_asr").level
        resource_tracker.ensure_running()  # otherwise the first process starts it, which unblocks the signals again
        self.process = context.Process(target=_work, args=(theirs, function, call, threads, level))
        with held_back():  # the process inherits this, and unblocks signals when it is ready for them
            self.process.start()
        theirs.close()

    def result(self) -> Any:
        """The result of the call. Raises its error, and DataError if its process died."""
        try:
            good, value = self.connection.recv()
        except EOFError:
            self.process.join()
            raise _death(self._name, self.process.exitcode) from None
        self.process.join()
        if good:
            return value
        raise value


def _death(name: object, code: int | None) -> SnnAsrError:
    if code == INTERRUPTED:
        return InterruptedRun("interrupted", name, "run the same command again to go on")
    what = f"its process ended with exit code {code}"
    if code is not None and code < 0:
        what = f"its process was ended by signal {-code} ({signal.Signals(-code).name})"
    return DataError(what, name, "run the same command again to go on, with fewer --jobs if memory was short")


def _work(
    connection: Connection, function: Callable[..., Any], call: dict[str, Any], threads: int, level: int
) -> None:
    """Run one call in its process, and send its result or its error."""
    import torch

    torch.set_num_threads(threads)
    log_to_stderr(level)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        outcome = True, interruptible(function, call)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except Exception as error:
        log.debug("%s", call, exc_info=error)
        described = as_user_error(error)  # our errors survive pickling, which others may not
        outcome = False, described or RuntimeError(f"{type(error).__name__}: {error}")
    connection.send(outcome)


def _end_with_parent() -> None:
    """End this process when its parent is killed: its call would be in the way when the command is run again."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
