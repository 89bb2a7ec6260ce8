"""How the learning rate moves: one class a schedule, with the same three methods and a state for the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from speechbrain.nnet.schedulers import NewBobScheduler, WarmCoolDecayLRSchedule
from torch.optim import Optimizer

if TYPE_CHECKING:
    from snn_asr.training.config import TrainingConfig


def steps_within(steps: Sequence[int], epochs: float) -> int:
    """Training steps in the first ``epochs`` epochs, which may end within one or go beyond the last."""
    whole = int(epochs)
    padded = [*steps, *[steps[-1]] * max(0, whole + 1 - len(steps))]
    return sum(padded[:whole]) + int(padded[whole] * (epochs - whole))


class WarmCool:
    """Up in a line over ``warmup_epochs``, level, and down in a line to 0 over ``cooldown_epochs``."""

    def __init__(self, config: TrainingConfig, steps: Sequence[int]) -> None:
        """``steps`` are the training steps of each epoch: a curriculum's first epochs have fewer."""
        warmup = max(1, steps_within(steps, config.warmup_epochs))
        cooldown = max(1, steps_within(steps[::-1], config.cooldown_epochs))
        self._set = WarmCoolDecayLRSchedule(config.learning_rate, warmup, cooldown, sum(steps), decay_factor=1.0)

    def on_batch(self, optimizer: Optimizer, step: int) -> None:
        """Before training step ``step``, counted from 1."""
        self._set(optimizer, step)

    def on_epoch(self, optimizer: Optimizer, error_rate: float) -> None:
        """After an epoch with its development error."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore: all follows from the step."""


class Halving:
    """Half as high when the development error has improved by less than 0.5 % of itself in more than one epoch.

    Never below 1.25e-4 (Ponghiran & Roy 2022).
    """

    IMPROVEMENT, EPOCHS_OF_GRACE, LOWEST = 0.005, 1, 1.25e-4

    def __init__(self, config: TrainingConfig, steps: Sequence[int]) -> None:
        self._scheduler = NewBobScheduler(config.learning_rate, 0.5, self.IMPROVEMENT, self.EPOCHS_OF_GRACE)

    def on_batch(self, optimizer: Optimizer, step: int) -> None:
        """The rate stays as it is within an epoch."""

    def on_epoch(self, optimizer: Optimizer, error_rate: float) -> None:
        _, rate = self._scheduler(error_rate)
        self._scheduler.hyperparam_value = max(rate, min(self.LOWEST, optimizer.param_groups[0]["lr"]))
        for group in optimizer.param_groups:
            group["lr"] = self._scheduler.hyperparam_value

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self._scheduler, name) for name in self._NAMES}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in self._NAMES:
            setattr(self._scheduler, name, state[name])

    _NAMES = ("hyperparam_value", "metric_values", "current_patient")


# config.py has their names.
SCHEDULES: dict[str, type[WarmCool] | type[Halving]] = {"warm_cool": WarmCool, "halving": Halving}
