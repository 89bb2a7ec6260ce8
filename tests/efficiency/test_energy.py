"""Prices of operations and memory, and the density at which spiking stops to pay."""

from __future__ import annotations

import pytest
import torch
from event_cases import FEATURES, build, trained

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.normalization import Normalization
from snn_asr.efficiency.energy import (
    DRAM_PICOJOULES,
    PLACES,
    access_picojoules,
    energy_estimate,
    in_dram,
    in_sram,
    lines,
    one_by_one,
    require_estimate,
)
from snn_asr.efficiency.model_work import network_shape
from snn_asr.efficiency.work import Work
from snn_asr.errors import UsageError
from snn_asr.network import front_end
from snn_asr.network.model import AcousticModel, ModelSettings

KILOBYTE = 1024
SIZE, RATE = 12, 100
# Millions of everything; weights in 32 kB, all else in 8.
WORK = Work("int8", 1e7, 2e7, 3e7, 4e7, 8e6, 16e6, 24e6, 32e6, 40e6, 48e6, 32 * KILOBYTE, 8 * KILOBYTE)


@pytest.mark.parametrize(("kilobytes", "picojoules"), [
    (0.1, 10), (8, 10), (32, 20), (1024, 100),  # as published; none is cheaper than the smallest
    (18, 15),  # half way between the roots of 8 and 32
    ((32**0.5 / 2 + 16) ** 2, 60), ((64 - 32**0.5) ** 2, 180),
])
def test_accesses_are_interpolated_in_the_root_of_the_size(kilobytes, picojoules):
    assert access_picojoules(kilobytes * KILOBYTE) == pytest.approx(picojoules)


def test_prices_by_hand():
    """Microjoules: millions of operations or bytes times picojoules."""
    priced = {name: each.microjoules for name, each in lines(WORK).items()}
    assert priced == pytest.approx({
        "multiplications": 10 * 0.2, "additions": 20 * 0.1,
        "unit_multiplications": 30 * 3.7, "unit_additions": 40 * 0.9,
        "weights": 8 * 20 / 8, "constants": 16 * 20 / 8,
        "values": 24 * 10 / 8, "states": 32 * 10 / 8, "sums": 40 * 10 / 8,
    })
    total = 2 + 2 + 111 + 36 + 20 + 40 + 30 + 40 + 50
    assert in_sram(WORK) == pytest.approx(total)
    assert one_by_one(WORK) == pytest.approx(total + 48 * 10 / 8)
    assert in_dram(WORK) == pytest.approx(total - 60 + 24 * 1300 / 8)
    assert in_dram(WORK, DRAM_PICOJOULES[1]) == pytest.approx(total - 60 + 24 * 2600 / 8)


@pytest.mark.parametrize(("precision", "multiplication", "addition"), [
    ("float32", 3.7, 0.9), ("int8", 0.2, 0.1), ("int4", 0.2, 0.1),
])
def test_operations_cost_what_their_precision_does(precision, multiplication, addition):
    work = Work(precision, 1e6, 1e6, 1e6, 1e6, *[0.0] * 8)
    priced = [each.microjoules for each in lines(work).values()]
    assert priced[:4] == pytest.approx([multiplication, addition, 3.7, 0.9])
    assert sum(priced[4:]) == 0


@pytest.mark.parametrize("precision", ["float32", "int8", "int4"])
@pytest.mark.parametrize("name", ["improved_v2", "lif", "rlif", "delta_gru"])
def test_at_the_break_even_density_the_dense_network_takes_as_much(name, precision):
    model = trained(name, size=200)
    sent = [FEATURES * RATE, 30 * RATE, 10 * RATE]
    result = energy_estimate(model, precision, sent, RATE, 4.0)
    shape = network_shape(model, precision)
    assert result.density == pytest.approx(40 / 400)
    assert result.events.microjoules.sram == pytest.approx(in_sram(shape.work([FEATURES, 30, 10], 25)))
    for place, price in PLACES.items():
        grown = result.break_even_density[place] / result.density
        there = shape.work([FEATURES, 30 * grown, 10 * grown], 25)
        assert price(there) == pytest.approx(price(shape.every_product(25, "int8"))) == pytest.approx(
            result.microjoules_dense[place]
        )
    limits = result.break_even_density
    assert limits["one_by_one"] < limits["sram"]
    if precision == "float32":
        assert limits["dram"] < 0.5  # four bytes for one


def test_what_sends_no_lists_has_no_break_even():
    sent = [FEATURES * RATE, SIZE * RATE, SIZE * RATE]
    result = energy_estimate(trained("gru"), "int8", sent, RATE, 1.0)
    assert result.density is None and set(result.break_even_density.values()) == {None}
    assert result.events == result.every_product
    assert result.microjoules_without_events["sram"] == result.events.microjoules.sram


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_silence_and_no_audio_take_what_every_frame_takes(seconds):
    frames = int(seconds * RATE)
    result = energy_estimate(trained("improved_v2"), "int8", [FEATURES * frames, 0, 0], frames, seconds)
    assert (result.density, result.break_even_density["dram"]) == (0, None)
    taken = result.events.microjoules.sram
    assert taken == result.microjoules_without_events["sram"] and (taken > 0) == (frames > 0)


def test_convolutions_are_refused_in_one_line():
    features = FeatureSettings(mels=FEATURES, stack=4)
    settings = ModelSettings(features, "improved_v2", SIZE, 1, {}, front_end=front_end.named("subsample4"))
    model = AcousticModel(settings, Normalization(torch.zeros(FEATURES), torch.ones(FEATURES)), 3).eval()
    assert energy_estimate(model, "float32", [1, 1], 1, 1.0) is None
    with pytest.raises(UsageError, match="no convolutions"):
        require_estimate(model)
    require_estimate(build("gru"))
