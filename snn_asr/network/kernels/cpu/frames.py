"""The order in which a batch is walked, and what passes through the recurrent weights on the way.

Both walks are generators, which numba compiles into the loop over them: a cell's loop holds what is the cell's own.
All rows of a frame come before the next frame, so that weights that are fetched once serve the whole batch. They are
not cached themselves: numba cannot compile a loop over a generator that it found in its cache. Their callers are.
"""

from __future__ import annotations

import numpy as np

from snn_asr.kernel_cache import njit
from snn_asr.network.kernels.cpu.elementwise import clear
from snn_asr.network.kernels.cpu.products import add_events, event_buffers, find_events


@njit(nogil=True)
def forwards(lengths, outputs, start, panels):
    """Yield (frame, row, product) from the first frame to the last, in the rows that have that frame.

    The product (at least gates · H,) is ``panels`` of recurrent weights times what the row sent at the frame before:
    ``outputs`` (B, T, H), which the caller fills, or ``start`` (B, H) before the first. It is empty without panels.
    """
    recurrent, rows = panels.shape[0] > 0, lengths.shape[0]
    index, value, splits = event_buffers(rows if recurrent else 0, outputs.shape[2], outputs)
    product = np.zeros((rows, panels.shape[0] * panels.shape[2]), outputs.dtype)
    for n in range(outputs.shape[1]):
        if recurrent:
            for row in range(rows):
                clear(splits[row])
                if n < lengths[row]:
                    clear(product[row])
                    find_events(outputs[row, n - 1] if n else start[row], row, index, value, splits)
            add_events(rows, index, value, splits, panels, product)
        for row in range(rows):
            if n < lengths[row]:
                yield n, row, product[row]


@njit(nogil=True)
def backwards(lengths, gradient, panels):
    """Yield (frame, row, fed_back) from the last frame to the first, in the rows that have that frame.

    ``gradient`` (B, T, gates · H), of the recurrent product, is filled by the caller. ``fed_back`` (at least H,) is
    ``panels`` times that of the frame behind: 0 at a row's last frame, and at all of them without panels.
    """
    recurrent, rows, size = panels.shape[0] > 0, lengths.shape[0], gradient.shape[2]
    index, value, splits = event_buffers(rows if recurrent else 0, size, gradient)
    fed_back = np.zeros((rows, panels.shape[0] * panels.shape[2] if recurrent else size), gradient.dtype)
    for n in range(gradient.shape[1] - 1, -1, -1):
        for row in range(rows):
            if n < lengths[row]:
                yield n, row, fed_back[row]
                if recurrent:
                    clear(fed_back[row])
                    find_events(gradient[row, n], row, index, value, splits)
        if recurrent and n:
            add_events(rows, index, value, splits, panels, fed_back)
