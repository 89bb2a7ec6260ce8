"""Learning-rate schedules, step by step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from snn_asr.errors import UsageError
from snn_asr.training.loop.schedules import SCHEDULES, Halving, WarmCool, pruning_span, steps_within
from snn_asr.training.recipes import config, keys
from snn_asr.training.recipes.keys import TrainingConfig


def optimizer_at(rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def test_warm_cool_rises_stays_and_falls_to_zero():
    optimizer, rates = optimizer_at(1.0), []
    schedule = WarmCool(TrainingConfig(learning_rate=1.0, epochs=4, warmup_epochs=1, cooldown_epochs=2), [5] * 4)
    for step in range(1, 21):
        schedule.on_batch(optimizer, step)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5:9] == [1.0] * 4
    assert rates[-1] == pytest.approx(0) and rates[14] == pytest.approx(0.5)


def test_with_fewer_epochs_than_a_recipe_cools_down_for_the_way_down_takes_what_warm_up_leaves():
    config = TrainingConfig(learning_rate=1.0, epochs=3, warmup_epochs=1, cooldown_epochs=160)
    schedule, optimizer, rates = WarmCool(config, [4] * 3), optimizer_at(1.0), []
    for step in range(1, 13):
        schedule.on_batch(optimizer, step)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[:4] == sorted(rates[:4]) and max(rates) > 0.9
    assert rates[4:] == sorted(rates[4:], reverse=True) and rates[-1] == 0.0


def test_rounding_takes_the_last_rate_no_further_than_zero():
    config = TrainingConfig(learning_rate=0.0025, epochs=1456, warmup_epochs=2, cooldown_epochs=1164)
    schedule, optimizer = WarmCool(config, [1] * 1456), optimizer_at(1.0)
    schedule.on_batch(optimizer, 1456)
    assert optimizer.param_groups[0]["lr"] == 0.0


def test_pruning_begins_and_ends_at_epochs_or_at_shares_of_all_of_them():
    of_shares = TrainingConfig(epochs=200, pruning=0.9, pruning_epochs=(0.1, 0.6))
    whole = replace(of_shares, pruning_epochs=(20, 120))
    assert pruning_span(of_shares) == pruning_span(whole) == (20, 120)
    assert pruning_span(replace(of_shares, epochs=2)) == pytest.approx((0.2, 1.2))
    replace(of_shares, epochs=1).check("a recipe")
    kind = config.keys()["pruning_epochs"].kind
    assert [type(each) for each in kind.read("pruning_epochs", [0, 0.5], "a recipe")] == [float, float]
    for wrong in ([0, 1.5], [0.1], [-1, 2], 3, ["a", 1]):
        with pytest.raises(UsageError, match="pruning_epochs"):
            kind.read("pruning_epochs", wrong, "a recipe")


def test_short_epochs_of_a_curriculum_count_as_the_steps_they_have():
    config = TrainingConfig(learning_rate=1.0, epochs=5, warmup_epochs=2, cooldown_epochs=1.5)
    optimizer, rates, steps = optimizer_at(1.0), [], [1, 1, 2, 10, 10]
    schedule = WarmCool(config, steps)
    for step in range(1, sum(steps) + 1):
        schedule.on_batch(optimizer, step)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[:2] == pytest.approx([0.5, 1.0]) and rates[8] == 1.0
    assert rates[-1] == pytest.approx(0) and rates[-2] == pytest.approx(1 / 15)


@pytest.mark.parametrize(("epochs", "steps"), [(0, 0), (1, 3), (1.5, 5), (2, 8), (2.5, 10), (4, 18), (4.5, 20)])
def test_parts_of_epochs_have_parts_of_their_steps(epochs, steps):
    assert steps_within([3, 5], epochs) == steps


def errors_to_rates(schedule: Halving, optimizer, errors: list[float]) -> list[float]:
    rates = []
    for error in errors:
        schedule.on_epoch(optimizer, error)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def test_halving_forgives_one_epoch_and_stops_at_the_floor():
    optimizer = optimizer_at(1e-3)
    schedule = Halving(TrainingConfig(learning_rate=1e-3), [1])
    assert errors_to_rates(schedule, optimizer, [50, 40, 39.9, 30, 30, 30]) == [*[1e-3] * 5, 5e-4]
    assert errors_to_rates(schedule, optimizer, [30] * 12)[-1] == 1.25e-4


def test_halving_counts_bad_epochs_in_a_row_against_the_epoch_before():
    optimizer = optimizer_at(1.0)
    schedule = Halving(TrainingConfig(learning_rate=1.0), [1])
    assert errors_to_rates(schedule, optimizer, [50, 50, 40, 40, 30, 30, 20, 20]) == [1.0] * 8  # never two in a row
    # Worse than the best, but better than the epoch before, is good; 0.4 % better is bad.
    assert errors_to_rates(schedule, optimizer, [40, 39, 38.9, 38.8]) == [0.5, 0.5, 0.5, 0.25]


def test_halving_by_another_factor_down_to_another_floor():
    optimizer = optimizer_at(1.0)
    config = TrainingConfig(learning_rate=1.0, halving_factor=0.7, lowest_learning_rate=0.4)
    assert errors_to_rates(Halving(config, [1]), optimizer, [50] * 9)[2::2] == pytest.approx([0.7, 0.49, 0.4, 0.4])


def test_halving_goes_on_from_its_state():
    optimizer, schedule = optimizer_at(1e-3), Halving(TrainingConfig(learning_rate=1e-3), [1])
    errors_to_rates(schedule, optimizer, [50, 50])
    restored = Halving(TrainingConfig(learning_rate=1e-3), [1])
    restored.load_state_dict(schedule.state_dict())
    assert errors_to_rates(restored, optimizer, [50]) == [5e-4]


def test_the_names_that_recipes_give_are_those_of_the_schedules():
    assert tuple(SCHEDULES) == keys.SCHEDULES


@pytest.mark.parametrize(("steps", "told"), [([1], True), ([2], False), ([1, 1], False)])
def test_a_training_that_learns_nothing_because_its_only_rate_is_zero_says_so(steps, told, caplog):
    schedule, optimizer, rates = WarmCool(TrainingConfig(epochs=len(steps)), steps), optimizer_at(1.0), []
    for step in range(1, sum(steps) + 1):
        schedule.on_batch(optimizer, step)
        rates.append(optimizer.param_groups[0]["lr"])
    assert ("nothing is learned" in caplog.text) == told == (max(rates) == 0)
