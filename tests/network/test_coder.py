"""The coder: levels, threshold, range, gradient."""

from __future__ import annotations

import pytest
import torch

from snn_asr.errors import UsageError
from snn_asr.network.coder import Coder, encode, power_below
from snn_asr.network.coder_settings import LEVELS, CoderSettings
from snn_asr.network.ranges import RangeTracker


def levels(bits: int, threshold: int) -> set[int]:
    coder = Coder.at(CoderSettings(bits, threshold), range=2.0)
    sent = encode(torch.linspace(-2.5, 2.5, 5001, dtype=torch.float64), coder)
    return {round(float(each) * coder.scale) for each in sent}


def test_six_bits_with_threshold_three_send_4_to_31():
    assert levels(6, 3) == {0, *range(4, 32), *range(-31, -3)}


def test_two_bits_are_binary():
    assert levels(2, 0) == {-1, 0, 1}


def test_sent_value_never_exceeds_the_membrane():
    coder = Coder.at(CoderSettings(6, 3), range=1.0)
    membrane = torch.linspace(0, 1, 999, dtype=torch.float64)
    residue = membrane - encode(membrane, coder)
    assert residue.min() >= 0
    assert residue.max() < 4.01 / coder.scale  # up to the threshold and a level, all of it stays behind


def test_gradient_is_straight_through_inside_the_clamp_only():
    membrane = torch.tensor([-1.5, -1.0, -0.01, 0.0, 0.4, 1.0, 1.01], requires_grad=True)
    encode(membrane, Coder.at(CoderSettings(), range=1.0)).sum().backward()
    assert membrane.grad.tolist() == [0, 1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"bits": 1}, {"bits": 40}, {"threshold": 31}, {"threshold": -1}, {"range": "mean"}, {"fixed_range": 0.0},
        {"levels": "cubes"}, {"threshold": 32, "levels": "powers_of_two"},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(UsageError):
        CoderSettings(**wrong)


def test_a_threshold_beside_too_few_bits_says_which_would_do():
    with pytest.raises(UsageError, match="threshold: 3 silences every .* bits=2 .*; give threshold=0, or more bits"):
        CoderSettings(bits=2, threshold=3)
    with pytest.raises(UsageError, match="with bits=3 they end at 3; give threshold=0 to 2, or more bits"):
        CoderSettings(bits=3, threshold=5)


def test_moving_average_follows_the_extremes_with_adams_correction():
    tracker = RangeTracker(CoderSettings(range="moving_average", momentum=0.1))
    assert not tracker.calibrated
    assert tracker.value() == 1.0
    tracker.observe(torch.tensor([-1.0, 4.0]))
    assert tracker.value() == pytest.approx(4.0)  # one observation, corrected, is itself
    tracker.observe(torch.tensor([-9.0, 2.0]))
    # minimum: (0.9 · 0.1 · -1 + 0.1 · -9) / (1 - 0.81); maximum: (0.9 · 0.4 + 0.2) / 0.19
    assert tracker.value() == pytest.approx(max(0.99 / 0.19, 0.56 / 0.19))


def test_fixed_range_never_moves():
    tracker = RangeTracker(CoderSettings(range="fixed", fixed_range=2.0))
    tracker.observe(torch.tensor([-9.0, 9.0]))
    assert tracker.value() == 2.0


def test_silent_layer_keeps_a_usable_range():
    tracker = RangeTracker(CoderSettings())
    tracker.observe(torch.zeros(2))
    assert tracker.value() > 0


def test_powers_of_two_are_sent_up_to_the_range_itself():
    coder = Coder.at(CoderSettings(6, 3, levels="powers_of_two"), range=2.0)
    sent = encode(torch.linspace(-2.5, 2.5, 5001, dtype=torch.float64), coder)
    assert set(sent.tolist()) == {0.0, *(side * 2.0 ** -k for side in (-1, 1) for k in range(-1, 3))}
    membrane = torch.linspace(0, 2, 999, dtype=torch.float64)
    residue = membrane - encode(membrane, coder)
    assert residue.min() >= 0 and (residue < membrane.clamp(min=0.25) / 2 + 1e-9)[membrane >= 0.25].all()


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_power_below_clears_the_mantissa(kind):
    values = torch.tensor([0.0, 1.0, 1.99, -3.0, 31.0, 0.3, -(2.0**30) - 1], dtype=kind)
    assert power_below(values).tolist() == [0.0, 1.0, 1.0, -2.0, 16.0, 0.25, -(2.0**30)]


def test_which_levels_cost_additions_alone():
    of = {levels: CoderSettings(levels=levels) for levels in LEVELS}
    assert [each.additive for each in of.values()] == [False, True] and CoderSettings(2, 0).additive
    assert [each.unit_products for each in of.values()] == [2, 0]
