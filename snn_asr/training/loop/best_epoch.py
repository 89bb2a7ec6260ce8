"""The best epoch of a training so far: its figures, and the weights that the model folder will hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from snn_asr.network.integers import Grid
from snn_asr.network.model import AcousticModel
from snn_asr.training.loop.rounded_weights import packed, unpacked


@dataclass(frozen=True)
class BestEpoch:
    """The epoch with the lowest development error in percent and, among equals, the lowest development loss.

    ``weights`` are the model's state on the CPU, and ``grids`` (as rounded_weights.py packs them) the grids that they
    lie on. Epoch 0, which is worse than any other, stands for a training that has none yet.
    """

    epoch: int = 0
    error_rate: float = math.inf
    loss: float = math.inf
    weights: Mapping[str, Tensor] | None = None
    grids: Mapping[str, list] = field(default_factory=dict)

    @classmethod
    def of(
        cls, epoch: int, error_rate: float, loss: float, model: AcousticModel, grids: Mapping[str, Grid]
    ) -> BestEpoch:
        """This epoch as the best one, with a copy of the weights that the model has now."""
        weights = {name: each.detach().cpu().clone() for name, each in model.state_dict().items()}
        return cls(epoch, error_rate, loss, weights, packed(grids))

    def is_beaten_by(self, error_rate: float, loss: float) -> bool:
        """Whether an epoch with these figures is better."""
        return (error_rate, loss) < (self.error_rate, self.loss)

    def restore(self, model: AcousticModel) -> None:
        """Give the model the weights of this epoch, and the grids that they lie on."""
        assert self.weights is not None
        model.load_state_dict(self.weights)
        model.grids = unpacked(self.grids)

    def state_dict(self) -> dict[str, Any]:
        """All fields, for a checkpoint."""
        return dict(vars(self))
