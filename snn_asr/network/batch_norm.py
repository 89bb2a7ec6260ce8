"""Batch normalisation whose statistics, in training, are those of all processes' shares of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snn_asr import processes
from snn_asr.network.lengths import Lengths, LengthsOnDevice


class BatchNorm(nn.BatchNorm1d):
    """torch's batch normalisation of rows (N, C), all of them valid frames.

        mean = Σ x / N,   variance = Σ (x - mean)² / N,   y = (x - mean) / √(variance + ε) · w + b

    With several processes the sums go over the rows of all (N may be 0 in some). torch's own SyncBatchNorm runs only on
    GPUs. Raises ValueError for fewer than two rows in training.
    """

    def forward(self, x: Tensor, lengths: Lengths | None = None, rows_of_a_frame: int = 1) -> Tensor:
        """Normalise rows (N, C), of which each valid frame of ``lengths`` gives ``rows_of_a_frame``.

        With ``lengths`` the rows of all processes are counted once a batch, and not by every normalisation. If only the
        device knows the lengths, x holds all frames, and those beyond the lengths are left out here.
        """
        if self.training and isinstance(lengths, LengthsOnDevice):
            valid = lengths.mask.flatten().repeat_interleave(rows_of_a_frame).unsqueeze(1)
            return self._by_sums(torch.where(valid, x, 0), lengths.tensor.sum() * rows_of_a_frame, valid)
        if self.training and processes.world() > 1:
            count = processes.count(len(x), x.device) if lengths is None else lengths.total_of_all * rows_of_a_frame
            require_rows(count)
            return self._by_sums(x, count)
        if self.training:
            require_rows(len(x))
        return super().forward(x)

    def _by_sums(self, x: Tensor, count: int | Tensor, valid: Tensor | None = None) -> Tensor:
        """Normalise by sums over ``count`` rows; ``valid`` (N, 1) marks them if x holds others, which are zero."""
        mean = processes.differentiable_total(x.sum(0)) / count
        centred = x - mean if valid is None else torch.where(valid, x - mean, 0)
        variance = processes.differentiable_total(centred.square().sum(0)) / count
        follow(self, mean, variance, count)
        return centred * (variance + self.eps).rsqrt() * self.weight + self.bias


def require_rows(count: int) -> None:
    """Raise ValueError if a training batch has too few rows for statistics."""
    if count < 2:
        raise ValueError("batch normalisation needs at least two valid frames in a training batch")


@torch.no_grad()
def follow(normalization: nn.BatchNorm1d, mean: Tensor, variance: Tensor, count: int | Tensor) -> None:
    """Move the running statistics towards the ``mean`` and ``variance`` (C,) of ``count`` rows, as torch's forward
    does."""
    mean_so_far, variance_so_far, momentum = (
        normalization.running_mean, normalization.running_var, normalization.momentum
    )
    assert mean_so_far is not None and variance_so_far is not None and momentum is not None
    assert normalization.num_batches_tracked is not None
    normalization.num_batches_tracked += 1
    mean_so_far.lerp_(mean.to(mean_so_far), momentum)
    unbiased = variance * (count / (count - 1))
    variance_so_far.lerp_(unbiased.to(variance_so_far), momentum)


def folded(normalization: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Batch normalisation in evaluation, as a scale and an offset (C,), one for each channel."""
    assert normalization.running_mean is not None and normalization.running_var is not None
    scale = normalization.weight / (normalization.running_var + normalization.eps).sqrt()
    return scale, normalization.bias - normalization.running_mean * scale
