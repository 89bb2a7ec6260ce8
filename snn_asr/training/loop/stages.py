"""The two stages of an epoch, training and evaluation on the development data: what each adds up over its batches."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from snn_asr.efficiency.operation_count import OperationCount
from snn_asr.network.integers import Grid
from snn_asr.scoring.alignments import ErrorCounts
from snn_asr.training.loop.running_loss import RunningLoss


@dataclass
class TrainingStage:
    """The training of one epoch, from now on. ``mean_loss`` is that of all processes, once the stage has ended."""

    loss: RunningLoss
    mean_loss: float = 0.0
    waiting_seconds: float = 0.0  # for data
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._waits_since = self.started

    @property
    def seconds(self) -> float:
        """The time since the epoch began."""
        return time.monotonic() - self.started

    def batch_arrived(self) -> None:
        """Count the time that training has waited for a batch."""
        self.waiting_seconds += time.monotonic() - self._waits_since

    def batch_done(self) -> None:
        """From now on training waits for the next batch."""
        self._waits_since = time.monotonic()


@dataclass
class EvaluationStage:
    """The evaluation after an epoch: the errors, the operations, and the ``grids`` by which the weights are rounded."""

    loss: RunningLoss
    grids: dict[str, Grid] = field(default_factory=dict)
    counts: ErrorCounts = field(default_factory=ErrorCounts)
    operations: OperationCount = field(default_factory=OperationCount)
