"""The event engine against the batch engine: spikes, logits, dense copies, int8, counts, sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from event_cases import CLASSES, DENSE, FEATURES, SPIKING, build, dyadic, trained
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_asr.efficiency.operations import Record, record_layers
from snn_asr.errors import UsageError
from snn_asr.events.compiled import CompiledNetwork
from snn_asr.events.engine import event_network

SIZE = 12


@torch.no_grad()
def batch(model, x: torch.Tensor):
    """Outputs of every layer (L, T, H) and logits (T, N) of the batch engine for x (T, D)."""
    with record_layers(model.encoder) as records:
        logits, _, _ = model(x.unsqueeze(0), torch.tensor([len(x)]), normalized=True)
        outputs = [each.y[0] for each in records if isinstance(each, Record)]
    return torch.stack(outputs).numpy(), logits[0].numpy()


def events(network: CompiledNetwork, x: torch.Tensor, state=None):
    """The same of the event engine, frame by frame."""
    state = network.initial_state() if state is None else state
    logits, outputs = [], []
    for frame in x.numpy():
        logits.append(network.run(frame[None], state))
        outputs.append(state.units[:, 0] * network.level_units)
    return np.stack(outputs, axis=1), np.concatenate(logits)


@settings(max_examples=40)
@given(
    case=st.sampled_from(sorted(SPIKING)), seed=st.integers(0, 10**6), frames=st.integers(1, 8),
    smoothing=st.sampled_from([0.0, 0.5]), layers=st.integers(1, 3),
)
def test_spikes_equal_the_batch_engine_bit_for_bit_where_products_are_exact(case, seed, frames, smoothing, layers):
    model = dyadic(case, seed, smoothing=smoothing, layers=layers, head="output")
    x = torch.randint(-8, 9, (frames, FEATURES)) / 4.0
    expected, expected_logits = batch(model, x)
    outputs, logits = events(event_network(model), x)
    assert np.array_equal(outputs, expected)
    np.testing.assert_allclose(logits, expected_logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", SPIKING)
def test_the_property_above_is_about_spikes(case):
    """The dyadic networks do fire, and not always."""
    x = torch.randint(-8, 9, (20, FEATURES), generator=torch.Generator().manual_seed(0)) / 4.0
    densities = [(batch(dyadic(case, seed), x)[0] != 0).mean() for seed in range(5)]
    assert 0.02 < np.mean(densities) < 0.98


@pytest.mark.parametrize("head", ["none", "input", "output"])
@pytest.mark.parametrize("case", [*DENSE, "delta_gru"])
def test_dense_layers_equal_torch(case, head):
    model = trained(case, head=head, smoothing=0.3)
    x = torch.randn(30, FEATURES)
    expected, expected_logits = batch(model, x)
    outputs, logits = events(event_network(model), x)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=2e-6)
    np.testing.assert_allclose(logits, expected_logits, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("head", ["none", "input", "output"])
@pytest.mark.parametrize("case", SPIKING)
def test_logits_equal_those_of_the_batch_engine(case, head):
    """Until rounding first makes a spike differ: not within some frames of a small network."""
    model = trained(case, head=head, smoothing=0.6)
    x = torch.randn(12, FEATURES)
    outputs, logits = events(event_network(model), x)
    expected, expected_logits = batch(model, x)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)
    np.testing.assert_allclose(logits, expected_logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", ["improved_v2", "improved_v1", "lif"])
@torch.no_grad()
def test_each_step_differs_only_where_a_membrane_lies_within_rounding_of_a_level(case):
    """Started from the batch engine's state at every frame of a network whose membranes come close to many levels."""
    model = trained(case, size=200, layers=1, bits=10, threshold=1, range="fixed", fixed_range=1.0)
    layer, network, state = model.encoder.layers[0], event_network(model), None
    scale, close, compared = model.encoder.layers[0].parts().coder.scale, 0, 0
    for frame in torch.randn(40, 1, 1, FEATURES):
        stream = network.initial_state()
        if state is not None:
            before = state[1][0]
            states = torch.stack([before.output, before.current, before.membrane])[:, 0].numpy()
            stream.units[0] = states * scale
            if layer.recurrent_weight is not None:
                forget, candidate = (before.output @ layer.recurrent_weight.T)[0].numpy().reshape(2, -1)
                stream.sums[0, 0] = np.concatenate([forget, candidate * scale])
        network.run(frame[0].numpy(), stream)
        _, state = model.encoder(frame, torch.tensor([1]), state)
        after = state[1][0]
        different = stream.units[0, 0] != np.rint(after.output[0].numpy() * scale)
        levels = after.membrane[0].numpy() * scale
        assert (np.abs(levels - np.rint(levels))[different] < 1e-3).all()
        np.testing.assert_allclose(stream.units[0, 2], levels, atol=1e-5 * scale)
        close, compared = close + int(different.sum()), compared + len(different)
    assert close < 0.01 * compared


