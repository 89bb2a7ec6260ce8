"""Products of events, rows in which most numbers are zero, with a dense matrix.

Weights are packed in panels (tiles.py), (panels, D, L), columns filled up with zeros. A panel is walked in blocks of
rows that fit the first cache, and each block serves all rows of events before the next one is fetched: at a frame of a
batch, all utterances. Dense rows are events too, at about the speed of a dense product.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from snn_asr.kernel_cache import njit
from snn_asr.network.kernels.cpu.elementwise import clear, copy
from snn_asr.network.kernels.cpu.threads import share
from snn_asr.network.kernels.cpu.tiles import COMPRESSES, VECTOR_BYTES, accumulate, compress, fetch_line, panel_width

BLOCK = 64  # rows of a panel that are fetched at a time: 16 or 32 kB
SLACK = 16  # numbers that may be written behind the last event of a row
SPAN = 4  # blocks of frames in a weight gradient whose sums stay in the second cache
LINE = 16  # numbers of a line of the cache, in float32
AHEAD = 8  # frames that a weight gradient fetches before they are read
DENSEST = 0.5  # share of non-zero numbers above which a weight gradient is left to torch's dense product
_ROWS, _FOUND = 256, 1 << 16  # most rows and numbers among which events are found at a time in ``linear``


def pack(weights: Tensor) -> np.ndarray:
    """Weights (D, M) in panels (P, D, L)."""
    inputs, outputs = weights.shape
    width = panel_width(weights.detach().numpy().dtype)
    panels = -(-outputs // width)
    padded = torch.nn.functional.pad(weights.detach(), (0, panels * width - outputs))
    return padded.reshape(inputs, panels, width).transpose(0, 1).contiguous().numpy()


def blocks(inputs: int) -> int:
    return -(-inputs // BLOCK)


@njit(cache=True, nogil=True)
def event_buffers(rows, size, like):
    """``index``, ``value`` and ``splits`` of ``find_events`` for rows of ``size`` numbers, with the room it wants."""
    index, value = np.empty((rows, size + SLACK), np.int32), np.empty((rows, size + SLACK), like.dtype)
    return index, value, np.zeros((rows, (size + BLOCK - 1) // BLOCK + 1), np.int64)


@njit(cache=True, nogil=True)
def find_events(given, row, index, value, splits):
    """Events of ``given`` (D,) into row ``row`` of ``index`` and ``value`` (R, D + SLACK); those of block c of rows of
    the weights lie from ``splits[row, c]`` to ``splits[row, c + 1]``."""
    found, size, lanes = 0, given.shape[0], VECTOR_BYTES // given.itemsize
    own_index, own_value = index[row], value[row]
    splits[row, 0] = 0
    for block in range(splits.shape[1] - 1):
        first, last = block * BLOCK, min((block + 1) * BLOCK, size)
        if COMPRESSES:
            while first + lanes <= last:
                found += compress(given, first, own_index, own_value, found)
                first += lanes
        for j in range(first, last):
            own_index[found] = j
            own_value[found] = given[j]
            found += given[j] != 0
        splits[row, block + 1] = found


@njit(cache=True, nogil=True)
def add_events(index, value, splits, panels, backwards, totals):
    """totals (R, P · L) += events of R rows times ``panels`` (P, D, L), the last panel first where it goes
    ``backwards``."""
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
    """inputs (N, D) times weights (M, D) transposed, skipping zero inputs; each row in one fixed order."""
    inputs, panels = inputs.detach().contiguous(), pack(weights.detach().T)
    result = inputs.new_empty(inputs.shape[0], weights.shape[0])
    share(lambda rows: _multiply_rows(inputs[rows].numpy(), panels, result[rows].numpy()), inputs.shape[0])
    return result


@njit(cache=True, nogil=True)
def fetch_all(numbers):
    """Have the processor fetch numbers (N,) that are soon read, where it cannot foresee it, and wait for nothing."""
    for k in range(0, numbers.shape[0], LINE):
        fetch_line(numbers, k)


@njit(cache=True, nogil=True)
def _count(values):
    """How many of the values (N,) are not zero."""
    found = 0
    for k in range(values.shape[0]):
        found += values[k] != 0
    return found


@njit(cache=True, nogil=True)
def _gather(gradient, sent, start, begin, end, result):
    """result (P, H, L) += sum over rows and frames of the outputs before, times the gradient's columns; of all P · H
    pairs those from ``begin`` to ``end``."""
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
    """Frames first .. last - 1 at which each unit had sent something the frame before, as frames of their block."""
    found = np.zeros(sent.shape[1], np.int64)
    sending, values, blocks = event_buffers(1, sent.shape[1], sent)
    for n in range(first, last):
        if (n - first) % BLOCK == 0:
            copy(found, splits[(n - first) // BLOCK])
        find_events(start if n == 0 else sent[n - 1], 0, sending, values, blocks)
        for k in range(blocks[0, -1]):  # few: to write an entry for every unit takes longer than the sums
            unit = sending[0, k]
            index[unit, found[unit]] = (n - first) % BLOCK
            value[unit, found[unit]] = values[0, k]
            found[unit] += 1
    copy(found, splits[(last - first + BLOCK - 1) // BLOCK])


def weight_gradient(gradient: Tensor, sent: Tensor, start: Tensor) -> Tensor:
    """Gradient (G, H) of a recurrent weight: the sum of gradient[:, n] (B, G) times sent[:, n - 1] (B, H), ``start`` at
    n = 0. Events alone are multiplied where they are few enough."""
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
    """Packed weights of a layer that has none."""
    return like.new_zeros(0, 0, 0).numpy()
