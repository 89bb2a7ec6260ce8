"""Values that are sent when they have changed, and the GRU whose units do so."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from trained_encoders import trained_encoder

from snn_asr.errors import UsageError
from snn_asr.network import encoders, kernels
from snn_asr.network.changes import changes, hold, hold_all
from snn_asr.network.layers.delta_gru import DeltaGruLayer


def test_a_value_is_held_until_it_has_moved_by_more_than_the_threshold():
    values = torch.tensor([0.25, 0.5, 0.75, 0.5, 0.0, -1.0]).reshape(1, -1, 1)
    held = hold_all(values, torch.zeros(1, 1), 0.25)
    assert held.flatten().tolist() == [0, 0.5, 0.5, 0.5, 0.0, -1.0]
    assert changes(held).flatten().tolist() == [0, 0.5, 0, 0, -0.5, -1.0]
    assert hold(values[:, 2], held[:, 1], 0.25).item() == 0.5


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_the_cpus_kernel_sends_what_the_reference_sends(kind):
    """With values on the threshold itself, infinite ones and such as are no numbers; the latter are never sent."""
    torch.manual_seed(1)
    values, start = torch.randn(4, 50, 9).mul(4).round().div(8).to(kind), torch.zeros(4, 9, dtype=kind)
    values[1, 3:9, 2], values[2, 5, 4], values[2, 6, 4] = math.nan, math.inf, -math.inf
    sent, wanted = (hold_all(values, start, 0.375, backend) for backend in ("cpu", "reference"))
    assert torch.equal(sent, wanted) and torch.isfinite(sent[1]).all() and torch.isinf(sent[2, 5, 4])
    assert 0.2 < (sent == values).double().mean() < 0.9


def test_held_features_run_on_the_backend_of_the_model(monkeypatch):
    encoder = encoders.build("improved_v2", 3, 4, 1, input_coding="delta").eval()
    encoder.use_backend("reference")
    monkeypatch.setattr(kernels.load("cpu"), "hold", lambda *_: pytest.fail("asked for another backend"))
    encoder(torch.randn(2, 5, 3), torch.full((2,), 5))


def test_the_gradient_is_straight_through():
    values, held = torch.randn(2, 5, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    weight = torch.randn(2, 5, 3)
    (hold_all(values, held, 0.5) * weight).sum().backward()
    assert torch.equal(values.grad, weight) and held.grad is None


@torch.no_grad()
def test_without_a_threshold_it_is_torchs_gru():
    torch.manual_seed(0)
    layer, twin = DeltaGruLayer(5, 7, delta_threshold=0.0, normalize=False).eval(), nn.GRU(5, 7, batch_first=True)
    twin.weight_ih_l0.copy_(layer.input_weight)
    twin.weight_hh_l0.copy_(layer.recurrent_weight)
    twin.bias_ih_l0.copy_(layer.bias)
    twin.bias_hh_l0.zero_()
    x = torch.randn(3, 40, 5)
    torch.testing.assert_close(layer(x, torch.full((3,), 40))[0], twin(x)[0], rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_threshold_silences_and_bounds_the_error_of_what_is_held():
    densities = []
    for threshold in (0.0, 0.1, 0.5):
        layer = trained_encoder("delta_gru", input_size=6, hidden_size=16, delta_threshold=threshold).layers[0]
        x, lengths = torch.randn(4, 30, 6), torch.full((4,), 30)
        outputs, state = layer(x, lengths)
        assert (state.hidden - state.output).abs().max() <= threshold
        torch.testing.assert_close(
            state.memory + state.change @ layer.recurrent_weight.T, outputs[:, -1] @ layer.recurrent_weight.T
        )
        densities.append((changes(outputs) != 0).float().mean().item())
    assert densities[0] == 1.0 > densities[1] > densities[2] > 0


def test_the_activity_is_the_mean_change_and_has_a_gradient():
    layer = DeltaGruLayer(3, 4)
    outputs = torch.tensor([[1.0, 3.0, 2.0], [5.0, 0.0, 0.0]]).unsqueeze(-1).requires_grad_()
    found = layer.activity(outputs, torch.tensor([3, 1]))
    assert found.item() == (1 + 2 + 1 + 5) / 4
    found.backward()
    assert outputs.grad.flatten().tolist() == [0.0, 0.5, -0.25, 0.25, 0.0, 0.0]


@pytest.mark.parametrize("wrong", [{"delta_threshold": -0.1}, {"input_delta_threshold": -1.0}])
def test_a_negative_threshold_is_refused(wrong):
    with pytest.raises(UsageError, match="must not be negative"):
        encoders.build("delta_gru", 3, 4, 1, input_coding="delta", **wrong)
