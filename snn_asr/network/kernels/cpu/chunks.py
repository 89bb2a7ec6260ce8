"""Backward recursions whose factors come from torch (any surrogate derivative): some frames at a time, from the end,
so that the factors of a chunk stay in the cache and those of the whole sequence are never in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from snn_asr.network.kernels import Trace

FRAMES = 32


def from_the_end(trace: Trace, state: NamedTuple) -> Iterator[tuple[slice, Trace, NamedTuple]]:
    """Frames of a chunk, its part of the trace, and the state before it."""
    frames = trace.sums.shape[1]
    for first in reversed(range(0, frames, FRAMES)):
        part = slice(first, min(first + FRAMES, frames))
        before = type(state)(*(each[:, first - 1] for each in trace.states)) if first else state
        yield part, Trace(trace.sums[:, part], type(state)(*(each[:, part] for each in trace.states))), before
