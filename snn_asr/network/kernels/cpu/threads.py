"""Work shared among threads. Compiled loops do not hold Python's global lock, so that they run side by side."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch


def share(run: Callable[[slice], None], parts: int) -> None:
    """Call ``run(slice)`` for all numbers from 0 to ``parts`` - 1, in as many equal slices as torch has threads.

    Each slice has its thread. There are no more slices than parts, but always at least one.
    """
    threads = max(1, min(torch.get_num_threads(), parts))
    bounds = [parts * share // threads for share in range(threads + 1)]
    slices = [slice(*pair) for pair in zip(bounds[:-1], bounds[1:], strict=True)]
    if threads == 1:
        run(slices[0])
    else:
        list(_pool(threads).map(run, slices))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="snn-asr")
