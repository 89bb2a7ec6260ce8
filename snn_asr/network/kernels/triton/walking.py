"""How recurrent kernels are launched: one step a frame, captured in a CUDA graph.

A kernel names what it takes: ``table`` (tiles.py), ``clock``, ``numbers``, ``weights``, ``offset``, and compile-time
options. A step works on the frame clock + offset (the backward counts from the end); a graph
holds FRAMES of them and moves the clock on, so that it serves sequences of any length: what it reads itself lies at
addresses that never change, and the table leads to the rest. Capturing costs some milliseconds, once for each kernel,
size of layer and number of row tiles.

A persistent kernel, which keeps the weights on chip and meets the others at a grid-wide barrier after each frame, could
take the place of a graph's steps with the same arguments.
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
    """``table`` (tiles.py), ``clock`` (1,) the first frame, ``numbers`` scalars in the type of the state, ``weights``
    as ``pack`` gives them, (0, 0) without a recurrent product."""

    table: Tensor
    clock: Tensor
    numbers: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Launch:
    """A kernel with all that it is compiled for, and its grid of tiles of units and rows."""

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
    """Type of the states for a drive."""
    return torch.float64 if drive.dtype == torch.float64 else torch.float32


def product_type(drive: Tensor, recurrent: Tensor) -> torch.dtype:
    """Type of the operands of the recurrent product: a narrow one where either tensor has it."""
    narrow = (each.dtype for each in (drive, recurrent) if each.dtype in NARROW)
    return next(narrow, state_type(drive))


@overload
def dense(given: Tensor, kind: torch.dtype) -> Tensor: ...


@overload
def dense(given: None, kind: torch.dtype) -> None: ...


def dense(given: Tensor | None, kind: torch.dtype) -> Tensor | None:
    """A tensor without gradient, contiguous, of the type of the state."""
    return None if given is None else given.detach().to(kind).contiguous()


def coder_numbers(coder: AnyCoder | None) -> tuple[float, ...]:
    """The first four ``numbers`` of a kernel with a coder."""
    assert not isinstance(coder, FrameCoder), "a range that moves at every frame runs on the reference"
    return (0.0,) * 4 if coder is None else (coder.range, coder.scale, coder.unit, coder.threshold)


def slots(state: CellState, frames: int, kind: torch.dtype) -> CellState:
    """For every field zeros (B, T + 1, width), the state itself in the first frame."""
    found = [each.new_zeros(len(each), frames + 1, each.shape[1], dtype=kind) for each in state]
    for slot, start in zip(found, state, strict=True):
        slot[:, 0] = start
    return type(state)(*found)


def after(states: CellState) -> CellState:
    """The states after every frame (B, T, width), from ``slots``."""
    return type(states)(*(each[:, 1:] for each in states))


def pack(weights: Tensor, gates: int, kind: torch.dtype) -> Tensor:
    """Weights (gates · M, D) transposed, the gates of a unit beside each other: (D, M · gates), padded to tiles."""
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

    ``tensors`` are what the cell's entries of the table lead to, contiguous, the first (B, T, ·), all of one type;
    ``flags`` are the kernel's own options.
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
    """Scalars in the type of ``like``, beside it. What is being captured must not read them from the host: there they
    will be others when it runs."""
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
    """FRAMES steps of a launch on buffers of its own."""

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
    """The graph of a launch; one for each stream, for its buffers serve one walk at a time."""
    return _Graph(launch, device, shapes)
