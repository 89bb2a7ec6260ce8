"""Work shared among threads: compiled loops run without Python's lock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch


def share(run: Callable[[slice], None], parts: int) -> None:
    """Call ``run(slice)`` over all parts, in as many equal shares as torch has threads."""
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
