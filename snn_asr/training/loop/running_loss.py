"""The losses of an epoch, summed on the device and read only when they are needed.

A GPU that has to answer at every batch is idle while the answer travels and the next batch is prepared.
"""

from __future__ import annotations

import torch
from torch import Tensor

BATCHES_BETWEEN_LOOKS = 50  # at the losses on a GPU; nothing is saved meanwhile that divergence could spoil


class RunningLoss:
    """Sums over the batches of an epoch: of the objective of all utterances, and of the losses that were minimised."""

    def __init__(self, device: torch.device | str) -> None:
        self._sum = torch.zeros((), dtype=torch.float64, device=device)
        self._minimised = torch.zeros((), dtype=torch.float64, device=device)
        self._batches, self.utterances = 0, 0

    @torch.no_grad()
    def add(self, objective: Tensor, utterances: int) -> None:
        """Add the mean ``objective`` () of a batch of so many utterances."""
        self._sum += objective.double() * utterances
        self.utterances += utterances

    @torch.no_grad()
    def watch(self, minimised: Tensor) -> None:
        """Add the loss () that a training step is about to minimise."""
        self._minimised += minimised.double()
        self._batches += 1

    @property
    def total(self) -> float:
        """The sum of the objective over all utterances so far. Reading it waits for a GPU."""
        return float(self._sum)

    @property
    def mean(self) -> float:
        """The mean objective of an utterance so far. Reading it waits for a GPU."""
        return self.total / max(self.utterances, 1)

    @property
    def due(self) -> bool:
        """Whether it is time to look at ``minimised``: on a CPU, where reading is free, after every batch."""
        return self._minimised.device.type == "cpu" or self._batches % BATCHES_BETWEEN_LOOKS == 0

    @property
    def minimised(self) -> float:
        """The sum of all losses watched, finite if all of them were. Reading it waits for a GPU."""
        return float(self._minimised)
