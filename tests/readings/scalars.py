"""Nested lists of float64 scalars: taking tensors apart, putting them together, and a value with a slope of its own."""

from __future__ import annotations

import torch
from torch import Tensor

Vector = list[Tensor]
Matrix = list[Vector]
Sequences = list[Matrix]


def apart(tensor: Tensor) -> list | Tensor:
    """Take a tensor apart into nested lists of its numbers, each of which collects a gradient of its own."""
    if tensor.dim() == 0:
        return torch.tensor(plain(tensor), dtype=torch.float64, requires_grad=True)
    return [apart(part) for part in tensor]


def together(numbers: list | Tensor) -> Tensor:
    """Put nested lists of numbers together into one tensor, without their gradients."""
    if isinstance(numbers, Tensor):
        return numbers.detach()
    return torch.stack([together(part) for part in numbers])


def gradient(numbers: list | Tensor) -> Tensor:
    """Put the gradients of nested lists of numbers together into one tensor; where nothing arrived it is zero."""
    if isinstance(numbers, Tensor):
        return torch.zeros_like(numbers) if numbers.grad is None else numbers.grad
    return torch.stack([gradient(part) for part in numbers])


def number(value: float) -> Tensor:
    """Give a constant."""
    return torch.tensor(value, dtype=torch.float64)


def product(row: Vector, column: Vector) -> Tensor:
    """Sum the products of two vectors, in order."""
    products = [left * right for left, right in zip(row, column, strict=True)]
    return sum(products[1:], products[0])


def plain(value: Tensor) -> float:
    """Give the number alone, without its history."""
    return value.detach().item()


class _Replaced(torch.autograd.Function):
    @staticmethod
    def forward(ctx, original: Tensor, value: float, slope: float) -> Tensor:
        ctx.slope = slope
        return torch.full_like(original, value)

    @staticmethod
    def backward(ctx, from_above: Tensor) -> tuple[Tensor, None, None]:
        return from_above * ctx.slope, None, None


def replaced(original: Tensor, value: float, slope: float) -> Tensor:
    """Go on with ``value`` in place of ``original``, and hand ``slope`` times the gradient back to ``original``."""
    return _Replaced.apply(original, value, slope)
