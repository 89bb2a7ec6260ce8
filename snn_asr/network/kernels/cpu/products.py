"""Products of a dense matrix with rows of events: rows in which most numbers are zero.

Only the non-zero numbers are multiplied. The weights are packed in panels (P, D, L), blocks of L columns (tiles.py),
the last of which is filled up with zeros. A panel is read in blocks of rows that fit the first-level cache, and each
block serves all rows of events before the next block is fetched; the rows are, for example, the utterances of a batch
at one frame. Rows without zeros are computed as well, about as fast as by a dense product.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from snn_asr.kernel_cache import njit
from snn_asr.network.kernels.cpu.elementwise import clear, copy
from snn_asr.network.kernels.cpu.threads import share
from snn_asr.network.kernels.cpu.tiles import COMPRESSES, VECTOR_BYTES, accumulate, compress, fetch_line, panel_width

BLOCK = 64  # rows of a panel in a block: 16 or 32 kB
SLACK = 16  # numbers that ``compress`` may write behind the last event of a row
SPAN = 4  # blocks of frames that a weight gradient takes together, so that its sums stay in the second-level cache
LINE = 16  # float32 numbers in a cache line
AHEAD = 8  # how many frames before they are read a weight gradient has them fetched
DENSEST = 0.5  # with a larger share of non-zero numbers a weight gradient is left to torch's dense product
_ROWS, _FOUND = 256, 1 << 16  # the most rows, and numbers in them, in which ``linear`` finds the events at a time


def pack(weights: Tensor) -> np.ndarray:
    """The panels (P, D, L) of weights (D, M)."""
    inputs, outputs = weights.shape
    width = panel_width(weights.detach().numpy().dtype)
    panels = -(-outputs // width)
    padded = torch.nn.functional.pad(weights.detach(), (0, panels * width - outputs))
    return padded.reshape(inputs, panels, width).transpose(0, 1).contiguous().numpy()


def blocks(inputs: int) -> int:
    """The number of blocks of a panel with so many rows."""
    return -(-inputs // BLOCK)


@njit(cache=True, nogil=True)
def event_buffers(rows, size, like):
    """New arrays ``index``, ``value`` and ``splits`` for ``find_events``, for rows of ``size`` numbers as in ``like``.
    """
    index, value = np.empty((rows, size + SLACK), np.int32), np.empty((rows, size + SLACK), like.dtype)
    return index, value, np.zeros((rows, (size + BLOCK - 1) // BLOCK + 1), np.int64)


@njit(cache=True, nogil=True)
def find_events(numbers, row, index, value, splits):
    """Write the events of ``numbers`` (D,) to row ``row`` of ``index`` and ``value`` (R, D + SLACK).

    ``index`` receives their positions and ``value`` the numbers. The events that belong to block b of the weights then
    lie from ``splits[row, b]`` to ``splits[row, b + 1]``.
    """
    found, size, lanes = 0, numbers.shape[0], VECTOR_BYTES // numbers.itemsize
    own_index, own_value = index[row], value[row]
    splits[row, 0] = 0
    for block in range(splits.shape[1] - 1):
        first, last = block * BLOCK, min((block + 1) * BLOCK, size)
        if COMPRESSES:
            while first + lanes <= last:
                found += compress(numbers, first, own_index, own_value, found)
                first += lanes
        for j in range(first, last):
            own_index[found] = j
            own_value[found] = numbers[j]
            found += numbers[j] != 0
        splits[row, block + 1] = found


@njit(cache=True, nogil=True)
def add_events(index, value, splits, panels, backwards, totals):
    """Add the products of the events of R rows and ``panels`` (P, D, L) to ``totals`` (R, P · L).

    ``index``, ``value`` and ``splits`` are those of ``find_events``. ``backwards`` begins with the last panel.
    """
    count, inputs, width = panels.shape
    row_size, total_size = index.shape[1], totals.shape[1]
    for number in range(count):
        panel = count - 1 - number if backwards else number
        for block in range(splits.shape[1] - 1):
            for row in range(splits.shape[0]):
                first, last = splits[row, block], splits[row, block + 1]
                if first < last:
                    accumulate(
                        totals, row * total_size + panel * width, index, value, row * row_size + first,
                        row * row_size + last, panels, panel * inputs * width,
                    )


@njit(cache=True, nogil=True)
def _multiply_rows(inputs, panels, result):
    """Write inputs (N, D) times ``panels`` (P, D, L) to ``result`` (N, M)."""
    rows, size = inputs.shape
    most = min(_ROWS, _FOUND // size + 16)
    index, value, splits = event_buffers(most, size, inputs)
    totals = np.empty((most, panels.shape[0] * panels.shape[2]), inputs.dtype)
    for first in range(0, rows, most):
        count = min(most, rows - first)
        for row in range(count):
            find_events(inputs[first + row], row, index, value, splits)
            clear(totals[row])
        add_events(index, value, splits[:count], panels, False, totals)
        for row in range(count):
            copy(totals[row], result[first + row])


def linear(inputs: Tensor, weights: Tensor) -> Tensor:
    """The product (N, M) of inputs (N, D) with the transpose of weights (M, D).

    Zero inputs are skipped. The order of a sum does not depend on the other rows.
    """
    inputs, panels = inputs.detach().contiguous(), pack(weights.detach().T)
    result = inputs.new_empty(inputs.shape[0], weights.shape[0])
    share(lambda rows: _multiply_rows(inputs[rows].numpy(), panels, result[rows].numpy()), inputs.shape[0])
    return result


@njit(cache=True, nogil=True)
def fetch_all(numbers):
    """Tell the processor to fetch numbers (N,) that are read soon, which it could not foresee. Nothing waits for them.
    """
    for k in range(0, numbers.shape[0], LINE):
        fetch_line(numbers, k)


@njit(cache=True, nogil=True)
def _count(values):
    """The number of non-zero values among ``values`` (N,)."""
    found = 0
    for k in range(values.shape[0]):
        found += values[k] != 0
    return found


@njit(cache=True, nogil=True)
def _gather(gradient, sent, start, begin, end, result):
    """Add the gradient of the weights to ``result`` (P, H, L), which has the panels of its transpose.

    ``gradient`` (B, T, P · L or less), ``sent`` (B, T, H) and ``start`` (B, H) are those of ``weight_gradient``. Of the
    P · H pairs of a panel and a unit, counted panel by panel, only those from ``begin`` to ``end`` are computed.

    The frames of a block take the place of the rows of a panel: each unit's events, the frames before which it had sent
    something, select the gradients of those frames.
    """
    batch, frames, columns = gradient.shape
    size, width, length = sent.shape[2], result.shape[2], SPAN * BLOCK
    index, value = np.empty((size, length + 1), np.int32), np.empty((size, length + 1), sent.dtype)
    splits, panel = np.zeros((SPAN + 1, size), np.int64), np.zeros(BLOCK * width, sent.dtype)
    for row in range(batch):
        for first in range(0, frames, length):
            last = min(first + length, frames)
            _find_by_unit(sent[row], start[row], first, last, index, value, splits)
            for column in range(begin // size, (end + size - 1) // size):
                left, right = column * width, min((column + 1) * width, columns)
                for block in range((last - first + BLOCK - 1) // BLOCK):
                    origin = first + block * BLOCK
                    for n in range(origin, min(origin + BLOCK, last)):
                        place = (n - origin) * width
                        fetch_all(gradient[row, min(n + AHEAD, frames - 1), left:right])
                        copy(gradient[row, n, left:right], panel[place : place + right - left])
                    for unit in range(max(begin - column * size, 0), min(end - column * size, size)):
                        first_event, last_event = splits[block, unit], splits[block + 1, unit]
                        fetch_all(result[column, min(unit + 1, size - 1)])
                        if first_event < last_event:
                            accumulate(
                                result, (column * size + unit) * width, index, value, unit * (length + 1) + first_event,
                                unit * (length + 1) + last_event, panel, 0,
                            )


@njit(cache=True, nogil=True)
def _find_by_unit(sent, start, first, last, index, value, splits):
    """Find, for each unit, the frames among ``first`` to ``last`` - 1 before which it had sent something.

    ``sent`` (T, H) and ``start`` (H,) are those of one row. ``index`` and ``value`` (H, SPAN · BLOCK + 1) receive the
    frame, counted from the beginning of its block, and what was sent. The frames of block b lie from ``splits[b]`` to
    ``splits[b + 1]``, (H,) each.
    """
    found = np.zeros(sent.shape[1], np.int64)
    sending, values, blocks = event_buffers(1, sent.shape[1], sent)
    for n in range(first, last):
        if (n - first) % BLOCK == 0:
            copy(found, splits[(n - first) // BLOCK])
        find_events(start if n == 0 else sent[n - 1], 0, sending, values, blocks)
        for k in range(blocks[0, -1]):  # there are few of them: an entry for every unit would take longer than the sums
            unit = sending[0, k]
            index[unit, found[unit]] = (n - first) % BLOCK
            value[unit, found[unit]] = values[0, k]
            found[unit] += 1
    copy(found, splits[(last - first + BLOCK - 1) // BLOCK])


def weight_gradient(gradient: Tensor, sent: Tensor, start: Tensor) -> Tensor:
    """The gradient (G, H) of recurrent weights, from the ``gradient`` (B, T, G) of their products.

    It is the sum over all frames n and rows of gradient[:, n] times what was sent at the frame before: sent[:, n - 1]
    of ``sent`` (B, T, H), or ``start`` (B, H) if n = 0. If events are few enough, only they are multiplied.
    """
    sent = sent.detach().contiguous()
    if _count(sent.view(-1).numpy()) > DENSEST * sent.numel():
        before = torch.cat([start.unsqueeze(1), sent[:, :-1]], dim=1)
        return gradient.flatten(0, 1).T @ before.flatten(0, 1)
    gradient, start = gradient.detach().contiguous(), start.detach().contiguous()
    width, (columns, size) = panel_width(gradient.numpy().dtype), (gradient.shape[2], sent.shape[2])
    result = gradient.new_zeros(-(-columns // width), size, width)

    def run(pairs: slice) -> None:
        _gather(gradient.numpy(), sent.numpy(), start.numpy(), pairs.start, pairs.stop, result.numpy())

    share(run, len(result) * size)
    return result.transpose(1, 2).reshape(-1, size)[:columns]


def no_panels(like: Tensor) -> np.ndarray:
    """The panels (0, 0, 0) of a layer without recurrent weights."""
    return like.new_zeros(0, 0, 0).numpy()
