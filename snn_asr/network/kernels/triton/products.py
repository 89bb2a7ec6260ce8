"""Large products of float32 operands on tensor cores, exact to 1e-5 of the largest result or better.

    x = (h + l) / s,   h = fp16(s x),   l = fp16(s x - h),   s a power of two that brings the largest x near 2^14
    x wᵀ = (h h'ᵀ + h l'ᵀ + l h'ᵀ) / (s s')

The two parts h and l of a number near the largest hold 22 of its bits, and the product that is left out, l l', is
smaller than a rounding of float32. The three products are computed as one, over operands whose parts lie side by side.
In mixed precision there is a single part, in bfloat16.

The sums of a weight's gradient, over many rows, are cut in pieces: tensor cores do not round what they add up,
which limits the accuracy (8e-6 over sums of 3,300 products, on an H100).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, COLUMNS = 4, 256  # of a program
SMALLEST = 4e9  # multiplications: the ordinary cores need a tenth of a millisecond for so many
PIECE = 2048  # rows whose products are added up on tensor cores
ALIGNED = 8  # elements: the rows of an operand begin at multiples of 16 bytes


class Parts(NamedTuple):
    """An operand: ``values`` (N, parts · padded), and the factor that the product has to be multiplied by (None for
    1)."""

    values: Tensor
    back: Tensor | None
    padded: int


@triton.jit
def _scale(peak):
    """The power of two that brings a peak to between 2^13 and 2^14 (those below 2^-90 stay small), and its inverse."""
    exponent = tl.maximum((peak.to(tl.int32, bitcast=True) >> 23) & 255, 37)
    up = ((267 - exponent) << 23).to(tl.float32, bitcast=True)
    return up, ((exponent - 13) << 23).to(tl.float32, bitcast=True)


@triton.jit
def _split(
    given, peak, result, back, rows, factor, SIZE: tl.constexpr, PADDED: tl.constexpr, PARTS: tl.constexpr,
    WEIGHTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):
    """Write the rows [h l h], or [h h l] for weights. A single part is multiplied by a factor, narrowed and padded."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    x = tl.load(given + row * SIZE + column, mask=(row < rows) & (column < SIZE), other=0.0).to(tl.float32)
    to, there = result + row * (PARTS * PADDED) + column, (row < rows) & (column < PADDED)
    if PARTS == 1:
        tl.store(to, (x * factor).to(result.dtype.element_ty), mask=there)
    else:
        up, down = _scale(tl.load(peak))
        high = (x * up).to(tl.float16)
        low = (x * up - high.to(tl.float32)).to(tl.float16)
        tl.store(to, high, mask=there)
        if WEIGHTS:
            tl.store(to + PADDED, high, mask=there)
            tl.store(to + 2 * PADDED, low, mask=there)
        else:
            tl.store(to + PADDED, low, mask=there)
            tl.store(to + 2 * PADDED, high, mask=there)
        if (tl.program_id(0) == 0) & (tl.program_id(1) == 0):
            tl.store(back, down)


def split(given: Tensor, kind: torch.dtype, weights: bool = False) -> Parts:
    """The operand (N, K) for a product in ``kind``: float32 by two fp16 parts, or a narrow type by one."""
    if kind != torch.float32:
        return _launch(given, kind, None, 1.0, weights)
    peak = torch.linalg.vector_norm(given.detach().float(), float("inf"))
    return _launch(given, torch.float16, peak, 1.0, weights)


def exact(given: Tensor, kind: torch.dtype, unit: float) -> Parts:
    """The operand (N, K) of small multiples of ``unit``, as whole numbers of one narrow part: nothing is lost."""
    found = _launch(given, torch.float16 if kind == torch.float32 else kind, None, 1 / unit, False)
    return found._replace(back=torch.full((), unit, device=given.device))


