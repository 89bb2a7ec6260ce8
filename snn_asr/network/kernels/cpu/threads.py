"""Work shared among threads: compiled loops run without Python's lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import Any

import torch


def shares(parts: int) -> list[slice]:
    """All parts in as many equal shares as torch has threads, but no more than there are parts."""
    threads = max(1, min(torch.get_num_threads(), parts))
    bounds = [parts * share // threads for share in range(threads + 1)]
    return [slice(*pair) for pair in zip(bounds[:-1], bounds[1:], strict=True)]


def share(run: Callable[[slice], None], parts: int) -> None:
    """Call ``run(slice)`` over all parts, in as many equal shares as torch has threads."""
    in_threads(run, shares(parts))


def in_threads(run: Callable[..., None], *given: Sequence[Any]) -> None:
    """Call ``run`` with the first of each sequence given, with the second of each, and so on, each in its thread."""
    calls = len(given[0])
    if calls == 1:
        run(*(each[0] for each in given))
    else:
        list(_pool(calls).map(run, *given))


def at_once(run: Callable[..., None], *given: Sequence[Any]) -> None:
    """As ``in_threads``; all calls run at the same time, so that they may wait for one another."""
    with _one_at_a_time():  # two such callers could have half of a pool each, and wait for ever
        in_threads(run, *given)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="snn-asr")


@cache
def _one_at_a_time() -> Lock:
    return Lock()
