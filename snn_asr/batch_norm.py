"""Batch normalisation whose statistics, in training, are those of all processes' shares of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snn_asr import distributed


class BatchNorm(nn.BatchNorm1d):
    """torch's for rows (N, C), valid frames all; with several processes over the rows of all (N may be 0 in some).

        mean = Σ x / N,   variance = Σ (x - mean)² / N,   y = (x - mean) / √(variance + ε) · w + b

    torch's own SyncBatchNorm runs on GPUs alone. Raises ValueError for fewer than two rows in training.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        count = len(x) if distributed.world() == 1 else int(distributed.total(torch.tensor(len(x), device=x.device)))
        if count < 2:
            raise ValueError("batch normalisation needs at least two valid frames in a training batch")
        return super().forward(x) if distributed.world() == 1 else self._over_all_shares(x, count)

    def _over_all_shares(self, x: Tensor, count: float) -> Tensor:
        mean = distributed.differentiable_total(x.sum(0)) / count
        centred = x - mean
        variance = distributed.differentiable_total(centred.square().sum(0)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
            self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var), self.momentum)
        return centred * (variance + self.eps).rsqrt() * self.weight + self.bias
