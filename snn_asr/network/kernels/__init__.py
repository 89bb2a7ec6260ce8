"""Kernels: loops over all frames of a batch, forward and backward, and the one place that chooses a backend.

    kernels/reference/<cell>.py   plain PyTorch on any device; the other kernels are checked against it
    kernels/cpu/<cell>.py         numba, on the CPU
    kernels/triton/<cell>.py      Triton, on a CUDA device
    kernels/cuda/<cell>.py        CUDA C++, on a Hopper GPU or a later one
    kernels/dense.py              dense products that leave padding alone

Kernels are optional. A cell without kernels runs as a loop over its own ``step``, on any device, with gradients by
autograd. The kernels of a cell are a module with two functions, where ``drive`` is (B, T, gates · H), ``lengths`` (B,)
are frames, and State and Parameters are those of the cell:

    forward(drive, lengths, state, parameters) -> Trace
    backward(gradient (B, T, H), trace, state, parameters) -> gradients of the drive and of the cell's TRAINED fields

``run_sequence`` makes one differentiable operation of both. Besides, every backend has ``linear(inputs, weights)``;
``low_pass``, the leaky integrator of network/integrator.py; and ``hold``, the values that network/changes.py sends.
"""

from __future__ import annotations

import importlib.util
import logging
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snn_asr.errors import UsageError, unknown_name
from snn_asr.network.cells import CellParameters, CellState
from snn_asr.network.lengths import Lengths

BACKENDS = ("auto", "reference", "cpu", "triton", "cuda")
DEVICES = {"cuda": "cuda", "triton": "cuda", "cpu": "cpu"}  # the type of device that each needs, faster backends first
SHIFTING = ("reference", "cpu")  # the backends whose kernels have levels and gates that are powers of two
CELLS = "snn_asr.network.cells."


def choose_backend(requested: str, device: torch.device, frame_by_frame: bool = False) -> str:
    """The name of the backend that runs ``requested`` on ``device``.

    ``auto`` chooses ``cpu`` on the CPU, and on a GPU the fastest backend that can run there: ``cuda``, ``triton``, or
    else ``reference``. With ``frame_by_frame`` all rows have to reach a frame before any row goes on to the next; only
    the reference does that.

    Raises UsageError for an unknown name, and for a backend that was asked for but cannot run.
    """
    if requested not in BACKENDS:
        raise unknown_name("backend", requested, BACKENDS)
    if requested == "auto":
        fast = [] if frame_by_frame else [name for name, kind in DEVICES.items() if kind == device.type]
        requested = next((name for name in fast if not missing_for(name, device)), "reference")
    elif requested != "reference":
        _check_able(requested, device, frame_by_frame)
    if not torch.compiler.is_compiling():
        _log_once(requested, device.type)
    return requested


def _check_able(requested: str, device: torch.device, frame_by_frame: bool) -> None:
    if device.type != DEVICES[requested]:
        raise UsageError(
            f"backend '{requested}' cannot run on {device.type}", "backend",
            f"use backend=auto or --device {DEVICES[requested]}",
        )
    if frame_by_frame:
        raise UsageError(
            f"backend '{requested}' cannot train with a range that moves at every frame", "backend", "use backend=auto"
        )
    lack = missing_for(requested, device)
    if lack:
        raise UsageError(f"backend '{requested}' needs {lack}", "backend", "provide it, or use backend=auto")


@cache
def missing_for(name: str, device: torch.device) -> str | None:
    """What is missing for the backend ``name`` to run on this device, or None if it can run."""
    if name in ("triton", "cuda") and not is_installed("triton"):
        return "the package triton"
    if name == "cuda" and not (is_installed("cuda") and is_installed("cuda.core") and is_installed("cuda.bindings")):
        return "the package cuda-core (pip install 'snn-asr[cuda]')"
    if name == "cuda" and torch.cuda.get_device_capability(device) < (9, 0):
        return "a GPU of compute capability 9.0 or later"
    return None


def is_installed(package: str) -> bool:
    """Whether a package, or a module of one, is there to be imported."""
    return importlib.util.find_spec(package) is not None


@cache
def _log_once(name: str, device: str) -> None:
    logging.getLogger(__name__).info("computing with the %s backend on %s", name, device)


def load(backend: str, cell: ModuleType | None = None) -> ModuleType:
    """The package of a backend, or its module with the kernels of a cell."""
    suffix = "" if cell is None else "." + _short_name(cell)
    return importlib.import_module(f"{__name__}.{backend}{suffix}")


def backend_of(backend: str, cell: ModuleType, parameters: CellParameters) -> str | None:
    """The backend that runs a cell with these parameters when ``backend`` is asked for.

    If that backend has no kernels for them, it is a slower one on the same type of device, then the reference, and None
    for a cell that has no kernels at all. Whatever differs from what was asked for is logged once.
    """
    names, shifting = list(DEVICES), _shifting(parameters)  # faster backends first
    slower = names[names.index(backend) + 1 :] if backend in names else []
    for each in (backend, *(other for other in slower if DEVICES[other] == DEVICES[backend]), "reference"):
        if has_kernel(each, cell) and (each in SHIFTING or not shifting):
            if each != backend:
                what = f"{_short_name(cell)} with powers of two" if shifting else _short_name(cell)
                warn_once(f"{what} has no kernels for backend '{backend}': it runs on '{each}'")
            return each
    warn_once(f"{_short_name(cell)} has no kernels: its own step is walked frame by frame, which is slow")
    return None


