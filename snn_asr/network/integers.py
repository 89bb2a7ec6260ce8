"""Matrices as whole numbers times one scale for each row: int8, or int4, which lies two to a byte.

    weight (M, D) ≈ integers (M, D) · scales (M,)        integers from -127 to 127, or from -7 to 7

One scale a row, because a row is one sum: products with whole numbers are added exactly, and scaled once. In int8 the
row's largest magnitude becomes 127. In int4 few of a row's numbers are near the largest, so that a smaller scale, which
cuts those off, rounds all others better: the scale is the one of CUTS with the least sum of squared errors.

What is restored from whole numbers rounds to the same ones again, for whoever has the scales.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

WEIGHT_PRECISIONS = FLOAT32, INT8, INT4 = "float32", "int8", "int4"  # of a model that runs
LARGEST = {INT8: 127, INT4: 7}
CUTS = [1 - step / 50 for step in range(30)]  # shares of a row's largest magnitude that may become 7


@dataclass(frozen=True, eq=False)
class Grid:
    """The numbers that a matrix (M, D) is rounded to: whole ones of ``kind``, int8 or int4, times the ``scales`` (M,),
    float32."""

    kind: str
    scales: Tensor

    @classmethod
    def of(cls, weight: Tensor, kind: str) -> Grid:
        """The grid that a matrix is rounded to."""
        weight = weight.detach().float()
        largest = weight.abs().amax(1)
        scales = torch.where(largest > 0, largest, torch.ones_like(largest)) / LARGEST[kind]
        if kind == INT8:
            return cls(kind, scales)
        best, least = scales, torch.full_like(scales, torch.inf)
        for cut in CUTS:
            tried = cls(kind, scales * cut)
            error = (tried.nearest(weight) - weight).square().sum(1)
            best, least = torch.where(error < least, tried.scales, best), torch.minimum(error, least)
        return cls(kind, best)

    def rows(self, first: int, end: int | None = None) -> Grid:
        """The grid of these rows of the matrix alone."""
        return Grid(self.kind, self.scales[first:end])

    def rounded(self, weight: Tensor) -> Tensor:
        """(M, D) as whole numbers, each in one byte."""
        return self._levels(weight.detach().float()).to(torch.int8)

    def restored(self, integers: Tensor) -> Tensor:
        """Whole numbers (M, D) as the float32 numbers that they stand for."""
        return integers.float() * self.scales.unsqueeze(1)

    def nearest(self, weight: Tensor) -> Tensor:
        """The numbers of the grid that are nearest to a matrix (M, D), float32."""
        return self.restored(self._levels(weight.detach().float()))

    def _levels(self, weight: Tensor) -> Tensor:
        return (weight / self.scales.unsqueeze(1)).round().clamp(-LARGEST[self.kind], LARGEST[self.kind])


def nibbles(integers: Tensor) -> Tensor:
    """int8 (..., N) of -7 to 7 as uint8 (..., ⌈N / 2⌉): two to a byte, the first in the lower half, in two's
    complement."""
    halves = torch.nn.functional.pad(integers, (0, integers.shape[-1] % 2)).view(torch.uint8) & 15
    return halves[..., 0::2] | halves[..., 1::2] << 4


def from_nibbles(packed: Tensor, count: int) -> Tensor:
    """The inverse, of ``count`` numbers. Raises ValueError where there are more or fewer bytes than these take, or a
    number is -8."""
    if packed.shape[-1] != -(-count // 2):
        raise ValueError(f"{packed.shape[-1]} bytes for {count} numbers of four bits")
    halves = torch.stack((packed & 15, packed >> 4), dim=-1).flatten(-2)[..., :count].to(torch.int8)
    numbers = (halves ^ 8) - 8
    if (numbers < -LARGEST[INT4]).any():
        raise ValueError("numbers of four bits below -7")
    return numbers
