"""What passes through the recurrent weights as a batch is walked, frame by frame, forward and backward.

A cell's loop goes over frames and, within a frame, over the rows that have it: all rows of a frame come before the next
frame, so that weights which are fetched once serve the whole batch.

    for n in range(outputs.shape[1]):
        pass_forward(n, lengths, outputs, start, passage)
        for row in range(len(lengths)):
            if n < lengths[row]:
                use passage.products[row], fill outputs[row, n]

    for n in range(gradient.shape[1] - 1, -1, -1):
        for row in range(len(lengths)):
            if n < lengths[row]:
                use passage.products[row], fill gradient[row, n]
        pass_backward(n, lengths, gradient, passage)

(Not a generator, which would read better: numba does not give back the arrays that a generator was given, so that every
call would keep all its outputs for ever.)

``walk`` shares the rows among threads, each of which has all weights to fetch at every frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from torch import Tensor

from snn_asr.kernel_cache import njit
from snn_asr.network.kernels.cpu.elementwise import clear
from snn_asr.network.kernels.cpu.products import add_events, event_buffers, fetch_all, find_events
from snn_asr.network.kernels.cpu.threads import share


class Passage(NamedTuple):
    """What a thread passes its rows' events through ``panels`` of recurrent weights with, (P, D, L).

    ``products`` (rows, at least P · L) are what the rows receive at a frame, and ``events`` are what the rows
    sent at the frame before (products.event_buffers). Without panels (P = 0) all products stay 0.
    """

    panels: np.ndarray
    products: np.ndarray
    events: tuple[np.ndarray, np.ndarray, np.ndarray]


def walk(run: Callable[[slice, Passage], None], panels: np.ndarray, start: Tensor) -> None:
    """Call ``run(slice, passage)`` over all rows of a batch, shared among as many threads as torch has.

    ``start`` (B, H) are the outputs before the first frame. Without panels the products are 0, (B, H).
    """
    units, width = start.shape[1], len(panels) * panels.shape[2]

    def run_rows(rows: slice) -> None:
        count = rows.stop - rows.start
        events = event_buffers(count if len(panels) else 0, panels.shape[1], panels)
        run(rows, Passage(panels, np.zeros((count, width or units), panels.dtype), events))

    share(run_rows, len(start))


@njit(cache=True, nogil=True)
def pass_forward(n, lengths, outputs, start, passage):
    """Set the products for frame ``n``: recurrent weights times what a row sent at the frame before.

    That is ``outputs`` (B, T, H), which the caller fills, or ``start`` (B, H) before the first.
    """
    if passage.panels.shape[0] == 0:
        return
    for row in range(lengths.shape[0]):
        clear(passage.events[2][row])
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
    """Find the events of a row, whose products are to be set."""
    clear(passage.products[row])
    index, value, splits = passage.events
    find_events(given, row, index, value, splits)


@njit(cache=True, nogil=True)
def _add_up(n, passage):
    """Panels come in one order at a frame and in the other at the next, which begins with those fetched last."""
    index, value, splits = passage.events
    add_events(index, value, splits, passage.panels, n % 2 == 1, passage.products)


@njit(cache=True, nogil=True)
def fetch(sequences, row, n, frames):
    """Have the processor fetch what a row has in ``sequences`` (B, T, ...) at frame ``n``, if there is such a frame,
    without waiting for it.

    A walk that leaves a row for the others of the batch after a frame looks like no stream to the processor, which
    would begin to fetch when it is asked to add. It is told a frame ahead: while the other rows have their turn."""
    if 0 <= n < frames:
        for each in sequences:
            fetch_all(each[row, n])
