"""Dense products that leave padding alone, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor


def affine(inputs: Tensor, lengths: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """The products (B, T, M) of inputs (B, T, D) with the transpose of weights (M, D), plus the bias (M,).

    Frames beyond ``lengths`` (B,) are not computed, and are zero.
    """
    if bool((lengths == inputs.shape[1]).all()):
        return torch.addmm(bias, inputs.flatten(0, 1), weights.T).unflatten(0, inputs.shape[:2])
    result = inputs.new_empty(*inputs.shape[:2], len(weights))
    for row, length in enumerate(lengths.tolist()):
        torch.addmm(bias, inputs[row, :length], weights.T, out=result[row, :length])
        result[row, length:] = 0
    return result


def weight_gradient(gradient: Tensor, inputs: Tensor, lengths: Tensor) -> Tensor:
    """The gradient (M, D) of the weights of ``affine``, from the gradient (B, T, M) of its result."""
    if bool((lengths == inputs.shape[1]).all()):
        return gradient.flatten(0, 1).T @ inputs.flatten(0, 1)
    result = gradient.new_zeros(gradient.shape[-1], inputs.shape[-1])
    for row, length in enumerate(lengths.tolist()):
        result.addmm_(gradient[row, :length].T, inputs[row, :length])
    return result
