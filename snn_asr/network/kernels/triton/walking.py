"""Launches recurrent kernels: one launch for each frame, captured in a CUDA graph.

A kernel takes ``table`` (tiles.py), ``clock``, ``numbers``, ``weights``, ``offset`` and options that are known when it
is compiled. A launch works on the frame clock + offset; the backward pass counts from the end. A graph holds FRAMES
launches and then moves the clock on, so that it serves sequences of any length. What a graph itself reads lies at
addresses that never change, and the table leads to everything else. Capturing a graph costs some milliseconds, once for
each kernel, size of layer and number of row tiles.

A persistent kernel could take the place of the launches of a graph with the same arguments. It would keep the weights
on the chip, and its programs would meet at a barrier after each frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple, overload

import torch
import triton
import triton.language as tl
from torch import Tensor

from snn_asr.network.cells import CellState
from snn_asr.network.coder import AnyCoder, FrameCoder

FRAMES = 32  # frames of a graph
GRAPHS = 64  # kept at a time: directions, sizes of layers, numbers of row tiles
STEP_TILE = {"ROWS": 16, "UNITS": 16, "DEPTH": 64, "num_warps": 4}  # batch 64, 550 units: 4 · 35 programs
NARROW = (torch.bfloat16, torch.float16)
KINDS = {
    torch.float32: tl.float32, torch.float64: tl.float64, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16,
}


class Arguments(NamedTuple):
    """The arguments of a kernel.

    ``table`` is explained in tiles.py, ``clock`` (1,) is the first frame, and ``numbers`` are scalars in the type of
    the state. ``weights`` are those of ``pack``, (0, 0) without a recurrent product.
    """

    table: Tensor
    clock: Tensor
    numbers: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Launch:
    """A kernel with the options that it is compiled for, and its grid of tiles of units and rows."""

    kernel: triton.runtime.JITFunction
    grid: tuple[int, int]
    options: tuple[tuple[str, Any], ...]

    def __call__(self, arguments: Mapping[str, object]) -> None:
        given = {**arguments, **dict(self.options)}
        taken = {name: given[name] for name in (*self.kernel.arg_names, "num_warps")}
        # Contracting V - level · unit to one instruction would subtract another number than the one that was sent.
        with torch.cuda.device_of(next(each for each in taken.values() if isinstance(each, Tensor))):
            self.kernel[self.grid](**taken, enable_fp_fusion=False)


def state_type(drive: Tensor) -> torch.dtype:
    """The type of the states for a drive."""
    return torch.float64 if drive.dtype == torch.float64 else torch.float32


def product_type(drive: Tensor, recurrent: Tensor) -> torch.dtype:
    """The type of the operands of the recurrent product: a narrow type if one of the two tensors has it."""
    narrow = (each.dtype for each in (drive, recurrent) if each.dtype in NARROW)
    return next(narrow, state_type(drive))


@overload
def dense(given: Tensor, kind: torch.dtype) -> Tensor: ...


@overload
def dense(given: None, kind: torch.dtype) -> None: ...


def dense(given: Tensor | None, kind: torch.dtype) -> Tensor | None:
    """The tensor without gradient, contiguous, in the type of the state."""
    return None if given is None else given.detach().to(kind).contiguous()


def coder_numbers(coder: AnyCoder | None) -> tuple[float, ...]:
    """The first four ``numbers`` of a kernel with a coder."""
    assert not isinstance(coder, FrameCoder), "a range that moves at every frame runs on the reference"
    return (0.0,) * 4 if coder is None else (coder.range, coder.scale, coder.unit, coder.threshold)


def slots(state: CellState, frames: int, kind: torch.dtype) -> CellState:
    """For each field of the state zeros (B, T + 1, width), with the state itself in the first frame."""
    found = [each.new_zeros(len(each), frames + 1, each.shape[1], dtype=kind) for each in state]
    for slot, start in zip(found, state, strict=True):
        slot[:, 0] = start
    return type(state)(*found)


def after(states: CellState) -> CellState:
    """The states after every frame (B, T, width), from ``slots``."""
    return type(states)(*(each[:, 1:] for each in states))


def pack(weights: Tensor, gates: int, kind: torch.dtype) -> Tensor:
    """The transpose (D, M · gates) of weights (gates · M, D), with the gates of a unit side by side, padded to
    tiles."""
    units, width = weights.shape[0] // gates, weights.shape[1]
    depth, tile = STEP_TILE["DEPTH"], STEP_TILE["UNITS"]
    packed = weights.new_zeros(_tiles(width, depth) * depth, _tiles(units, tile) * tile, gates, dtype=kind)
    packed[:width, :units] = weights.detach().reshape(gates, units, width).permute(2, 1, 0)
    return packed.flatten(1)


def walk(
    kernel: triton.runtime.JITFunction, size: int, lengths: Tensor | None, tensors: Sequence[Tensor | None],
    weights: Tensor, numbers: Sequence[float] = (0.0,), **flags: bool,
) -> None:
    """Run ``kernel`` over all frames of H = ``size`` units, or those within ``lengths``, with packed ``weights``.

    ``tensors`` are those that the cell's entries of the table lead to. They are contiguous and of one type, and the
    first is (B, T, ·). ``flags`` are the kernel's own options.
    """
    like = tensors[0]
    assert like is not None
    batch, frames = like.shape[:2]
    if not (batch and frames and size):
        return
    if _capturing(like):
        raise RuntimeError("a walk by frames on triton is a graph of its own, and cannot be captured in another")
    grid = _tiles(size, STEP_TILE["UNITS"]), _tiles(batch, STEP_TILE["ROWS"])
    if lengths is None:
        lengths = torch.full((batch,), frames, device=like.device)
    lengths = lengths.to(like.device, torch.int64).contiguous()
    longest = torch.nn.functional.pad(lengths, (0, grid[1] * STEP_TILE["ROWS"] - batch)).view(grid[1], -1).amax(1)
    addresses = [0 if each is None else each.data_ptr() for each in (lengths, longest, *tensors)]
    arguments = Arguments(
        _send([batch, frames, *addresses], torch.int64, like.device), lengths.new_zeros(1),
        send_numbers(numbers, like), weights,
    )
    options = {
        **STEP_TILE, **flags, "SIZE": size, "PITCH": weights.shape[1], "STATE": KINDS[like.dtype],
        "PRODUCT": KINDS[weights.dtype],
    }
    launch = Launch(kernel, grid, tuple(options.items()))
    with torch.cuda.device_of(like):
        if like.is_cuda:
            shapes = tuple((each.shape, each.dtype) for each in arguments)
            _captured(launch, like.device, torch.cuda.current_stream().cuda_stream, shapes).run(arguments, frames)
        else:
            for first in range(0, frames, FRAMES):
                _steps(launch, arguments, min(FRAMES, frames - first))


def _tiles(count: int, each: int) -> int:
    return -(-count // each)


def _send(values: Sequence[float], kind: torch.dtype, device: torch.device) -> Tensor:
    """Numbers on the device, without waiting for it."""
    here = torch.tensor(values, dtype=kind, device="cpu", pin_memory=device.type == "cuda")
    return here.to(device, non_blocking=True)


def send_numbers(numbers: Sequence[float], like: Tensor) -> Tensor:
    """The numbers as scalars on the device and in the type of ``like``.

    A graph that is being captured must not read them from the host, where they will be others when it runs.
    """
    if _capturing(like):
        return torch.stack([like.new_full((), each) for each in numbers])
    return _send(numbers, like.dtype, like.device)


def _capturing(like: Tensor) -> bool:
    return like.is_cuda and torch.cuda.is_current_stream_capturing()


def _steps(launch: Launch, arguments: Arguments, count: int) -> None:
    for offset in range(count):
        launch({**arguments._asdict(), "offset": offset})
    arguments.clock.add_(count)


class _Graph:
    """A CUDA graph of FRAMES launches, with buffers of its own."""

    def __init__(self, launch: Launch, device: torch.device, shapes: Sequence[tuple[torch.Size, torch.dtype]]) -> None:
        self.lock = Lock()
        self.buffers = Arguments(*(torch.zeros(shape, dtype=kind, device=device) for shape, kind in shapes))
        # The first launch, which compiles and loads the kernel (that must not happen under capture), finds nothing to
        # do: no rows, largest lengths of 0. What it reads all the same, a neuron's parameters say, are zeros: every
        # address in its table leads to as many of them as there are units and tiles of rows.
        size = dict(launch.options)["SIZE"]
        nothing = torch.zeros(max(size, launch.grid[1]), dtype=torch.int64, device=device)
        self.buffers.table[2:] = nothing.data_ptr()
        _steps(launch, self.buffers, 1)
        torch.cuda.synchronize(device)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            _steps(launch, self.buffers, FRAMES)

    def run(self, arguments: Arguments, frames: int) -> None:
        with self.lock:
            for own, given in zip(self.buffers, arguments, strict=True):
                own.copy_(given)
            for _ in range(0, frames, FRAMES):
                self.graph.replay()


@lru_cache(maxsize=GRAPHS)
def _captured(launch: Launch, device: torch.device, stream: int, shapes: tuple) -> _Graph:
    """The graph of a launch. There is one for each stream, because its buffers serve one walk at a time."""
    return _Graph(launch, device, shapes)
