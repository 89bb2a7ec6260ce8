"""Gradual pruning by magnitude: the smallest weights become zero while the network trains, and stay zero.

The share of pruned weights follows the cubic schedule of Zhu & Gupta (2017, arXiv 1710.01878) over a span of epochs. It
starts from the share of zeros s in the network, which is 0 unless training starts from a pruned model:

    share(t) = S - (S - s) (1 - t)³,    t from 0 to 1 over the span,

It grows fast while many weights are small, and slowly towards the end. Every matrix of a layer (W and, if there is one,
U) is pruned to the same share on its own. The mask of its smallest weights is drawn anew every REFRESH_STEPS training
steps, so that a weight may come back while the share still grows. A weight that was zero at the start stays zero.

A zero weight costs nothing (efficiency/operations.py). With ``block`` above 1, the weights of so many neighbouring rows
of one column are pruned together: one event adds them to neighbouring sums, and the event engine reads them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from snn_asr.network.encoders import Encoder

REFRESH_STEPS = 16


class GradualPruning:
    """Masks of an encoder's matrices that follow the training step; ``target`` 0 prunes nothing more.

    ``first`` and ``last`` are the training steps, counted from 1, between which the share grows to ``target``. With
    ``keep_zeros`` weights that are zero now stay zero. After each step ``apply`` sets the masked weights to zero, in
    the encoder and in given copies of its weights (moving averages), whose names have the ``prefix`` before the
    encoder's.
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
        """Whether the share has reached its target. Networks of earlier steps are denser than asked for."""
        return not self._grows or step >= self.last

    @torch.no_grad()
    def apply(self, step: int, copies: Iterable[Mapping[str, Tensor]] = ()) -> None:
        """After training step ``step``, refresh the masks if that is due, and set masked weights to zero.

        A copy may lack some of the matrices.
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
    """The input and recurrent weights of all layers, which are pruned, by ``prefix`` and their name in the encoder."""
    chosen = {id(weight) for layer in encoder.layers for weight in layer.core_weights()}
    return {prefix + name: each for name, each in encoder.named_parameters() if id(each) in chosen}


def keep_largest(weight: Tensor, share: float, block: int = 1) -> Tensor:
    """A mask (M, D) of ones and zeros that prunes ``share`` of the weights (M, D), the smallest, in whole blocks.

    A block is ``block`` neighbouring rows of one column (fewer at the end), and its size is the mean magnitude of its
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
