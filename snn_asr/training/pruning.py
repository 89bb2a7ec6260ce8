"""Gradual pruning by magnitude: weights that matter least become zero while the network trains, and stay zero.

The share of pruned weights follows the cubic schedule of Zhu & Gupta (2017, arXiv 1710.01878) over a span of epochs,
from that of the network's zeros at the start, s, which is 0 but for a training that goes on with a pruned network:

    share(t) = S - (S - s) (1 - t)³,    t from 0 to 1 over the span,

fast while many weights are small, slow towards the end. Every matrix of a layer (its W and, where it has one, its U) is
pruned by itself to the same share: the smallest of each are masked, and the mask is drawn anew every REFRESH_STEPS
training steps, so that a weight whose neighbours shrink meanwhile may come back while the share still grows. What was
zero at the start stays zero.

A zero weight costs nothing (efficiency/operations.py). With ``block`` above 1 the weights of so many neighbouring rows
of one column live and die together: these are the weights that one event adds to neighbouring sums, which is how the
event engine reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from snn_asr.network.encoders import Encoder, directions

REFRESH_STEPS = 16


class GradualPruning:
    """Masks of an encoder's matrices that follow the training step; ``target`` 0 prunes nothing more.

    With ``keep_zeros`` weights that are zero now stay so.

    ``first`` and ``last`` are the training steps between which the share grows to ``target``, counted from 1. After
    each step ``apply`` sets the masked weights to zero: in the encoder, and in whatever other copies of its weights are
    given (moving averages), which hold them under the encoder's names behind ``prefix``.
    """

    def __init__(
        self, encoder: Encoder, target: float, first: int, last: int, block: int = 1, prefix: str = "",
        keep_zeros: bool = False,
    ) -> None:
        self.first, self.last, self.block = first, max(last, first + 1), block
        self._weights = matrices(encoder, prefix)
        self._kept = {name: (each != 0).to(each.dtype) for name, each in self._weights.items()} if keep_zeros else {}
        zeros = sum(int(torch.count_nonzero(each == 0)) for each in self._kept.values())
        self._initial_share = zeros / max(sum(each.numel() for each in self._kept.values()), 1)
        self.target, self._grows = max(target, self._initial_share), target > self._initial_share
        self._masks: dict[str, Tensor] = dict(self._kept) if zeros else {}

    def share(self, step: int) -> float:
        """The share of weights that is zero after training step ``step``."""
        progress = min(max((step - self.first) / (self.last - self.first), 0.0), 1.0)
        return self.target - (self.target - self._initial_share) * (1.0 - progress) ** 3

    def complete(self, step: int) -> bool:
        """Whether the share has reached its target: networks of earlier steps are denser than what was asked for."""
        return not self._grows or step >= self.last

    @torch.no_grad()
    def apply(self, step: int, copies: Iterable[Mapping[str, Tensor]] = ()) -> None:
        """After training step ``step``: refresh the masks where that is due, and set masked weights to zero.

        A copy that lacks a matrix is left alone there.
        """
        if self._grows and step >= self.first and self._due(step):
            drawn = {name: keep_largest(each, self.share(step), self.block) for name, each in self._weights.items()}
            self._masks = {name: mask * self._kept[name] if self._kept else mask for name, mask in drawn.items()}
        for name, mask in self._masks.items():
            self._weights[name].mul_(mask)
            for copy in copies:
                if name in copy:
                    copy[name].mul_(mask)

    def _due(self, step: int) -> bool:
        drawn = bool(self._masks) and step > self.first
        return not drawn or (step % REFRESH_STEPS == 0 and step <= self.last) or step == self.last

    def state_dict(self) -> dict[str, Tensor]:
        """The masks in force, for a checkpoint."""
        return {name: mask.cpu() for name, mask in self._masks.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._masks = {name: mask.to(self._weights[name].device) for name, mask in state.items()}


def matrices(encoder: Encoder, prefix: str = "") -> dict[str, nn.Parameter]:
    """The matrices that are pruned, input and recurrent weights of all layers, by name in the encoder's state."""
    chosen = {id(weight) for layer in encoder.layers for each in directions(layer) for weight in each.core_weights()}
    return {prefix + name: each for name, each in encoder.named_parameters() if id(each) in chosen}


def keep_largest(weight: Tensor, share: float, block: int = 1) -> Tensor:
    """A mask (M, D) of ones and zeros that prunes ``share`` of the weights (M, D), the smallest, in whole blocks.

    A block is ``block`` neighbouring rows of one column (fewer at the end), and as large as the mean magnitude of its
    weights. Of equal blocks the first are kept.
    """
    rows, columns = weight.shape
    padding = -rows % block
    magnitude = nn.functional.pad(weight.abs(), (0, 0, 0, padding)).unflatten(0, (-1, block))  # (blocks, block, D)
    held = nn.functional.pad(torch.ones_like(weight), (0, 0, 0, padding)).unflatten(0, (-1, block))
    size = (magnitude.sum(1) / held.sum(1)).flatten()
    pruned = round(share * size.numel())
    mask = torch.ones_like(size)
    mask[torch.sort(size, descending=True, stable=True).indices[size.numel() - pruned :]] = 0
    return mask.unflatten(0, (-1, columns)).repeat_interleave(block, dim=0)[:rows]
