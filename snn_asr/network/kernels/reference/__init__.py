"""Plain PyTorch on any device: a loop over the cell's ``step``, and a backward pass that is written by hand.

The backward passes of all cells are described with the same signs. g_x is the gradient of the loss with respect to x,
and g_out the gradient of the outputs, which comes from the next layer. The sign + marks a value of the next frame and -
a value of the frame before; without a sign a value belongs to frame n. ⊙ is the element-wise product.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from snn_asr.network.cells import CellParameters, CellState


def walk(cell: ModuleType, drive: Tensor, state: CellState, parameters: CellParameters) -> CellState:
    """The states after every frame, each field (B, T, width), from a loop over the cell's ``step``.

    ``drive`` is (B, T, gates · H) and ``state`` the state before the first frame. Under autograd this gives gradients
    slowly, but independently of the backward passes written by hand, so that tests compare these with it. Frames
    beyond a row's length are computed as well; what they hold is of no use.
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
    """The gradient (G, H) of a weight, from the ``gradient`` (B, T, G) of its product with ``inputs`` (B, T, H)."""
    return gradient.flatten(0, 1).T @ inputs.flatten(0, 1)


def low_pass(events: Tensor, lengths: Tensor, coefficient: Tensor | float, start: Tensor) -> Tensor:
    """The leaky integrator z[n] = a z[n-1] + (1 - a) y[n] of events y (B, T, H), as z (B, T, H).

    ``coefficient`` is a, and ``start`` (B, H) is z before the first frame. Beyond the lengths z is zero. It is
    differentiable in the events and in a coefficient that is a tensor.
    """
    frames = []
    for frame in events.unbind(1):
        start = torch.lerp(start, frame, 1 - coefficient)
        frames.append(start)
    valid = torch.arange(events.shape[1], device=events.device) < lengths.unsqueeze(1)
    return torch.stack(frames, dim=1) * valid.unsqueeze(-1)


def hold(values: Tensor, threshold: float, start: Tensor) -> Tensor:
    """The values that network/changes.py sends of ``values`` (B, T, D); ``start`` (B, D) was sent before them.

    Each stays as it was until it has moved by more than the threshold. There is no gradient.
    """
    frames = []
    for frame in values.unbind(1):
        start = torch.where((frame - start).abs() > threshold, frame, start)
        frames.append(start)
    return torch.stack(frames, dim=1)


def linear(inputs: Tensor, weights: Tensor) -> Tensor:
    """The product (N, M) of inputs (N, D) with the transpose of weights (M, D), in the type of the weights.

    Mixed precision computes the product itself in another type, and no more than that.
    """
    return torch.nn.functional.linear(inputs, weights).to(weights.dtype)
