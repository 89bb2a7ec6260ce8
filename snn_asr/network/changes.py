"""Values that are sent only when they have changed (Neil et al. 2017, arXiv 1612.05571).

    ŷ[n] = y[n]  where |y[n] - ŷ[n-1]| > Θ,  else ŷ[n-1];        ŷ before the first frame is 0

A receiver that adds up the products of the changes ŷ[n] - ŷ[n-1] has the product of ŷ[n] itself. So only changed values
cost a product, and no value is off by more than the threshold Θ. The gradient is straight-through: dŷ[n]/dy[n] = 1, and
nothing flows into earlier values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snn_asr.errors import UsageError
from snn_asr.network.coder import with_straight_gradient
from snn_asr.network.kernels import choose_backend, load


def check_threshold(threshold: float, name: str) -> None:
    """Raise UsageError for a negative threshold, which the error calls ``name``."""
    if not threshold >= 0:
        raise UsageError(f"{name}={threshold} must not be negative", name, "0 sends every change")


def hold(values: Tensor, held: Tensor, threshold: float) -> Tensor:
    """ŷ[n] of one frame, from y[n], ``values``, and ŷ[n-1], ``held``, which have the same shape."""
    return with_straight_gradient(values, torch.where((values - held).abs() > threshold, values, held))


def hold_all(values: Tensor, held: Tensor, threshold: float, backend: str = "auto") -> Tensor:
    """ŷ (B, T, D) of all frames of ``values`` (B, T, D); ``held`` (B, D) was sent before the first.

    ``backend`` names the kernels that go through the frames.
    """
    kernel = load(choose_backend(backend, values.device))
    with torch.no_grad():
        sent = kernel.hold(values.detach().contiguous(), threshold, held.detach().to(values.dtype).contiguous())
    return with_straight_gradient(values, sent)


def changes(held: Tensor) -> Tensor:
    """ŷ[n] - ŷ[n-1] (B, T, D) of ``held`` (B, T, D), with gradient; the first frame changes from 0."""
    return torch.diff(held, dim=1, prepend=torch.zeros_like(held[:, :1]))
