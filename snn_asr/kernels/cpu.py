"""The gated spiking layer on the CPU: numba loops over events, compiled on first use and cached.

Each row (utterance) is walked alone: the recurrent product adds the weight rows of the units that sent something
at the last frame, in the order of the units. The sums of a row therefore never depend on its companions, its padding
or on how it was cut into chunks: batched, alone and chunked results are equal bit for bit.
Rows are shared among as many threads as torch uses.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from numba import njit
from torch import Tensor

from snn_asr.cells.improved_v2 import Parameters, State
from snn_asr.kernels.reference import Trace, backward_factors


@njit(cache=True, nogil=True)
def _forward_rows(sums, lengths, recurrent, mask, masked, spiking, clamped, numbers, start, trace):
    """``sums`` holds the drive and receives U Y[n-1]; all ``numbers`` have its precision."""
    limit, scale, unit, threshold, zero, one = numbers
    currents, membranes, outputs = trace
    size = outputs.shape[2]
    for row in range(sums.shape[0]):
        current, membrane, output = start[0][row].copy(), start[1][row].copy(), start[2][row].copy()
        for n in range(lengths[row]):
            total = sums[row, n]
            for j in range(size):
                if output[j] != 0:
                    event = output[j]
                    weights = recurrent[j]
                    for k in range(2 * size):
                        total[k] += event * weights[k]
            for k in range(size):
                forget = one / (one + np.exp(-total[k]))
                candidate = max(total[size + k], zero)
                if clamped:
                    candidate = min(candidate, one)
                if masked:
                    candidate = candidate * mask[row, k]
                current[k] = forget * current[k] + (one - forget) * candidate
            if spiking:
                for k in range(size):
                    potential = (membrane[k] - output[k]) + current[k]
                    membrane[k] = potential
                    level = np.trunc(min(max(potential, -limit), limit) * scale)
                    output[k] = level * unit if abs(level) > threshold else zero
            else:
                membrane[:] = current
                output[:] = current
            currents[row, n], membranes[row, n], outputs[row, n] = current, membrane, output


@njit(cache=True, nogil=True)
def _backward_frame(gradient, carried_output, factors, n, spiking, gradient_membrane, carried_current, drive):
    """One frame of the recursion in ``kernels.reference.backward``, all element-wise work in one pass."""
    to_forget, to_candidate, forget, through = factors
    rows, size = carried_current.shape
    for row in range(rows):
        for k in range(size):
            total = gradient[row, n, k] + carried_output[row, k]
            if spiking:
                membrane = gradient_membrane[row, k]
                membrane = membrane + through[row, n, k] * (total - membrane)
                gradient_membrane[row, k] = membrane
                total = membrane
            total += carried_current[row, k]
            drive[row, n, k] = total * to_forget[row, n, k]
            drive[row, n, size + k] = total * to_candidate[row, n, k]
            carried_current[row, k] = total * forget[row, n, k]


@njit(cache=True, nogil=True)
def _add_event_rows(inputs, weights, result):
    """result[row] = sum of inputs[row, j] · weights[j] over the non-zero inputs, in order of j."""
    for row in range(inputs.shape[0]):
        total = result[row]
        for j in range(inputs.shape[1]):
            if inputs[row, j] != 0:
                event = inputs[row, j]
                for k in range(total.shape[0]):
                    total[k] += event * weights[j, k]


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """As ``kernels.reference.forward``; frames beyond ``lengths`` are not computed, their outputs are zero."""
    coder = parameters.coder
    batch, frames, size = drive.shape[0], drive.shape[1], state.output.shape[1]
    sums = drive.detach().clone(memory_format=torch.contiguous_format)
    trace = Trace(sums, *(drive.new_zeros(batch, frames, size) for _ in range(3)))
    recurrent = parameters.recurrent.detach().T.contiguous()
    mask = drive.new_zeros(0, 0) if parameters.mask is None else parameters.mask.contiguous()
    kind = trace.sums.numpy().dtype.type
    levels = (0, 0, 0, 0) if coder is None else (coder.range, coder.scale, coder.unit, coder.threshold)
    numbers = tuple(kind(each) for each in (*levels, 0, 1))
    start = [each.detach().contiguous() for each in state]

    def run(rows: slice) -> None:
        _forward_rows(
            sums[rows].numpy(), lengths[rows].numpy(), recurrent.numpy(), mask[rows].numpy(),
            parameters.mask is not None, coder is not None, parameters.candidate == "clamp", numbers,
            tuple(each[rows].numpy() for each in start), tuple(each[rows].numpy() for each in trace[1:]),
        )

    _share(run, batch)
    return trace


def backward(gradient: Tensor, trace: Trace, state: State, parameters: Parameters) -> Tensor:
    """As ``kernels.reference.backward``, with the element-wise work of a frame in one compiled pass."""
    factors = tuple(each.contiguous().numpy() for each in backward_factors(trace, state, parameters))
    drive = torch.zeros_like(trace.sums)
    gradient_membrane, carried_current, carried_output = (torch.zeros_like(state.current) for _ in range(3))
    views = gradient.contiguous().numpy(), drive.numpy(), gradient_membrane.numpy(), carried_current.numpy()
    for n in reversed(range(gradient.shape[1])):
        _backward_frame(
            views[0], carried_output.numpy(), factors, n, parameters.coder is not None, views[2], views[3], views[1]
        )
        torch.mm(drive[:, n], parameters.recurrent.detach(), out=carried_output)
    return drive


def linear(inputs: Tensor, weights: Tensor) -> Tensor:
    """inputs (N, D) times weights (M, D) transposed, skipping zero inputs; each row in one fixed order."""
    result = inputs.new_zeros(inputs.shape[0], weights.shape[0])
    transposed = weights.detach().T.contiguous().numpy()
    _share(lambda rows: _add_event_rows(inputs[rows].numpy(), transposed, result[rows].numpy()), inputs.shape[0])
    return result


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="snn-asr")


def _share(run, rows: int) -> None:
    """Call ``run(slice)`` over all rows, in as many equal parts as torch has threads."""
    threads = min(torch.get_num_threads(), rows)
    if threads <= 1:
        run(slice(0, rows))
        return
    bounds = [rows * part // threads for part in range(threads + 1)]
    list(_pool(threads).map(run, (slice(*pair) for pair in zip(bounds[:-1], bounds[1:], strict=True))))
