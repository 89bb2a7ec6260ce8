"""Whole-sequence forward and backward of the spiking layers, and the one place that chooses a backend.

``reference`` is plain PyTorch on any device and the specification; ``cpu`` is numba.
"""

from __future__ import annotations

import logging
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from snn_asr.cells.improved_v2 import Parameters, State
from snn_asr.errors import UsageError, unknown_name

BACKENDS = ("auto", "reference", "cpu")


def choose_backend(requested: str, device: torch.device) -> ModuleType:
    """The module that runs ``requested`` on ``device``; ``auto`` takes numba on the CPU, else the reference.

    Raises UsageError for an unknown name, and for ``cpu`` asked for on another device.
    """
    if requested not in BACKENDS:
        raise unknown_name("backend", requested, BACKENDS)
    if requested == "cpu" and device.type != "cpu":
        raise UsageError(f"backend 'cpu' cannot run on {device.type}", "backend", "use backend=auto or --device cpu")
    name = requested if requested != "auto" else "cpu" if device.type == "cpu" else "reference"
    _log_once(name, device.type)
    if name == "cpu":
        from snn_asr.kernels import cpu

        return cpu
    from snn_asr.kernels import reference

    return reference


@cache
def _log_once(name: str, device: str) -> None:
    logging.getLogger(__name__).info("spiking layers run on the %s backend (%s)", name, device)


def valid_frames(lengths: Tensor, frames: int) -> Tensor:
    """Mask (B, T), True where a frame lies within its row's length."""
    return torch.arange(frames, device=lengths.device) < lengths.unsqueeze(1)


class _GatedSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, drive, recurrent, lengths, state, parameters, backend):
        trace = backend.forward(drive, lengths, state, parameters)
        outputs = trace.outputs * valid_frames(lengths, drive.shape[1]).unsqueeze(-1)
        ctx.save_for_backward(*trace[:3], outputs, recurrent, lengths)
        ctx.state, ctx.parameters, ctx.backend = state, parameters, backend
        ctx.mark_non_differentiable(trace.currents, trace.membranes)
        return outputs, trace.currents, trace.membranes

    @staticmethod
    def backward(ctx, gradient, *_):
        from snn_asr.kernels.reference import Trace, previous

        *saved, recurrent, lengths = ctx.saved_tensors
        trace, state = Trace(*saved), ctx.state
        gradient = gradient * valid_frames(lengths, gradient.shape[1]).unsqueeze(-1)
        gradient_drive = ctx.backend.backward(gradient, trace, state, ctx.parameters._replace(recurrent=recurrent))
        delayed = previous(trace.outputs, state.output).flatten(0, 1)
        return gradient_drive, gradient_drive.flatten(0, 1).T @ delayed, None, None, None, None


def gated_sequence(
    drive: Tensor, lengths: Tensor, state: State, parameters: Parameters, backend: ModuleType
) -> tuple[Tensor, State, Tensor]:
    """All frames of a gated spiking layer (cells.improved_v2).

    ``drive`` (B, T, 2H), ``lengths`` (B,) frames. Returns outputs (B, T, H), zero beyond the lengths; the state after
    each row's last valid frame; and the membranes (B, T, H). Differentiable in drive and recurrent weights only:
    the state passes no gradient from one call to the next.
    """
    state = State(*(each.detach() for each in state))
    detached = parameters._replace(recurrent=parameters.recurrent.detach())
    outputs, currents, membranes = _GatedSequence.apply(
        drive, parameters.recurrent, lengths, state, detached, backend
    )
    last = (lengths - 1).clamp(min=0)
    rows = torch.arange(len(lengths), device=drive.device)
    alive = (lengths > 0).unsqueeze(1)
    sequences = (currents, membranes, outputs.detach())
    final = State(*(torch.where(alive, each[rows, last], old) for each, old in zip(sequences, state, strict=True)))
    return outputs, final, membranes
