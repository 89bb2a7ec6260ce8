"""The losses of an epoch, added up where they are computed and read when somebody asks for them.

A GPU that is asked for a number at every batch is idle while the answer travels and the next batch is prepared.
"""

from __future__ import annotations

import torch
from torch import Tensor

BATCHES_BETWEEN_LOOKS = 50  # at a GPU's losses; a diverged training does no harm to anything saved until then


class RunningLoss:
    """Sums over the batches of an epoch: of the objective over all utterances, and of what was minimised."""

    def __init__(self, device: torch.device | str) -> None:
        self._sum = torch.zeros((), dtype=torch.float64, device=device)
        self._minimised = torch.zeros((), dtype=torch.float64, device=device)
        self._batches, self.utterances = 0, 0

    @torch.no_grad()
    def add(self, objective: Tensor, utterances: int) -> None:
        """The mean ``objective`` () of a batch of so many utterances."""
        self._sum += objective.double() * utterances
        self.utterances += utterances

    @torch.no_grad()
    def watch(self, minimised: Tensor) -> None:
        """The loss () that a training step is about to minimise."""
        self._minimised += minimised.double()
        self._batches += 1

    @property
    def total(self) -> float:
        """The sum of the objective over all utterances so far; on a GPU it is waited for."""
        return float(self._sum)

    @property
    def mean(self) -> float:
        return self.total / max(self.utterances, 1)

    @property
    def due(self) -> bool:
        """Whether it is time to look at ``minimised``: after every batch where that costs nothing."""
        return self._minimised.device.type == "cpu" or self._batches % BATCHES_BETWEEN_LOOKS == 0

    @property
    def minimised(self) -> float:
        """The sum of all losses watched, finite as long as each of them was; on a GPU it is waited for."""
        return float(self._minimised)
