"""The leaky integrator of network/integrator.py: a loop over the frames of each row, forward and backward.

    z[n] = z[n-1] + (1 - a) (y[n] - z[n-1])                                 forward, rounded as torch.lerp rounds
    c[n] = g_z[n] + a c[n+1],  g_y = (1 - a) c,  g_a = Σ c[n] (z[n-1] - y[n])        backward

A mean below the smallest normal floating-point number becomes 0. After a unit has fallen silent, its mean would shrink
to a denormal number and stay there, and a product with such a number takes a processor a hundred cycles. When a
hundredth of the means were denormal, the products behind a RadLIF layer took ten times as long.
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
    """torch.lerp(before, after, weight), which starts from the nearer end: ``near`` says that the weight is below 1/2.

    ``numbers`` are the weight 1 - a, the coefficient a, the smallest normal number and 0.
    """
    weight, rest, smallest, zero = numbers
    for k in range(result.shape[0]):
        step = after[k] - before[k]
        mean = before[k] + weight * step if near else after[k] - step * rest
        result[k] = zero if abs(mean) < smallest else mean  # NaN stays NaN


@njit(cache=True, nogil=True)
def _forward_rows(events, lengths, start, numbers, near, result):
    """Fill z (B, T, H) within the lengths, from y, ``events`` (B, T, H), and ``start`` (B, H)."""
    for row in range(events.shape[0]):
        for n in range(lengths[row]):
            before = result[row, n - 1] if n else start[row]
            _blend(before, events[row, n], numbers, near, result[row, n])


@njit(cache=True, nogil=True, fastmath=FAST)
def _carry(gradient, weight, rest, carried, grad_events):
    """c[n] from c[n+1] in place in ``carried``, and g_y."""
    for k in range(carried.shape[0]):
        carried[k] = gradient[k] + rest * carried[k]
    for k in range(carried.shape[0]):
        grad_events[k] = weight * carried[k]


@njit(cache=True, nogil=True)
def _backward_rows(gradient, lengths, numbers, carried, grad_events):
    """Fill g_y (B, T, H) within the lengths, from g_z, ``gradient``. ``carried`` (B, H) starts at 0."""
    weight, rest, _, _ = numbers
    for row in range(gradient.shape[0]):
        for n in range(lengths[row] - 1, -1, -1):
            _carry(gradient[row, n], weight, rest, carried[row], grad_events[row, n])


class _LowPass(torch.autograd.Function):
    """``low_pass`` as one operation of autograd."""

    @staticmethod
    def forward(ctx: Any, events: Tensor, coefficient: Tensor, lengths: Tensor, start: Tensor) -> Tensor:
        events, start = events.detach().contiguous(), start.detach().contiguous()
        result = room(events, lengths, events.shape[2])
        weight = float(1 - coefficient)
        kind = events.numpy().dtype
        numbers = tuple(kind.type(each) for each in (weight, 1 - weight, np.finfo(kind).tiny, 0))

        def run(rows: slice) -> None:
            _forward_rows(
                events[rows].numpy(), lengths[rows].numpy(), start[rows].numpy(), numbers, weight < 0.5,
                result[rows].numpy(),
            )

        share(run, len(events))
        ctx.save_for_backward(lengths, *((events, start, result) if ctx.needs_input_grad[1] else ()))
        ctx.numbers = numbers
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):
        lengths, *kept = ctx.saved_tensors
        gradient, numbers = gradient.contiguous(), ctx.numbers
        grad_events, carried = room(gradient, lengths, gradient.shape[2]), torch.zeros_like(gradient[:, 0])

        def run(rows: slice) -> None:
            _backward_rows(
                gradient[rows].numpy(), lengths[rows].numpy(), numbers, carried[rows].numpy(), grad_events[rows].numpy()
            )

        share(run, len(gradient))
        grad_coefficient = None
        if kept:
            events, start, result = kept
            before = torch.cat([start.unsqueeze(1), result[:, :-1]], dim=1)
            grad_coefficient = (grad_events * (before - events)).sum() / float(numbers[0])
        return grad_events, grad_coefficient, None, None


def low_pass(events: Tensor, lengths: Tensor, coefficient: Tensor | float, start: Tensor) -> Tensor:
    """The leaky integrator z (B, T, H) of events y (B, T, H), zero beyond the lengths (B,).

    ``coefficient`` is a, and ``start`` (B, H) is z before the first frame. It is differentiable in the events and in a
    coefficient that is a tensor.
    """
    coefficient = coefficient if isinstance(coefficient, Tensor) else torch.tensor(coefficient, dtype=torch.float64)
    return _LowPass.apply(events, coefficient, lengths, start)
