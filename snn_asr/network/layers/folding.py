"""Batch normalisation of a product W x, folded into the weights of that product during training:

    BN(W x) = γ (W x - W μ) / √(v + ε) + β = W' x + b',    v = diag(W C Wᵀ)

where μ (D,) is the mean and C (D, D) the covariance of x over all valid frames. Neither W x nor its normalised copy has
to be kept. The gradient with respect to W' x + b' stays sparse, because the normalisation's part of the gradient passes
through μ and C, which are small.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from snn_asr.network.batch_norm import follow, require_rows
from snn_asr.network.kernels.dense import affine
from snn_asr.network.lengths import Lengths


class _Moments(torch.autograd.Function):
    """The mean and the variance (M,) of W x over the valid frames of x (B, T, D), where W is (M, D)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, lengths: Lengths, weight: Tensor) -> tuple[Tensor, Tensor]:
        frames = lengths.pack(x)
        mean = frames.mean(0)
        # Centred before squaring: a large common part would leave too few digits for the differences between frames.
        centred = frames - mean
        half = weight @ (centred.T @ centred / len(frames))
        ctx.save_for_backward(x, weight, mean, half)
        ctx.lengths = lengths
        return weight @ mean, (half * weight).sum(1).clamp(min=0)

    @staticmethod
    def backward(ctx: Any, to_mean: Tensor, to_variance: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, half = ctx.saved_tensors
        to_weight = torch.outer(to_mean, mean) + 2 * to_variance.unsqueeze(1) * half
        if not ctx.needs_input_grad[0]:
            return None, None, to_weight
        curvature = weight.T @ (weight * (2 / ctx.lengths.total * to_variance).unsqueeze(1))
        to_each = to_mean @ weight / ctx.lengths.total - curvature @ mean
        return affine(x, ctx.lengths.tensor, curvature, to_each), None, to_weight


def fold(
    x: Tensor, lengths: Tensor | Lengths, weight: Tensor, normalization: nn.BatchNorm1d
) -> tuple[Tensor, Tensor]:
    """W' (M, D) and b' (M,), differentiable. The running statistics of ``normalization`` move as in its own forward.

    Raises ValueError for fewer than two valid frames in x (B, T, D).
    """
    lengths = Lengths.of(lengths, x)
    require_rows(lengths.total)
    mean, variance = _Moments.apply(x, lengths, weight)
    follow(normalization, mean, variance, lengths.total)
    scale = normalization.weight * torch.rsqrt(variance + normalization.eps)
    return weight * scale.unsqueeze(1), normalization.bias - scale * mean
