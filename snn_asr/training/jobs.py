"""Several independent calls at once, each in a process of its own, sharing the machine's processors and its GPU.

Every call has a process to itself, which nothing but its call is waiting for: one that dies, say of too little memory,
takes no other with it, and when the whole is told to end no call begins that was only waiting.
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

from snn_asr.errors import DataError, InterruptedRun, SnnAsrError, UsageError, as_user_error
from snn_asr.interruption import INTERRUPTED, held_back, interruptible
from snn_asr.logs import log_to_stderr
from snn_asr.processes import available_processors

log = logging.getLogger(__name__)


def run_jobs(
    function: Callable[..., Any], calls: Sequence[dict[str, Any]], jobs: int,
    failed: Callable[[SnnAsrError], None] | None = None,
) -> list[Any]:
    """``function(**call)`` for every call, at most ``jobs`` at a time; results in the order of the calls.

    With one job everything runs in this process. What goes wrong with one call is told to ``failed``, and the others
    go on; the results are then those of the others. A mistake of the user's (UsageError), an interruption and, without
    ``failed``, any error is raised: running calls are told to end, which saves what they have done, and waited for.
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
    """The results of calls in this process; ``take`` is given what goes wrong with one."""
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
    """The same in ``jobs`` processes at a time."""
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
    """A call in a process of its own. ``connection`` becomes ready when it has ended."""

    def __init__(self, function: Callable[..., Any], call: dict[str, Any], threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # a forked torch may hang on the locks of its threads
        self._name = call.get("output_folder", function.__name__)
        self.connection, theirs = context.Pipe(duplex=False)
        level = logging.getLogger("snn_asr").level
        resource_tracker.ensure_running()  # its start, at the first process, lets signals in again
        self.process = context.Process(target=_work, args=(theirs, function, call, threads, level))
        with held_back():  # the process begins so, and is interrupted when it can answer
            self.process.start()
        theirs.close()

    def result(self) -> Any:
        """What the call gave. Raises what it raised, and DataError where its process died."""
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
    """One call, in its process."""
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
        described = as_user_error(error)  # these keep their parts on the way to the other process, as not all do
        outcome = False, described or RuntimeError(f"{type(error).__name__}: {error}")
    connection.send(outcome)


def _end_with_parent() -> None:
    """A process whose parent was killed is told to end: its call would be in the way of the next one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
