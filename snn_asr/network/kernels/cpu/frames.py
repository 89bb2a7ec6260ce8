"""The loop over the frames of a batch, and the products with the recurrent weights within it, forward and backward.

The loop of a cell goes over the frames and, within a frame, over the rows that have this frame. All rows pass a frame
before the next one begins, so that weights that were fetched once serve the whole batch:

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

(A generator would read better, but numba never frees the arrays that a generator was given: every call would keep all
its outputs for ever.)

``walk`` shares the rows among threads. Each thread fetches all weights at every frame.
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
    """What a thread needs to multiply its rows by the recurrent weights.

    ``panels`` (P, D, L) are the packed weights (products.pack); P is 0 without recurrent weights. ``products`` (rows,
    at least P · L) are what the rows receive through them at a frame, and ``events`` what the rows sent at the frame
    before (products.event_buffers). Without recurrent weights all products stay 0.
    """

    panels: np.ndarray
    products: np.ndarray
    events: tuple[np.ndarray, np.ndarray, np.ndarray]


def walk(run: Callable[[slice, Passage], None], panels: np.ndarray, start: Tensor) -> None:
    """Call ``run(slice, passage)`` for all rows of a batch, in as many shares as torch has threads.

    ``panels`` (P, D, L) are the packed recurrent weights, and ``start`` (B, H) are the outputs before the first frame.
    Without weights all products stay 0, (B, H).
    """
    units, width = start.shape[1], len(panels) * panels.shape[2]

    def run_rows(rows: slice) -> None:
        count = rows.stop - rows.start
        events = event_buffers(count if len(panels) else 0, panels.shape[1], panels)
        run(rows, Passage(panels, np.zeros((count, width or units), panels.dtype), events))

    share(run_rows, len(start))


@njit(cache=True, nogil=True)
def pass_forward(n, lengths, outputs, start, passage):
    """Set the products for frame ``n``: the recurrent weights times what each row sent at frame n - 1.

    These values are ``outputs[:, n - 1]`` of outputs (B, T, H), which the caller fills frame by frame, or ``start``
    (B, H) for the first frame.
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
    """Set the products for frame n - 1: the recurrent weights times the gradient at frame ``n``.

    ``gradient`` (B, T, gates · H) is that of the recurrent product, and the caller fills it frame by frame. What a row
    receives at its last frame is 0, and without weights it is 0 at all frames.
    """
    if passage.panels.shape[0] == 0 or n == 0:
        return
    for row in range(lengths.shape[0]):
        if n < lengths[row]:
            _take(gradient[row, n], row, passage)
    _add_up(n, passage)


@njit(cache=True, nogil=True)
def _take(values, row, passage):
    """Find the events among the ``values`` of a row, and set the row's products to 0."""
    clear(passage.products[row])
    index, value, splits = passage.events
    find_events(values, row, index, value, splits)


@njit(cache=True, nogil=True)
def _add_up(n, passage):
    """Add the events of frame ``n`` times the weights to the products.

    The order of the panels changes at every frame: it begins with those that the frame before has fetched last.
    """
    index, value, splits = passage.events
    add_events(index, value, splits, passage.panels, n % 2 == 1, passage.products)


@njit(cache=True, nogil=True)
def fetch(sequences, row, n, frames):
    """Tell the processor to fetch what a row has in ``sequences`` (B, T, ...) at frame ``n``, if there is such a frame.

    It does not wait for the data. A loop that turns to another row after every frame does not look like a stream to the
    processor, which would fetch the data only when it is needed. So it is told one frame ahead, and fetches while the
    other rows have their turn.
    """
    if 0 <= n < frames:
        for each in sequences:
            fetch_all(each[row, n])