def _launch(given: Tensor, narrow: torch.dtype, peak: Tensor | None, factor: float, weights: bool) -> Parts:
    given = given.detach().contiguous()
    rows, size = given.shape
    padded, parts = -(-size // ALIGNED) * ALIGNED, 1 if peak is None else 3
    values = torch.empty(rows, parts * padded, dtype=narrow, device=given.device)
    back = None if peak is None else torch.empty_like(peak)
    with torch.cuda.device_of(given):
        _split[-(-rows // ROWS), -(-padded // COLUMNS)](
            given, values if peak is None else peak, values, values if back is None else back, rows, factor, SIZE=size,
            PADDED=padded, PARTS=parts, WEIGHTS=weights, ROWS=ROWS, COLUMNS=COLUMNS, num_warps=4,
            enable_fp_fusion=False,
        )
    return Parts(values, back, padded)


def product(inputs: Parts, weights: Parts) -> Tensor:
    """The product (N, M) in float32 of inputs (N, K) with the transpose of weights (M, K).

    A width that is not a multiple of 8 is filled up, because the fast kernels of cuBLAS write no other width.
    """
    width = len(weights.values)
    filled = torch.nn.functional.pad(weights.values, (0, 0, 0, -width % ALIGNED))
    found = torch.mm(inputs.values, filled.T, out_dtype=torch.float32)
    return _scaled(found[:, :width], inputs, weights)


def product_over_rows(gradient: Parts, inputs: Parts, size: tuple[int, int], shift: int = 0) -> Tensor:
    """The product (M, K) in float32 of the transpose of the gradient (N, M) with inputs (N, K).

    Each row of the gradient is paired with the row of the inputs that lies ``shift`` rows before it.
    """
    rows = len(gradient.values) - shift
    first = gradient.values[shift:, : 2 * gradient.padded]
    second = inputs.values[:rows, : 2 * inputs.padded]
    pieces = rows // PIECE
    rest = slice(pieces * PIECE, rows)
    found = torch.mm(first[rest].T, second[rest], out_dtype=torch.float32)
    if pieces:
        left, right = (each[: pieces * PIECE].unflatten(0, (pieces, PIECE)) for each in (first, second))
        found = found + torch.bmm(left.transpose(1, 2), right, out_dtype=torch.float32).sum(0)
    found = found.unflatten(0, (-1, gradient.padded)).unflatten(2, (-1, inputs.padded)).sum((0, 2))
    return _scaled(found[: size[0], : size[1]], gradient, inputs)


def _scaled(found: Tensor, *operands: Parts) -> Tensor:
    """The product of scaled operands, without its padding and on its own scale again."""
    backs = [each.back for each in operands if each.back is not None]
    if not backs:
        return found.contiguous()
    back = torch.stack(backs).prod()
    return found.mul_(back) if found.is_contiguous() else found * back


def worth_splitting(rows: int, *sizes: int) -> bool:
    """Whether a product of ``rows`` × sizes takes longer than splitting its operands, and this torch returns products
    of narrow operands in float32."""
    return math.prod(sizes, start=rows) >= SMALLEST and hasattr(torch.ops.aten.mm, "dtype")


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weights: Tensor, kind: torch.dtype) -> Tensor:
        left = split(inputs, kind)
        ctx.save_for_backward(left.values, left.back, weights)
        ctx.kind, ctx.padded, ctx.size = kind, left.padded, inputs.shape[1]
        return product(left, split(weights, kind, weights=True))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        values, back, weights = ctx.saved_tensors
        to_inputs = to_weights = None
        left = split(gradient, ctx.kind)
        if ctx.needs_input_grad[0]:
            to_inputs = product(left, split(weights.T, ctx.kind, weights=True))
        if ctx.needs_input_grad[1]:
            size = gradient.shape[1], ctx.size
            to_weights = product_over_rows(left, Parts(values, back, ctx.padded), size)
        return to_inputs, to_weights, None


def linear(inputs: Tensor, weights: Tensor) -> Tensor:
    """The product (N, M) in float32 of inputs (N, D) with the transpose of weights (M, D), differentiable in both.

    In mixed precision the operands are narrow, but the sums are not. Small products, and those on a CPU or in float64,
    are left to torch.
    """
    wide = inputs.is_cuda and inputs.dtype == weights.dtype == torch.float32
    if not wide or not worth_splitting(*inputs.shape, len(weights)):
        return torch.nn.functional.linear(inputs, weights).to(weights.dtype)
    kind = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else torch.float32
    with torch.autocast("cuda", enabled=False):
        return _Linear.apply(inputs, weights, kind)