@pytest.mark.parametrize("case", [*SPIKING, *DENSE, "delta_gru"])
def test_a_dense_copy_multiplies_zeros_and_gives_the_same(case):
    model = dyadic(case, 1) if case in SPIKING else trained(case)
    x = torch.randint(-8, 9, (8, FEATURES)) / 4.0
    sparse, dense = event_network(model), event_network(model, every=True)
    state = dense.initial_state()
    outputs, logits = events(dense, x, state)
    assert state.sent.tolist() == [8 * FEATURES, 8 * SIZE, 8 * SIZE]
    for got, wanted in zip((outputs, logits), events(sparse, x), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize("case", [*SPIKING, *DENSE, "delta_gru"])
def test_every_weight_is_some_sources(case):
    model = build(case)
    weights = model.encoder.core_parameters() + model.head.weight.numel()
    assert sum(units * fan_out for units, fan_out in event_network(model).sources) == weights


@pytest.mark.parametrize("case", SPIKING)
def test_events_are_counted_as_they_are_sent(case):
    model, x = trained(case), torch.randn(15, FEATURES)
    x[3:5] = 0
    network = event_network(model)
    state = network.initial_state()
    outputs, _ = events(network, x, state)
    assert state.sent.tolist() == [13 * FEATURES, *(outputs != 0).sum((1, 2)).tolist()]
    state.reset()
    assert not state.units.any() and not state.sums.any()
    assert np.array_equal(events(network, x, state)[0], outputs)


@pytest.mark.parametrize("case", [*SPIKING, "gru", "ligru", "bn_gru"])
@torch.no_grad()
def test_int8_is_the_model_with_rounded_weights(case):
    """One scale for each output; inputs that are multiples of one 127th of the largest lose nothing."""
    model = dyadic(case, 3) if case in SPIKING else trained(case)
    rounded = dyadic(case, 3) if case in SPIKING else trained(case)
    weights = [weight for layer in rounded.encoder.layers for weight in layer.core_weights()] + [rounded.head.weight]
    for weight in weights:
        scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-9) / 127
        weight.copy_((weight / scale).round() * scale)
    x = torch.randint(-126, 127, (6, FEATURES)).float()
    x[:, 0] = 127
    x /= 64
    outputs, logits = events(event_network(model, "int8"), x)
    expected, expected_logits = events(event_network(rounded), x)
    tolerance = 1e-4 if case in SPIKING else 0.05  # dense outputs are rounded too
    np.testing.assert_allclose(outputs, expected, atol=tolerance)
    np.testing.assert_allclose(logits, expected_logits, atol=10 * tolerance)


def test_int8_takes_a_quarter_of_the_memory_and_a_state_is_small():
    model = build("improved_v2", size=256)
    whole, small = event_network(model), event_network(model, "int8")
    assert small.nbytes < 0.3 * whole.nbytes
    stored = 4 * sum(each.numel() for layer in model.encoder.layers for each in layer.core_weights())
    assert stored < whole.nbytes < 1.1 * stored
    assert whole.initial_state().nbytes < 20_000
    assert whole.weights.ctypes.data % 64 == small.weights.ctypes.data % 64 == 0


def test_large_counts_of_a_kept_cell_do_not_overflow_int8():
    """A cell that counts up to 300 sends more than 127 levels."""
    model = dyadic("spiking_lstm kept", 0, layers=1)
    with torch.no_grad():
        layer = model.encoder.layers[0]
        layer.recurrent_weight.zero_()
        layer.bias.fill_(1)
        layer.input_weight.zero_()
    x = torch.zeros(300, FEATURES)
    expected, logits = events(event_network(model), x)
    outputs, approximate = events(event_network(model, "int8"), x)
    assert expected.max() == 300 and np.array_equal(outputs, expected)
    assert np.abs(approximate - logits).max() < 0.02 * np.abs(logits).max()


def test_silence_costs_nothing():
    network = event_network(trained("improved_v2"))
    state = network.initial_state()
    assert network.run(np.zeros((0, FEATURES), np.float32), state).shape == (0, CLASSES)
    assert state.sent.tolist() == [0, 0, 0]


def test_what_cannot_stream_is_one_line():
    with pytest.raises(UsageError, match="bidirectional"):
        event_network(build("improved_v2", bidirectional=True))
    with pytest.raises(UsageError, match="did you mean 'float32'"):
        event_network(build("gru"), "float23")
