"""A moving average of a model's weights, which is evaluated and kept instead of them (Polyak & Juditsky 1992).

    average = d · average + (1 - d) · weights,   d = min(decay, (1 + step) / (10 + step))

The decay rises with the steps, so that the average follows a young network closely (the rule of TensorFlow's
ExponentialMovingAverage with ``num_updates``). Running statistics of batch normalisation are averaged like weights. The
ranges and counters of coders, which are averages already, are copied.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AveragedWeights:
    """The average of the weights of ``model``, which is on its device already; with ``decay`` 0 the weights
    themselves."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self.average = self._copy() if decay else {}
        self._own: dict[str, Tensor] = {}
        self._current = {name: each.detach() for name, each in model.state_dict().items()} if decay else {}
        followed = {name: _is_averaged(name, each) for name, each in self._current.items()}
        self._averaged = [name for name, averaged in followed.items() if averaged]
        self._copied = [name for name, averaged in followed.items() if not averaged]

    def _copy(self) -> dict[str, Tensor]:
        return {name: each.detach().clone() for name, each in self.model.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average after training step ``step``, counted from 1."""
        if self.decay == 0:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        if self._averaged:
            torch._foreach_lerp_(*self._pairs(self._averaged), 1 - decay)
        if self._copied:
            torch._foreach_copy_(*self._pairs(self._copied))

    def _pairs(self, names: list[str]) -> tuple[list[Tensor], list[Tensor]]:
        """The averages and the weights of these names, so that one call can update all of them."""
        return [self.average[name] for name in names], [self._current[name] for name in names]

    def swap_in(self) -> None:
        """Give the model the average, and remember its own weights."""
        if self.decay:
            self._own = self._copy()
            self.model.load_state_dict(self.average)

    def swap_out(self) -> None:
        """Give the model its own weights back."""
        if self.decay:
            self.model.load_state_dict(self._own)


def _is_averaged(name: str, values: Tensor) -> bool:
    return values.dtype.is_floating_point and ".tracker." not in name
