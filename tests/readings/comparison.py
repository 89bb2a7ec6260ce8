"""Holding modules against twins: the same batches through both, everything compared that comes out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .scalars import apart, gradient, number, together
from .twins import Twin, stacked

Size = tuple[int, int, int, int]  # rows, frames, features, units


class Batch(NamedTuple):
    """``weights`` (B, T, H) are what the outputs are weighed by in the scalar whose gradient is taken."""

    x: Tensor
    lengths: Tensor
    weights: Tensor


def draw_batch(size: Size) -> Batch:
    """Ragged rows, the first one full and, of three, the second one empty; behind a row's end stands no number."""
    rows, frames, features, units = size
    x = torch.randn(rows, frames, features, dtype=torch.float64)
    lengths = torch.randint(1, frames + 1, (rows,))
    lengths[0] = frames
    if rows > 2:
        lengths[1] = 0
    for row, length in enumerate(lengths):
        x[row, length:] = torch.nan
    return Batch(x, lengths, torch.randn(rows, frames, units, dtype=torch.float64))


def same_parameters(modules: list[nn.Module]) -> list[nn.Module]:
    """Give all modules the parameters of the first, moved off their initial values, which are zeros and ones."""
    for parameter in modules[0].parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    for module in modules[1:]:
        module.load_state_dict(modules[0].state_dict())
    return modules


def read(twins: dict[str, Twin], module: nn.Module, batch: Batch, training: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """Give the reading's outputs (B, T, H) and its gradients by name; that of the input is named x."""
    numbers = {name: apart(parameter.detach()) for name, parameter in module.named_parameters()}
    numbers["x"] = apart(batch.x)
    sequences = stacked(twins, numbers, numbers["x"], batch.lengths.tolist(), training)
    outputs, scalar = torch.zeros_like(batch.weights), number(0.0)
    for row, frames in enumerate(sequences):
        for frame, units in enumerate(frames):
            outputs[row, frame] = together(units)
            for value, weight in zip(units, batch.weights[row, frame].tolist(), strict=True):
                scalar = scalar + value * weight
    if scalar.requires_grad:
        scalar.backward()
    return outputs, {name: gradient(each) for name, each in numbers.items()}


def compare(twins: dict[str, Twin], modules: list[nn.Module], batch: Batch, training: bool) -> Tensor:
    """Hold one batch of every module against the reading; its outputs."""
    wanted, gradients = read(twins, modules[0], batch, training)
    for module in modules:
        module.train(training).zero_grad()
        x = batch.x.clone().requires_grad_()
        outputs, _ = module(x, batch.lengths)
        outputs.backward(batch.weights)
        found = {name: parameter.grad for name, parameter in module.named_parameters()}
        assert torch.equal(outputs != 0, wanted != 0)
        assert_close(outputs.detach(), wanted, 1e-12, "outputs")
        for name, each in {**found, "x": x.grad}.items():
            assert_close(each, gradients[name], 1e-9, f"gradient of {name}")
        if not training:
            with torch.no_grad():
                assert_close(module(batch.x, batch.lengths)[0], wanted, 1e-12, "outputs without gradients")
    return wanted


def compare_in_turn(twins: dict[str, Twin], modules: list[nn.Module], batches: Iterable[Batch]) -> Tensor:
    """Train on all batches but the last and evaluate that; all outputs of the reading in one row of numbers."""
    *trained, evaluated = batches
    outputs = [compare(twins, modules, batch, training=True) for batch in trained]
    return torch.cat([each.flatten() for each in [*outputs, compare(twins, modules, evaluated, training=False)]])


def assert_close(got: Tensor, wanted: Tensor, relative: float, what: str) -> None:
    """Hold a tensor to ``relative`` of the largest number wanted."""
    limit = relative * float(wanted.abs().max()) + 1e-12
    torch.testing.assert_close(got, wanted, rtol=0, atol=limit, msg=lambda text: f"{what}: {text}")
