"""The leaky integrator of network/integrator.py in Triton, for any GPU: one scan over the frames, forward and backward.

    z[n] = z[n-1] + (1 - a) (y[n] - z[n-1])        forward, rounded as torch.lerp rounds
    c[n] = g_z[n] + a c[n+1],  g_y = (1 - a) c,  g_a = Σ c[n] (z[n-1] - y[n])

A program has one row and 32 units, one unit for each thread. The coefficient is read on the device, so that the host
does not have to wait for a learned one.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from snn_asr.network.kernels.triton.tiles import frames_ahead

UNITS = 32  # of a program: 128 bytes of float32 a frame
GROUP = 16  # frames whose loads are under way at a time


@triton.jit
def _weights(coefficient, STATE: tl.constexpr):
    """1 - a, a, and whether torch.lerp starts from its first end with such a weight."""
    weight = 1.0 - tl.load(coefficient)
    return weight.to(STATE), (1.0 - weight).to(STATE), weight < 0.5


@triton.jit
def _forward(
    events, lengths, coefficient, start, result, frames, SIZE: tl.constexpr, UNITS: tl.constexpr,
    GROUP: tl.constexpr, STATE: tl.constexpr,
):
    row, units = tl.program_id(1).to(tl.int64), tl.program_id(0) * UNITS + tl.arange(0, UNITS)
    here, length, place = units < SIZE, tl.load(lengths + row), row * frames * SIZE + units
    weight, rest, near = _weights(coefficient, STATE)
    z = tl.load(start + row * SIZE + units, mask=here, other=0.0).to(STATE)
    n = frames * 0
    while n < frames:
        given = frames_ahead(events + place, n, 1, length, here, SIZE, GROUP)
        for i in tl.static_range(GROUP):
            y = given[i].to(STATE)
            step = y - z
            z = tl.where(near, z + weight * step, y - step * rest)
            tl.store(result + place + (n + i) * SIZE, tl.where(n + i < length, z, 0.0), mask=here & (n + i < frames))
        n += GROUP


@triton.jit
def _backward(
    gradient, events, lengths, coefficient, start, result, to_events, to_coefficient, frames, SIZE: tl.constexpr,
    UNITS: tl.constexpr, GROUP: tl.constexpr, STATE: tl.constexpr, LEARNED: tl.constexpr,
):
    row, units = tl.program_id(1).to(tl.int64), tl.program_id(0) * UNITS + tl.arange(0, UNITS)
    here, length, place = units < SIZE, tl.load(lengths + row), row * frames * SIZE + units
    weight, rest, _ = _weights(coefficient, STATE)
    first = tl.load(start + row * SIZE + units, mask=here, other=0.0).to(STATE)
    carried, total = tl.full((UNITS,), 0.0, STATE), tl.full((UNITS,), 0.0, STATE)
    n = frames - 1
    while n >= 0:
        given = frames_ahead(gradient + place, n, -1, length, here, SIZE, GROUP)
        if LEARNED:
            before = frames_ahead(result + place - SIZE, n, -1, length, here, SIZE, GROUP, 1)
            sent = frames_ahead(events + place, n, -1, length, here, SIZE, GROUP)
        for i in tl.static_range(GROUP):
            carried = given[i].to(STATE) + rest * carried
            tl.store(to_events + place + (n - i) * SIZE, weight * carried, mask=here & (n - i >= 0))
            if LEARNED:
                earlier = tl.where(n - i > 0, before[i].to(STATE), first)
                total += tl.where((n - i >= 0) & (n - i < length), carried * (earlier - sent[i].to(STATE)), 0.0)
        n -= GROUP
    if LEARNED:
        tl.store(to_coefficient + row * SIZE + units, total, mask=here)


class _LowPass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, events: Tensor, coefficient: Tensor, lengths: Tensor, start: Tensor) -> Tensor:
        events, start, coefficient = (each.detach().contiguous() for each in (events, start, coefficient))
        result = torch.empty_like(events)
        _launch(_forward, events, lengths, coefficient, start, result)
        ctx.save_for_backward(events, lengths, coefficient, start, result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        events, lengths, coefficient, start, result = ctx.saved_tensors
        learned = ctx.needs_input_grad[1]
        to_events = torch.empty_like(events)
        to_coefficient = torch.empty_like(start, dtype=_state(events)) if learned else start
        given = gradient.contiguous(), events, lengths, coefficient, start, result, to_events, to_coefficient
        _launch(_backward, *given, LEARNED=learned)
        return to_events, to_coefficient.sum().to(coefficient) if learned else None, None, None


def _state(events: Tensor) -> torch.dtype:
    return torch.float64 if events.dtype == torch.float64 else torch.float32


def _launch(kernel: triton.runtime.JITFunction, first: Tensor, *others: Tensor, **flags: bool) -> None:
    batch, frames, size = first.shape
    if not (batch and frames and size):
        return
    state = tl.float64 if first.dtype == torch.float64 else tl.float32
    with torch.cuda.device_of(first):
        kernel[-(-size // UNITS), batch](
            first, *others, frames, SIZE=size, UNITS=UNITS, GROUP=GROUP, STATE=state, **flags, num_warps=1,
            enable_fp_fusion=False,
        )


def low_pass(events: Tensor, lengths: Tensor, coefficient: Tensor | float, start: Tensor) -> Tensor:
    """The leaky integrator z (B, T, H) of events y (B, T, H), zero beyond the lengths (B,).

    ``coefficient`` is a, and ``start`` (B, H) is z before the first frame. It is differentiable in the events and in a
    coefficient that is a tensor. Nothing is read back from the device.
    """
    if not isinstance(coefficient, Tensor):
        coefficient = torch.full((), coefficient, dtype=torch.float64, device=events.device)
    lengths = lengths.to(events.device, torch.int64, non_blocking=True).contiguous()
    return _LowPass.apply(events, coefficient, lengths, start)
