"""numba on the CPU: loops over events, compiled on first use and cached.

Each row (utterance) is walked alone: a recurrent product adds the weight rows of the units that sent something at the
last frame, in the order of the units. The sums of a row therefore never depend on its companions, its padding or on
how it was cut into chunks: batched, alone and chunked results are equal bit for bit.
Rows are shared among as many threads as torch uses.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from numba import njit
from torch import Tensor


@njit(cache=True, nogil=True, inline="always")
def add_events(output, weights, total):
    """total += sum of output[j] · weights[j] over the non-zero outputs, in order of j."""
    for j in range(output.shape[0]):
        if output[j] != 0:
            event = output[j]
            row = weights[j]
            for k in range(total.shape[0]):
                total[k] += event * row[k]


@njit(cache=True, nogil=True)
def _add_event_rows(inputs, weights, result):
    for row in range(inputs.shape[0]):
        add_events(inputs[row], weights, result[row])


def linear(inputs: Tensor, weights: Tensor) -> Tensor:
    """inputs (N, D) times weights (M, D) transposed, skipping zero inputs; each row in one fixed order."""
    result = inputs.new_zeros(inputs.shape[0], weights.shape[0])
    transposed = weights.detach().T.contiguous().numpy()
    share(lambda rows: _add_event_rows(inputs[rows].numpy(), transposed, result[rows].numpy()), inputs.shape[0])
    return result


def share(run: Callable[[slice], None], rows: int) -> None:
    """Call ``run(slice)`` over all rows, in as many equal parts as torch has threads."""
    threads = min(torch.get_num_threads(), rows)
    if threads <= 1:
        run(slice(0, rows))
        return
    bounds = [rows * part // threads for part in range(threads + 1)]
    list(_pool(threads).map(run, (slice(*pair) for pair in zip(bounds[:-1], bounds[1:], strict=True))))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="snn-asr")


def transposed(weights: Tensor | None, like: Tensor) -> Tensor:
    """Weights (M, D) as contiguous rows (D, M), one for each input; (0, 0) for None."""
    return like.new_zeros(0, 0) if weights is None else weights.detach().T.contiguous()


def dense(given: Tensor | None, like: Tensor) -> Tensor:
    """A tensor without gradient, contiguous; (0, 0) for None."""
    return like.new_zeros(0, 0) if given is None else given.detach().contiguous()
