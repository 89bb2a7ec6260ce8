"""What passes through the recurrent weights as a batch is walked, frame by frame, forward and backward.

A cell's loop goes over frames and, within a frame, over the rows that have it: all rows of a frame come before the next
frame, so that weights which are fetched once serve the whole batch.

    place = forward_room(lengths, outputs, panels)              place = backward_room(lengths, gradient, panels)
    for n in range(outputs.shape[1]):                           for n in range(gradient.shape[1] - 1, -1, -1):
        pass_forward(n, lengths, outputs, start, panels, place)     for row in range(len(lengths)):
        for row in range(len(lengths)):                                 if n < lengths[row]:
            if n < lengths[row]:                                            use place[3][row], fill gradient[row, n]
                use place[3][row], fill outputs[row, n]             pass_backward(n, lengths, gradient, panels, place)

(Not a generator, which would read better: numba does not give back the arrays that a generator was given, so that every
call would keep all its outputs for ever.)
"""

from __future__ import annotations

import numpy as np

from snn_asr.kernel_cache import njit
from snn_asr.network.kernels.cpu.elementwise import clear
from snn_asr.network.kernels.cpu.products import add_events, event_buffers, find_events
from snn_asr.network.kernels.cpu.tiles import fetch_line

LINE = 16  # numbers of a line of the cache, in float32


@njit(cache=True, nogil=True)
def forward_room(lengths, outputs, panels):
    """Room for the events of a frame, in three parts, and for the rows' products (B, at least gates · H), which are
    empty without panels."""
    rows = lengths.shape[0]
    index, value, splits = event_buffers(rows if panels.shape[0] > 0 else 0, outputs.shape[2], outputs)
    return index, value, splits, np.zeros((rows, panels.shape[0] * panels.shape[2]), outputs.dtype)


@njit(cache=True, nogil=True)
def pass_forward(n, lengths, outputs, start, panels, place):
    """Set the products for frame ``n``: ``panels`` of recurrent weights times what a row sent at the frame before.

    That is ``outputs`` (B, T, H), which the caller fills, or ``start`` (B, H) before the first.
    """
    index, value, splits, product = place
    if panels.shape[0] == 0:
        return
    for row in range(lengths.shape[0]):
        clear(splits[row])
        if n < lengths[row]:
            clear(product[row])
            find_events(outputs[row, n - 1] if n else start[row], row, index, value, splits)
    add_events(lengths.shape[0], index, value, splits, panels, product)


@njit(cache=True, nogil=True)
def backward_room(lengths, gradient, panels):
    """As ``forward_room``; the rows' products are (B, at least H), and 0 without panels."""
    rows, size = lengths.shape[0], gradient.shape[2]
    recurrent = panels.shape[0] > 0
    index, value, splits = event_buffers(rows if recurrent else 0, size, gradient)
    width = panels.shape[0] * panels.shape[2] if recurrent else size
    return index, value, splits, np.zeros((rows, width), gradient.dtype)


@njit(cache=True, nogil=True)
def pass_backward(n, lengths, gradient, panels, place):
    """Set the products for the frame before ``n``: ``panels`` times ``gradient`` (B, T, gates · H), of the recurrent
    product, at frame ``n``, filled by the caller. They are 0 at a row's last frame, and at all of them without panels.
    """
    index, value, splits, fed_back = place
    if panels.shape[0] == 0 or n == 0:
        return
    for row in range(lengths.shape[0]):
        if n < lengths[row]:
            clear(fed_back[row])
            find_events(gradient[row, n], row, index, value, splits)
    add_events(lengths.shape[0], index, value, splits, panels, fed_back)


@njit(cache=True, nogil=True)
def fetch(sequences, row, n, frames):
    """Have the processor fetch what a row has in ``sequences`` (B, T, ...) at frame ``n``, if there is such a frame,
    without waiting for it.

    A walk that leaves a row for the others of the batch after a frame looks like no stream to the processor, which
    would begin to fetch when it is asked to add. It is told a frame ahead: while the other rows have their turn."""
    if 0 <= n < frames:
        for each in sequences:
            numbers = each[row, n]
            for k in range(0, numbers.shape[0], LINE):
                fetch_line(numbers, k)
