"""Plain PyTorch, on any device: loops over the cells' steps and hand-written backward recursions."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from snn_asr.network.cells import CellParameters, CellState


def walk(cell: ModuleType, drive: Tensor, state: CellState, parameters: CellParameters) -> CellState:
    """Loop over the cell's ``step``: drive (B, T, gates · H) to the state after every frame, each (B, T, width).

    Under autograd this is the slow, independent road to the gradients that tests compare with. Frames beyond a row's
    length are computed too, and worth nothing.
    """
    states = []
    for frame in drive.unbind(1):
        _, state = cell.step(frame, state, parameters)
        states.append(state)
    return type(state)(*(torch.stack(each, dim=1) for each in zip(*states, strict=True)))


def previous(sequence: Tensor, start: Tensor) -> Tensor:
    """The sequence (B, T, H) delayed by one frame, beginning with ``start`` (B, H)."""
    return torch.cat([start.unsqueeze(1), sequence[:, :-1]], dim=1)


def weight_gradient(gradient: Tensor, inputs: Tensor) -> Tensor:
    """Gradient (G, H) of a weight whose product with inputs (B, T, H) has the gradient (B, T, G)."""
    return gradient.flatten(0, 1).T @ inputs.flatten(0, 1)


def low_pass(events: Tensor, lengths: Tensor, coefficient: Tensor | float, start: Tensor) -> Tensor:
    """z[n] = a z[n-1] + (1 - a) y[n] of events y (B, T, H) from ``start`` (B, H): z (B, T, H), zero beyond the lengths.

    Differentiable in the events and in a coefficient a that is a tensor.
    """
    frames = []
    for frame in events.unbind(1):
        start = torch.lerp(start, frame, 1 - coefficient)
        frames.append(start)
    valid = torch.arange(events.shape[1], device=events.device) < lengths.unsqueeze(1)
    return torch.stack(frames, dim=1) * valid.unsqueeze(-1)


def linear(inputs: Tensor, weights: Tensor) -> Tensor:
    """inputs (N, D) times weights (M, D) transposed, in the type of the weights: mixed precision is for the product."""
    return torch.nn.functional.linear(inputs, weights).to(weights.dtype)
