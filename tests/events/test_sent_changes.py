"""The event engine where changes are sent: by the units of delta_gru, and by features that are held."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from event_cases import CLASSES, FEATURES, trained

from snn_asr.efficiency.operations import Record, record_layers
from snn_asr.events.engine import event_network
from snn_asr.events.quantization import quantized
from snn_asr.network.changes import changes

CASES = {
    "delta_gru": {"input_coding": "delta", "input_delta_threshold": 0.5},
    "delta_gru smoothed": {"input_coding": "delta", "smoothing": 0.5, "head": "input"},
    "delta_gru features as they are": {"delta_threshold": 0.2},
    "improved_v2": {"input_coding": "delta", "input_delta_threshold": 0.5},
    "improved_v1": {"input_coding": "delta", "input_delta_threshold": 0.0, "smoothing": 0.3},
}


def build(case: str):
    return trained(case.split()[0], **CASES[case])


def walk(frames: int) -> torch.Tensor:
    """Features that move slowly, and stand still for a while: (frames, FEATURES)."""
    torch.manual_seed(1)
    x = (0.4 * torch.randn(frames, FEATURES)).cumsum(0)
    x[frames // 2 : frames // 2 + 5] = x[frames // 2]
    return x - x.mean(0)


@torch.no_grad()
def held(model, x: torch.Tensor) -> np.ndarray:
    """What a stream gives the engine for the features x (T, D)."""
    coder = model.encoder.input_coder
    return (x if coder is None else coder(x.unsqueeze(0), torch.tensor([len(x)]), None)[0][0]).contiguous().numpy()


@torch.no_grad()
def batch(model, x: torch.Tensor):
    """Logits (T, N) and events of each source, by the batch engine."""
    with record_layers(model.encoder) as records:
        logits, _, _ = model(x.unsqueeze(0), torch.tensor([len(x)]), normalized=True)
        layers = [each for each in records if isinstance(each, Record)]
    coder, features = model.encoder.input_coder, layers[0].x
    sent = [changes(features) if coder is not None else features]
    sent += [changes(each.y) if each.layer.sends_changes else each.y for each in layers]
    return logits[0].numpy(), [int((each != 0).sum()) for each in sent]


@pytest.mark.parametrize("case", CASES)
def test_logits_and_events_are_those_of_the_batch_engine(case):
    model, x = build(case), walk(60)
    expected, sent = batch(model, x)
    network = event_network(model)
    state, inputs = network.initial_state(), held(model, x)
    found = np.concatenate([network.run(inputs[n : n + 7], state) for n in range(0, 60, 7)])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert state.sent.tolist() == sent
    assert found.shape[1] == CLASSES and sent[1] < 60 * 12
    state.reset()
    assert np.array_equal(network.run(inputs, state), found)
    dense = event_network(model, every=True)
    state = dense.initial_state()
    np.testing.assert_allclose(dense.run(inputs, state), expected, rtol=1e-4, atol=1e-4)
    assert state.sent.tolist() == [60 * FEATURES, 60 * 12, 60 * 12]


@pytest.mark.parametrize("case", CASES)
def test_in_int8_rounded_changes_do_not_add_up(case):
    """Against the network with the same rounded weights, over so many frames that a drift would show."""
    model, x = build(case), walk(600)
    network, exact = event_network(model, "int8"), event_network(quantized(model))
    inputs = held(model, x)
    errors = np.abs(network.run(inputs, network.initial_state()) - exact.run(inputs, exact.initial_state())).mean(1)
    scale = np.abs(exact.run(inputs, exact.initial_state())).mean()
    assert errors[-150:].mean() < max(3 * errors[:150].mean(), 0.1 * scale)
    assert errors.mean() < 0.3 * scale  # a change near the threshold may be sent by one alone


def test_silence_sends_nothing():
    model = build("delta_gru")
    network = event_network(model)
    state = network.initial_state()
    network.run(held(model, torch.randn(1, FEATURES).expand(300, -1)), state)
    before = state.sent.copy()
    inputs = held(model, torch.randn(1, FEATURES).expand(300, -1))
    network.run(inputs, state)
    network.run(inputs, state)
    assert (state.sent - before)[0] <= FEATURES and (state.sent - before)[1:].max() < 0.1 * 600 * 12
