"""Operations and bytes of a network: by hand, against the event engine's own sources, and by how they grow."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from event_cases import CLASSES, FEATURES, build, trained

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.efficiency.model_work import feature_operations, network_shape
from snn_asr.efficiency.work import MatrixShape, NetworkShape, SourceShape
from snn_asr.errors import UsageError
from snn_asr.events.engine import event_network
from snn_asr.network.encoders import ENCODERS
from snn_asr.network.integers import WEIGHT_PRECISIONS
from snn_asr.training.loop.pruning import keep_largest, matrices

SIZE = 12
FED = SourceShape(2, (MatrixShape(130, 2, 8, 260),))
LISTED = SourceShape(10, (MatrixShape(3, 10, 8, 30), MatrixShape(130, 10, 8, 1300)), listed=True)
SMALL = NetworkShape("int8", (FED, LISTED), unit_operations=20, state_numbers=30, neuron_numbers=10)


def test_a_small_network_by_hand():
    """Ten frames a second, both features and half an event in each: 2 · 130 + 133 / 2 products."""
    work = SMALL.work([2, 0.5], 10)
    assert (work.multiplications, work.additions, work.weights_bytes) == (3265, 3265, 3265)
    assert work.unit_multiplications == 10 * (20 + 263)  # 130 + 3 + 130 sums are scaled
    assert work.unit_additions == 10 * (30 + 263)  # at least one for each number of the state
    assert work.constants_bytes == 10 * 4 * (133 + 263 + 10)  # offsets of what is fed, scales of all sums, neurons
    # Written, and read for 64 + 64 + 2 (or 5) sums; index and level.
    assert work.values_bytes == 10 * (2 * 1 + 0.5 * 3) * 4
    assert (work.states_bytes, work.sums_bytes) == (10 * 30 * 8, 10 * 263 * 8)
    assert work.listed_sums_bytes == 10 * 66.5 * 8
    assert work.weights_memory_bytes == 260 + 1330 + 1624
    assert work.state_memory_bytes == 4 * (30 + 263) + 2 * 1 + 10 * 3


def test_every_product_of_it_by_hand():
    work = SMALL.every_product(10)
    assert work.multiplications == work.additions == work.weights_bytes == 10 * (260 + 1330)
    assert work.values_bytes == 10 * (2 + 10) * 4  # no indices
    assert (work.listed_sums_bytes, work.state_memory_bytes) == (0, 4 * (30 + 263) + 12)
    same = (
        "unit_multiplications", "unit_additions", "constants_bytes", "states_bytes", "sums_bytes",
        "weights_memory_bytes",
    )
    assert {name: getattr(work, name) for name in same} == {
        name: getattr(SMALL.work([2, 0.5], 10), name) for name in same
    }
    wide = SMALL.every_product(10, "float32")
    assert (wide.weights_bytes, wide.values_bytes) == (4 * work.weights_bytes, 4 * work.values_bytes)
    assert wide.unit_multiplications == 10 * 20 and wide.constants_bytes == 10 * 4 * (133 + 10)  # nothing is scaled
    assert SMALL.every_product(10, "int4").weights_bytes == 10 * (130 + 30 + 650)  # the head stays int8


def test_work_grows_with_frames_and_events():
    once, twice, more = SMALL.work([2, 0.5], 10), SMALL.work([2, 0.5], 20), SMALL.work([2, 1.5], 10)
    sizes = ("precision", "weights_memory_bytes", "state_memory_bytes")
    for name, value in asdict(once).items():
        assert getattr(twice, name) == (value if name in sizes else 2 * value)
    grown = {name for name, value in asdict(once).items() if getattr(more, name) != value}
    assert grown == {"multiplications", "additions", "weights_bytes", "values_bytes", "listed_sums_bytes"}
    assert more.weights_bytes - once.weights_bytes == 10 * 133


def test_binary_events_have_no_value_and_are_added():
    spikes = replace(SMALL, sources=(FED, replace(LISTED, binary=True, additive=True)))
    graded, binary = SMALL.work([2, 0.5], 10), spikes.work([2, 0.5], 10)
    assert binary.multiplications == 2600 and binary.additions == graded.additions
    assert graded.values_bytes - binary.values_bytes == 10 * 0.5 * 4
    assert spikes.every_product(10) == SMALL.every_product(10)


@pytest.mark.parametrize(("bits", "nonzero", "stored"), [(8, 100, 100 + 125), (8, 900, 1000), (4, 100, 50 + 125),
                                                         (32, 900, 3600 + 125), (8, 0, 125)])
def test_zeros_are_left_out_where_that_saves_bytes(bits, nonzero, stored):
    """1000 weights: 125 bytes tell which are there."""
    matrix = MatrixShape(100, 10, bits, nonzero)
    assert matrix.nbytes == stored
    assert matrix.products == (1000 if (bits, nonzero) == (8, 900) else nonzero)


@pytest.mark.parametrize("precision", WEIGHT_PRECISIONS)
@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_sources_are_those_of_the_event_engine(name, precision):
    model = trained(name)
    shape, engine = network_shape(model, precision), event_network(model, precision)
    assert [(each.units, each.fan_out) for each in shape.sources] == list(map(tuple, engine.sources))
    assert [each.outputs for each in shape.sources][-1] == CLASSES
    assert not shape.sources[0].listed
    dense = shape.every_product(1)
    products = sum(each.units * each.fan_out for each in engine.sources)
    assert dense.multiplications == dense.additions == products
    assert shape.work([each.units for each in shape.sources], 1).additions <= products


@pytest.mark.parametrize("precision", WEIGHT_PRECISIONS)
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_events_of_a_dense_network_are_every_product(name, precision):
    shape = network_shape(trained(name), precision)
    assert shape.work([FEATURES, SIZE, SIZE], 25) == shape.every_product(25)
    assert shape.listed_units == 0


@pytest.mark.parametrize(("name", "options", "states", "operations"), [
    ("gru", {}, SIZE, 2), ("lstm", {}, 2 * SIZE, 3), ("improved_v2", {}, 3 * SIZE, 1), ("lif", {}, 3 * SIZE, 1),
    ("spiking_lstm", {}, 2 * SIZE, 0), ("rlif", {}, 2 * SIZE, 2), ("radlif", {}, 3 * SIZE, 4),
    ("improved_v2", {"recurrent_smoothing": 0.4}, 5 * SIZE, 3),  # the smoothed product too
])
def test_numbers_that_a_unit_keeps_and_multiplies(name, options, states, operations):
    shape = network_shape(trained(name, layers=1, **options), "float32")
    assert shape.state_numbers == states
    assert shape.unit_operations == operations * SIZE


def test_integrators_and_input_coding_are_kept_and_multiplied_for():
    plain = network_shape(trained("improved_v2"), "int8")
    smooth = network_shape(trained("improved_v2", smoothing=0.6), "int8")
    behind = 2 * SIZE + CLASSES
    assert smooth.state_numbers - plain.state_numbers == smooth.unit_operations - plain.unit_operations == behind
    coded = network_shape(trained("improved_v2", input_coding="coder"), "int8")
    assert coded.sources[0].listed and coded.state_numbers - plain.state_numbers == 2 * FEATURES
    held = network_shape(trained("improved_v2", input_coding="delta"), "int8")
    assert held.state_numbers - plain.state_numbers == FEATURES + 2 * SIZE  # and the sums of their products


def test_pruned_weights_are_fewer_products_and_bytes():
    model = trained("improved_v2")
    whole = network_shape(model, "int8")
    with torch.no_grad():
        for weight in matrices(model.encoder).values():
            weight.mul_(keep_largest(weight, 0.75))
    pruned = network_shape(model, "int8")
    one = [0.0, 1.0, 0.0]
    assert whole.work(one, 1).weights_bytes == whole.work(one, 1).additions == 48
    assert pruned.work(one, 1).additions == pytest.approx(12, abs=1)
    assert pruned.work(one, 1).weights_bytes == pruned.work(one, 1).additions + 48 / 8
    assert pruned.every_product(1) == whole.every_product(1)


def test_a_bidirectional_encoder_is_refused():
    with pytest.raises(UsageError, match="bidirectional"):
        network_shape(build("improved_v2", bidirectional=True), "float32")


def test_operations_of_features():
    """16 kHz, 25 ms: 400 samples, 512 points, 100 frames a second: 128 · 8 butterflies of 256 complex points."""
    multiplications, additions = feature_operations(FeatureSettings())
    bands = multiplications / 100 - 2 * 400 - 4 * (1024 + 128) - 2 * 256 - 40
    assert 400 < bands < 512  # a point lies in two of the bands at most, and the lowest and highest in none
    assert additions / 100 == 3 * 400 + 6 * (1024 + 128) + 256 + 40 + bands
    often = feature_operations(FeatureSettings(hop_milliseconds=5))
    assert often == (2 * multiplications, 2 * additions)
    cepstral = feature_operations(FeatureSettings(kind="mfcc", deltas=True))
    assert cepstral[0] / 100 == multiplications / 100 - 40 + 40 * 13 + 2 * 5 * 13 + 39