def _shifting(parameters: CellParameters) -> bool:
    """Whether levels or gates are powers of two."""
    coder = getattr(parameters, "coder", None)
    return bool(getattr(parameters, "shifting", False)) or (coder is not None and coder.powers)


@cache
def has_kernel(backend: str, cell: ModuleType) -> bool:
    """Whether a backend has a kernel of a cell: a module under the cell's name."""
    known = cell.__name__.startswith(CELLS)  # another package's module may have the same short name
    return known and importlib.util.find_spec(f"{__name__}.{backend}.{_short_name(cell)}") is not None


@cache
def warn_once(message: str) -> None:
    """Write a warning to the log, unless this process has written it before."""
    logging.getLogger(__name__).warning("%s", message)


def _short_name(cell: ModuleType) -> str:
    return cell.__name__.rpartition(".")[2]


class Trace(NamedTuple):
    """What a forward pass keeps for the backward pass.

    ``sums`` (B, T, gates · H) are what the functions of the gates are applied to: usually the drive plus the recurrent
    product. ``states`` is the cell's State after every frame, each field (B, T, its width).
    """

    sums: Tensor
    states: CellState


class _Sequence(torch.autograd.Function):
    """The kernels of a cell as one operation of autograd.

    ``run`` is the list [kernel, cell, lengths, state, parameters], to which the forward pass appends its Trace.
    """

    @staticmethod
    def forward(ctx: Any, run: list, drive: Tensor, *trained: Tensor) -> Tensor:
        kernel, cell, lengths, state, parameters = run
        parameters = parameters._replace(**{
            name: None if each is None else each.detach() for name, each in zip(cell.TRAINED, trained, strict=True)
        })
        trace = kernel.forward(drive.detach(), lengths.tensor, state, parameters)
        outputs = lengths.without_padding(trace.states.output)
        ctx.save_for_backward(outputs)
        ctx.run, ctx.sums, ctx.others = (kernel, lengths, state, parameters), trace.sums, trace.states[:-1]
        run.append(Trace(trace.sums, trace.states._replace(output=outputs)))
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kernel, lengths, state, parameters = ctx.run
        trace = Trace(ctx.sums, type(state)(*ctx.others, *ctx.saved_tensors))
        gradient = lengths.without_padding(gradient)
        return None, *kernel.backward(gradient, trace, state, parameters)


def run_sequence(
    cell: ModuleType, drive: Tensor, lengths: Tensor | Lengths, state: CellState, parameters: CellParameters,
    backend: str,
) -> tuple[Tensor, CellState, CellState]:
    """Run a layer of ``cell``, a module of network/cells/, over all frames of its drive (B, T, gates · H).

    Returns three things: the outputs (B, T, H), which are zero beyond the lengths; the state after each row's last
    valid frame; and the states after every frame. The outputs are differentiable in the drive and in the cell's TRAINED
    parameters; states pass no gradient from one call to the next. ``torch.compile`` does not touch this function.
    """
    if torch.compiler.is_compiling():  # not a decorator: disable() at import would load the compiler for seconds
        return torch.compiler.disable(_run)(cell, drive, lengths, state, parameters, backend)
    return _run(cell, drive, lengths, state, parameters, backend)


def _run(
    cell: ModuleType, drive: Tensor, lengths: Tensor | Lengths, state: CellState, parameters: CellParameters,
    backend: str,
) -> tuple[Tensor, CellState, CellState]:
    lengths = Lengths.of(lengths, drive)
    state = type(state)(*(each.detach() for each in state))
    found = backend_of(backend, cell, parameters)
    if found is None:
        return _walk(cell, drive, lengths, state, parameters)
    run = [load(found, cell), cell, lengths, state, parameters]
    outputs = _Sequence.apply(run, drive, *(getattr(parameters, name) for name in cell.TRAINED))
    states = run.pop().states
    states = states._replace(output=states.output.detach())
    return outputs, last_states(states, lengths, state), states


def _walk(
    cell: ModuleType, drive: Tensor, lengths: Lengths, state: CellState, parameters: CellParameters
) -> tuple[Tensor, CellState, CellState]:
    """``run_sequence`` as a loop over the cell's ``step``, with gradients by autograd."""
    walked = load("reference").walk(cell, drive, state, parameters)
    outputs = lengths.without_padding(walked.output)
    states = type(state)(*(each.detach() for each in walked._replace(output=outputs)))
    return outputs, last_states(states, lengths, state), states


def last_states(states: CellState, lengths: Lengths, state: CellState) -> CellState:
    """The state (B, width) after each row's last valid frame, from the ``states`` (B, T, width) after every frame.

    A row without valid frames keeps the ``state`` from before the first frame.
    """
    return type(state)(*(lengths.last(each, old) for each, old in zip(states, state, strict=True)))
