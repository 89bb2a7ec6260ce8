"""Schedules of the learning rate: one class each, with the same methods and a state for the checkpoint."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from speechbrain.nnet.schedulers import WarmCoolDecayLRSchedule
from torch.optim import Optimizer

if TYPE_CHECKING:
    from snn_asr.training.recipes.keys import TrainingConfig

log = logging.getLogger(__name__)


def steps_within(steps: Sequence[int], epochs: float) -> int:
    """The number of training steps in the first ``epochs`` epochs, which may be a fraction or more than there are."""
    whole = int(epochs)
    padded = [*steps, *[steps[-1]] * max(0, whole + 1 - len(steps))]
    return sum(padded[:whole]) + int(padded[whole] * (epochs - whole))


def pruning_span(config: TrainingConfig) -> tuple[float, float]:
    """When pruning begins and ends, in epochs from the start; the configuration may give shares of all epochs."""
    first, last = config.pruning_epochs
    scale = config.epochs if isinstance(last, float) else 1
    return first * scale, last * scale


class WarmCool:
    """Linearly up over ``warmup_epochs``, level, and linearly down to 0 over the last ``cooldown_epochs``.

    If fewer epochs are left after the way up (as in a recipe with ``epochs=3``), the way down takes those.
    """

    def __init__(self, config: TrainingConfig, steps: Sequence[int]) -> None:
        """``steps`` has the training steps of each epoch; the first epochs of a curriculum have fewer."""
        warmup = max(1, steps_within(steps, config.warmup_epochs))
        left = sum(steps) - warmup
        cooldown = max(1, min(steps_within(steps[::-1], config.cooldown_epochs), left))
        if sum(steps) == 1:
            log.warning("the only training step has a learning rate of 0, to which the rate falls: nothing is learned; "
                        "give more epochs, or a lower batch_frames")
        self._set = WarmCoolDecayLRSchedule(config.learning_rate, warmup, cooldown, sum(steps), decay_factor=1.0)

    def on_batch(self, optimizer: Optimizer, step: int) -> None:
        """Set the rate before training step ``step``, counted from 1."""
        self._set(optimizer, step)
        for group in optimizer.param_groups:
            group["lr"] = max(0.0, group["lr"])  # rounding may make the last one negative

    def on_epoch(self, optimizer: Optimizer, error_rate: float) -> None:
        """Nothing to do: this rate does not depend on the development error."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore: the rate follows from the step."""


class Halving:
    """The schedule of Ponghiran & Roy (2022), as their code has it: the rate is halved (or multiplied by
    ``halving_factor``) when the development error has stopped improving, down to ``lowest_learning_rate``.

    An epoch is bad if (error before - error) / error is below 0.5 %. The rate is lowered after more than one bad epoch
    in a row; a good epoch or a lower rate starts the count again.
    """

    IMPROVEMENT, EPOCHS_OF_GRACE = 0.005, 1

    def __init__(self, config: TrainingConfig, steps: Sequence[int]) -> None:
        self._factor, self._lowest = config.halving_factor, config.lowest_learning_rate
        self._rate, self._before, self._bad = config.learning_rate, math.inf, 0

    def on_batch(self, optimizer: Optimizer, step: int) -> None:
        """The rate stays as it is within an epoch."""

    def on_epoch(self, optimizer: Optimizer, error_rate: float) -> None:
        bad = self._before - error_rate < self.IMPROVEMENT * error_rate if math.isfinite(self._before) else False
        self._before, self._bad = error_rate, self._bad + 1 if bad else 0
        if self._bad > self.EPOCHS_OF_GRACE:
            self._rate, self._bad = max(self._rate * self._factor, min(self._lowest, self._rate)), 0
        for group in optimizer.param_groups:
            group["lr"] = self._rate

    def state_dict(self) -> dict[str, Any]:
        return {"rate": self._rate, "before": self._before, "bad": self._bad}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rate, self._before, self._bad = state["rate"], state["before"], state["bad"]


# recipes/keys.py has their names.
SCHEDULES: dict[str, type[WarmCool] | type[Halving]] = {"warm_cool": WarmCool, "halving": Halving}
