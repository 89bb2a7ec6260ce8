"""The leaky integrator of integrator.py as one scan over the frames of a row, forward and backward.

    z[n] = z[n-1] + (1 - a) (y[n] - z[n-1])        forward, rounded as torch.lerp rounds
    c[n] = g_z[n] + a c[n+1],  g_y = (1 - a) c,  g_a = Σ c[n] (z[n-1] - y[n])

A mean below the smallest normal number becomes 0. That of a unit that has fallen silent would shrink to a denormal
number and stay one, and processors take a hundred cycles for each product with such a number: a hundredth of them made
the products behind a RadLIF layer ten times as slow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from snn_asr.kernel_cache import njit
from snn_asr.network.kernels.cpu.elementwise import FAST, room
from snn_asr.network.kernels.cpu.threads import share


@njit(cache=True, nogil=True, fastmath=FAST)
def _blend(before, after, numbers, near, result):
    """torch.lerp(before, after, weight), ``near`` where the weight is below one half: from the nearer end."""
    weight, rest, smallest, zero = numbers
    for k in range(result.shape[0]):
        step = after[k] - before[k]
        mean = before[k] + weight * step if near else after[k] - step * rest
        result[k] = zero if abs(mean) < smallest else mean  # NaN stays NaN


@njit(cache=True, nogil=True)
def _forward_rows(events, lengths, start, numbers, near, result):
    for row in range(events.shape[0]):
        for n in range(lengths[row]):
            before = result[row, n - 1] if n else start[row]
            _blend(before, events[row, n], numbers, near, result[row, n])


@njit(cache=True, nogil=True, fastmath=FAST)
def _carry(gradient, weight, rest, carried, to_events):
    for k in range(carried.shape[0]):
        carried[k] = gradient[k] + rest * carried[k]
    for k in range(carried.shape[0]):
        to_events[k] = weight * carried[k]


@njit(cache=True, nogil=True)
def _backward_rows(gradient, lengths, numbers, carried, to_events):
    weight, rest, _, _ = numbers
    for row in range(gradient.shape[0]):
        for n in range(lengths[row] - 1, -1, -1):
            _carry(gradient[row, n], weight, rest, carried[row], to_events[row, n])


class _LowPass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, events: Tensor, coefficient: Tensor, lengths: Tensor, start: Tensor) -> Tensor:
        events, start = events.detach().contiguous(), start.detach().contiguous()
        result = room(events, lengths, events.shape[2])
        weight = float(1 - coefficient)
        kind = events.numpy().dtype
        numbers = tuple(kind.type(each) for each in (weight, 1 - weight, np.finfo(kind).tiny, 0))

        def run(rows: slice) -> None:
            given = events[rows].numpy(), lengths[rows].numpy(), start[rows].numpy()
            _forward_rows(*given, numbers, weight < 0.5, result[rows].numpy())

        share(run, len(events))
        ctx.save_for_backward(lengths, *((events, start, result) if ctx.needs_input_grad[1] else ()))
        ctx.numbers = numbers
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):
        lengths, *kept = ctx.saved_tensors
        gradient, numbers = gradient.contiguous(), ctx.numbers
        to_events, carried = room(gradient, lengths, gradient.shape[2]), torch.zeros_like(gradient[:, 0])

        def run(rows: slice) -> None:
            _backward_rows(
                gradient[rows].numpy(), lengths[rows].numpy(), numbers, carried[rows].numpy(), to_events[rows].numpy()
            )

        share(run, len(gradient))
        to_coefficient = None
        if kept:
            events, start, result = kept
            before = torch.cat([start.unsqueeze(1), result[:, :-1]], dim=1)
            to_coefficient = (to_events * (before - events)).sum() / float(numbers[0])
        return to_events, to_coefficient, None, None


def low_pass(events: Tensor, lengths: Tensor, coefficient: Tensor | float, start: Tensor) -> Tensor:
    """z (B, T, H), zero beyond the lengths, differentiable in the events and in a coefficient that is a tensor."""
    coefficient = coefficient if isinstance(coefficient, Tensor) else torch.tensor(coefficient, dtype=torch.float64)
    return _LowPass.apply(events, coefficient, lengths, start)
