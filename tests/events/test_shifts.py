"""Levels that are powers of two in the event engine: in int8 weights are shifted, and give the bits of products."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from event_cases import FEATURES, trained

from snn_asr.events.engine import event_network
from snn_asr.events.kernels.delivery import HIGHEST_SHIFT, SHIFTS
from snn_asr.events.quantization import quantized

POWERS = {"levels": "powers_of_two", "gate_levels": "powers_of_two", "range": "fixed"}


def coded(model, frames: int) -> np.ndarray:
    """Features (T, D) as the model's own coder sends them, with both signs."""
    x = 2 * torch.randn(1, frames, FEATURES)
    events, _ = model.encoder.input_coder(x, torch.tensor([frames]), None)
    assert events.min() < 0 < events.max()
    return events[0].numpy()


def multiplying(network):
    """The same network, which multiplies by the levels."""
    table = network.table.copy()
    assert table[:, SHIFTS].all()
    table[:, SHIFTS] = 0
    return replace(network, table=table)


@torch.no_grad()
def pruned_model(bits: int, share: float):
    torch.manual_seed(3)
    model = trained("improved_v2", size=40, bits=bits, threshold=0, input_coding="coder", input_bits=bits, **POWERS)
    for layer in model.encoder.layers:
        for weight in layer.core_weights():
            weight[torch.rand_like(weight) < share] = 0
    return model


@pytest.mark.parametrize("pruned", [0.0, 0.8, 0.97])
@pytest.mark.parametrize("bits", [2, 4, 6, 7])
def test_shifts_give_the_bits_of_products(bits, pruned):
    """In whole rows, and in blocks of what pruning has left."""
    model = pruned_model(bits, pruned)
    x, network = coded(model, 30), event_network(model, "int8")
    found, wanted = (each.run(x, each.initial_state()) for each in (network, multiplying(network)))
    assert np.array_equal(found, wanted) and np.abs(found).max() > 0


@pytest.mark.parametrize("pruned", [0.0, 0.97])
@pytest.mark.parametrize("bits", [8, HIGHEST_SHIFT + 1])
def test_levels_above_those_of_products_are_exact_too(bits, pruned):
    """The same rounded weights in float32, until rounding makes a spike differ; products know 127 levels alone."""
    model = pruned_model(bits, pruned)
    x, network, exact = coded(model, 6), event_network(model, "int8"), event_network(quantized(model))
    wanted = exact.run(x, exact.initial_state())
    np.testing.assert_allclose(network.run(x, network.initial_state()), wanted, rtol=1e-3, atol=2e-3)


def test_levels_too_high_for_shifts_are_multiplied_by():
    model = pruned_model(12, 0.0)
    x, network, exact = coded(model, 20), event_network(model, "int8"), event_network(quantized(model))
    wanted = exact.run(x, exact.initial_state())
    assert np.abs(network.run(x, network.initial_state()) - wanted).mean() < 0.3 * np.abs(wanted).mean()


@torch.no_grad()
def test_a_model_of_shifts_multiplies_nothing():
    model = trained("improved_v2", input_coding="coder", smoothing=0.5, **POWERS)
    for layer in model.encoder.layers:
        assert layer.additive and layer.unit_products == 0
    assert not model.encoder.integration_multiplies and model.encoder.input_coder.unit_products == 0


@pytest.mark.parametrize("pruned", [0.0, 0.97])
def test_zeros_that_are_multiplied_by_as_well_add_nothing(pruned):
    """No shift stands for a zero, and dense cells take the products of all that is sent."""
    model = pruned_model(6, pruned)
    x = coded(model, 30)
    found, wanted = (
        each.run(x, each.initial_state())
        for each in (event_network(model, "int8", every=True), event_network(model, "int8"))
    )
    assert (x == 0).any() and np.array_equal(found, wanted)
