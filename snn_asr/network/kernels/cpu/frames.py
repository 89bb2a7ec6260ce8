"""What passes through the recurrent weights as a batch is walked, frame by frame, forward and backward.

A cell's loop goes over frames and, within a frame, over the rows that have it: all rows of a frame come before the next
frame, so that weights which are fetched once serve the whole batch.

    for n in range(outputs.shape[1]):                           for n in range(gradient.shape[1] - 1, -1, -1):
        pass_forward(n, lengths, outputs, start, passage)           for row in range(len(lengths)):
        for row in range(len(lengths)):                                 if n < lengths[row]:
            if n < lengths[row]:                                            use passage.own[row], fill gradient[row, n]
                use passage.own[row], fill outputs[row, n]          pass_backward(n, lengths, gradient, passage)

(Not a generator, which would read better: numba does not give back the arrays that a generator was given, so that every
call would keep all its outputs for ever.)

``walk`` shares the rows among threads. Each has all weights to fetch at every frame, unless they are too many for the
cache of one processor and the machine is not busy: then every thread adds up its share of the columns for the rows of
all threads, which wait for one another twice a frame (barrier.py), and each processor keeps its share of the weights
from frame to frame.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from torch import Tensor

from snn_asr.kernel_cache import njit
from snn_asr.network.kernels.cpu.barrier import WAITS, new_barrier, release, wait
from snn_asr.network.kernels.cpu.elementwise import clear
from snn_asr.network.kernels.cpu.products import add_events, event_buffers, fetch_all, find_events
from snn_asr.network.kernels.cpu.threads import at_once, in_threads, shares

CACHED_BYTES = 1 << 20  # of weights, that stay in the second cache of a processor beside what a walk reads and writes

SPARE_LOAD = 0.5  # processes more than processors, at which threads still share weights out


class Passage(NamedTuple):
    """What a thread passes through ``panels`` of recurrent weights with, (P, D, L), none where there are none.

    ``own`` (rows, at least P L) are the products that its own rows receive at a frame. They are part of ``sums``, of
    all rows that it adds up; ``events`` are those of these rows (products.event_buffers), and its own rows are those
    from ``first`` on. It adds up the products from ``begin`` to ``end`` (products.add_events), and meets so many
    ``threads`` at the ``barrier``.
    """

    panels: np.ndarray
    own: np.ndarray
    sums: np.ndarray
    events: tuple[np.ndarray, np.ndarray, np.ndarray]
    first: int
    begin: int
    end: int
    barrier: np.ndarray
    threads: int


def walk(run: Callable[[slice, Passage], None], panels: np.ndarray, start: Tensor) -> None:
    """Call ``run(slice, passage)`` over all rows of a batch, shared among as many threads as torch has.

    ``start`` (B, H) are the outputs before the first frame. Without panels the products are 0, (B, H).
    """
    (rows, units), count = start.shape, len(panels)
    parts = shares(rows)
    sums = np.zeros((rows, count * panels.shape[2] or units), panels.dtype)
    events = event_buffers(rows if count else 0, panels.shape[1], panels)
    barrier = new_barrier()
    if len(parts) == 1 or not shares_weights(panels):
        alone = [
            Passage(panels, sums[each], sums[each], _rows(events, each), 0, 0, pairs, barrier, 1)
            for each, pairs in zip(parts, [count * (each.stop - each.start) for each in parts], strict=True)
        ]
        in_threads(run, parts, alone)
        return
    together = [
        Passage(panels, sums[each], sums, events, each.start, pairs.start, pairs.stop, barrier, len(parts))
        for each, pairs in zip(parts, shares(rows * count), strict=True)
    ]

    def run_or_release(part: slice, passage: Passage) -> None:
        try:
            run(part, passage)
        except BaseException:
            release(barrier)  # the others would wait for ever
            raise

    at_once(run_or_release, parts, together)


def shares_weights(panels: np.ndarray) -> bool:
    """Whether threads had better share the weights out: they are many, and no other work keeps the threads waiting for
    one that is not on a processor. The load of the last minute tells; the results are the same."""
    return panels.nbytes > CACHED_BYTES and WAITS and os.getloadavg()[0] < (os.cpu_count() or 1) + SPARE_LOAD


def _rows(events: tuple[np.ndarray, np.ndarray, np.ndarray], rows: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    index, value, splits = events
    return index[rows], value[rows], splits[rows]


@njit(cache=True, nogil=True)
def pass_forward(n, lengths, outputs, start, passage):
    """Set the products for frame ``n``: recurrent weights times what a row sent at the frame before.

    That is ``outputs`` (B, T, H), which the caller fills, or ``start`` (B, H) before the first.
    """
    if passage.panels.shape[0] == 0:
        return
    for row in range(lengths.shape[0]):
        clear(passage.events[2][passage.first + row])
        if n < lengths[row]:
            _take(outputs[row, n - 1] if n else start[row], row, passage)
    _add_up(n, passage)


@njit(cache=True, nogil=True)
def pass_backward(n, lengths, gradient, passage):
    """Set the products for the frame before ``n``: weights times ``gradient`` (B, T, gates · H), of the recurrent
    product, at frame ``n``, filled by the caller. They are 0 at a row's last frame, and at all of them without panels.
    """
    if passage.panels.shape[0] == 0 or n == 0:
        return
    for row in range(lengths.shape[0]):
        if n < lengths[row]:
            _take(gradient[row, n], row, passage)
    _add_up(n, passage)


@njit(cache=True, nogil=True)
def _take(given, row, passage):
    """The events of one of the thread's own rows, whose products are to be set."""
    clear(passage.own[row])
    index, value, splits = passage.events
    find_events(given, passage.first + row, index, value, splits)


@njit(cache=True, nogil=True)
def _add_up(n, passage):
    """Panels come in one order at a frame and in the other at the next, which begins with those fetched last."""
    wait(passage.barrier, passage.threads)
    index, value, splits = passage.events
    backwards = n % 2 == 1
    add_events(index, value, splits, passage.panels, passage.begin, passage.end, backwards, passage.sums)
    wait(passage.barrier, passage.threads)


@njit(cache=True, nogil=True)
def fetch(sequences, row, n, frames):
    """Have the processor fetch what a row has in ``sequences`` (B, T, ...) at frame ``n``, if there is such a frame,
    without waiting for it.

    A walk that leaves a row for the others of the batch after a frame looks like no stream to the processor, which
    would begin to fetch when it is asked to add. It is told a frame ahead: while the other rows have their turn."""
    if 0 <= n < frames:
        for each in sequences:
            fetch_all(each[row, n])
