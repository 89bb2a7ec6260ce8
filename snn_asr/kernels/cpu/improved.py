"""The gated layers v1 and v2 (cells/improved.py) as numba loops over events."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numba import njit
from torch import Tensor

from snn_asr.cells.improved import Parameters, State
from snn_asr.coders import Coder
from snn_asr.kernels import Trace
from snn_asr.kernels.cpu import add_events, dense, share, transposed
from snn_asr.kernels.reference import improved as reference
from snn_asr.kernels.reference.improved import Factors


@njit(cache=True, nogil=True, inline="always")
def send(current, membrane, output, levels, spiking):
    """coders.send for one row (H,), in place."""
    limit, scale, unit, threshold, zero = levels
    if not spiking:
        membrane[:] = current
        output[:] = current
        return
    for k in range(current.shape[0]):
        potential = (membrane[k] - output[k]) + current[k]
        membrane[k] = potential
        level = np.trunc(min(max(potential, -limit), limit) * scale)
        output[k] = level * unit if abs(level) > threshold else zero


def levels(coder: Coder | None, like: Tensor) -> tuple:
    """The numbers of ``send``, in the precision of ``like``."""
    numbers = (0, 0, 0, 0) if coder is None else (coder.range, coder.scale, coder.unit, coder.threshold)
    return tuple(like.numpy().dtype.type(each) for each in (*numbers, 0))


@njit(cache=True, nogil=True)
def _forward_rows(sums, lengths, recurrent, mask, clamped, spiking, levels, numbers, start, trace):
    """``sums`` holds the drive and receives the recurrent product; all ``numbers`` have its precision."""
    smoothing, zero, one = numbers
    currents, membranes, feedbacks, outputs = trace
    size = outputs.shape[2]
    masked, smoothed = mask.shape[1] > 0, feedbacks.shape[2] > 0
    for row in range(sums.shape[0]):
        current, membrane, output = start[0][row].copy(), start[1][row].copy(), start[3][row].copy()
        feedback, product = start[2][row].copy(), np.zeros_like(start[2][row])
        for n in range(lengths[row]):
            total = sums[row, n]
            if smoothed:
                product[:] = zero
                add_events(output, recurrent, product)
                for k in range(2 * size):
                    feedback[k] = product[k] + smoothing * (feedback[k] - product[k])
                    total[k] += feedback[k]
                feedbacks[row, n] = feedback
            elif recurrent.shape[0] > 0:
                add_events(output, recurrent, total)
            for k in range(size):
                forget = one / (one + np.exp(-total[k]))
                candidate = max(total[size + k], zero)
                if clamped:
                    candidate = min(candidate, one)
                if masked:
                    candidate = candidate * mask[row, k]
                current[k] = forget * current[k] + (one - forget) * candidate
            send(current, membrane, output, levels, spiking)
            currents[row, n], membranes[row, n], outputs[row, n] = current, membrane, output


@njit(cache=True, nogil=True)
def _backward_frames(first, last, gradient, fed_back, given, spiking, smoothing, carried, drive, feedback):
    """Frames last-1 .. first of the recursion in ``kernels.reference.improved``, all element-wise work in one pass.

    ``fed_back`` (B, H) is what came back through U, read at every frame: zero where several frames run at once.
    """
    gates, decay, inside = given
    membranes, currents, feedbacks = carried
    rows, size = currents.shape
    blocks = drive.shape[2] // size
    for row in range(rows):
        for n in range(last - 1, first - 1, -1):
            for k in range(size):
                total = gradient[row, n, k] + fed_back[row, k]
                if spiking:
                    membrane = membranes[row, k]
                    membrane = membrane + inside[row, n, k] * (total - membrane)
                    membranes[row, k] = membrane
                    total = membrane
                total += currents[row, k]
                for block in range(blocks):
                    drive[row, n, block * size + k] = total * gates[row, n, block * size + k]
                currents[row, k] = total * decay[row, n, k]
            if feedback.shape[2] > 0:
                for k in range(blocks * size):
                    feedbacks[row, k] = drive[row, n, k] + smoothing * feedbacks[row, k]
                    feedback[row, n, k] = feedbacks[row, k]


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """As the reference; frames beyond ``lengths`` are not computed, their outputs are zero."""
    batch, frames = drive.shape[:2]
    sums = drive if parameters.recurrent is None else drive.clone(memory_format=torch.contiguous_format)
    states = State(*(drive.new_zeros(batch, frames, each.shape[1]) for each in state))
    recurrent, mask = transposed(parameters.recurrent, drive), dense(parameters.mask, drive)
    sums, coder = sums.contiguous(), parameters.coder
    numbers = tuple(sums.numpy().dtype.type(each) for each in (parameters.smoothing, 0, 1))
    start = [each.contiguous() for each in state]

    def run(rows: slice) -> None:
        _forward_rows(
            sums[rows].numpy(), lengths[rows].numpy(), recurrent.numpy(), mask[rows].numpy(),
            parameters.candidate == "clamp", coder is not None, levels(coder, sums), numbers,
            tuple(each[rows].numpy() for each in start), tuple(each[rows].numpy() for each in states),
        )

    share(run, batch)
    return Trace(sums, states)


def recursion(gradient: Tensor, given: Factors, recurrent: Tensor | None, smoothing: float) -> tuple[Tensor, Tensor]:
    """As the reference's; without U all frames are one compiled pass."""
    frames, spiking = gradient.shape[1], given.inside is not None
    drive = torch.empty_like(given.gates, memory_format=torch.contiguous_format)
    feedback = torch.empty_like(drive) if smoothing else drive
    fed_back, *carried = (torch.zeros_like(each[:, 0]) for each in (gradient, gradient, gradient, feedback))
    gradient = gradient.contiguous().numpy()
    arrays = tuple((each if each is not None else drive[:, :, :0]).contiguous().numpy() for each in given)
    numbers = tuple(each.numpy() for each in carried)

    def run(first: int, last: int) -> None:
        _backward_frames(
            first, last, gradient, fed_back.numpy(), arrays, spiking, gradient.dtype.type(smoothing), numbers,
            drive.numpy(), (feedback if smoothing else feedback[:, :, :0]).numpy(),
        )

    if recurrent is None:
        run(0, frames)
        return drive, feedback
    for n in reversed(range(frames)):
        run(n, n + 1)
        torch.mm(feedback[:, n], recurrent, out=fed_back)
        if smoothing:
            fed_back *= 1 - smoothing
    return drive, feedback


backward = partial(reference.backward, recursion=recursion)
