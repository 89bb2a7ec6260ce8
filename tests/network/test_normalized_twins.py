"""The papers' GRU and LSTM, with batch normalisation, orthogonal U and a masked candidate, against plain equations."""

from __future__ import annotations

import math

import pytest
import torch

from snn_asr.network import encoders
from snn_asr.network.cells import bn_gru, bn_lstm

SIZE, INPUTS, FRAMES = 6, 5, 7


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def gru_by_hand(drive, recurrent, mask):
    """h after every frame, number by number, for one utterance: drive [frame][3 H], recurrent [3 H][H]."""
    h, outputs = [0.0] * SIZE, []
    for frame in drive:
        def gate(block, heard, frame=frame):
            rows = range(block * SIZE, (block + 1) * SIZE)
            return [frame[row] + sum(w * v for w, v in zip(recurrent[row], heard, strict=True)) for row in rows]

        z, r = ([sigmoid(each) for each in gate(block, h)] for block in (0, 1))
        candidate = [math.tanh(each) for each in gate(2, [a * b for a, b in zip(r, h, strict=True)])]
        h = [z[k] * h[k] + (1 - z[k]) * candidate[k] * mask[k] for k in range(SIZE)]
        outputs.append(h)
    return outputs


def lstm_by_hand(drive, recurrent, mask):
    h, c, outputs = [0.0] * SIZE, [0.0] * SIZE, []
    for frame in drive:
        sums = [frame[row] + sum(w * v for w, v in zip(recurrent[row], h, strict=True)) for row in range(4 * SIZE)]
        f, i, o, g = (sums[block * SIZE : (block + 1) * SIZE] for block in range(4))
        c = [sigmoid(f[k]) * c[k] + sigmoid(i[k]) * math.tanh(g[k]) * mask[k] for k in range(SIZE)]
        h = [sigmoid(o[k]) * math.tanh(c[k]) for k in range(SIZE)]
        outputs.append(h)
    return outputs


@pytest.mark.parametrize(("cell", "by_hand"), [(bn_gru, gru_by_hand), (bn_lstm, lstm_by_hand)], ids=["gru", "lstm"])
@pytest.mark.parametrize("masked", [False, True])
def test_steps_are_the_equations(cell, by_hand, masked):
    torch.manual_seed(0)
    drive = torch.randn(1, FRAMES, cell.GATES * SIZE, dtype=torch.float64)
    recurrent = torch.randn(cell.GATES * SIZE, SIZE, dtype=torch.float64)
    mask = torch.bernoulli(torch.full((1, SIZE), 0.5, dtype=torch.float64)) / 0.5 if masked else None
    parameters = cell.Parameters(recurrent, mask)
    state, outputs = cell.initial_state(1, SIZE, parameters, drive), []
    for frame in drive.unbind(1):
        output, state = cell.step(frame, state, parameters)
        outputs.append(output[0])
    expected = by_hand(drive[0].tolist(), recurrent.tolist(), mask[0].tolist() if masked else [1.0] * SIZE)
    torch.testing.assert_close(torch.stack(outputs), torch.tensor(expected, dtype=torch.float64), atol=1e-14, rtol=0)


@pytest.mark.parametrize(("name", "gates"), [("bn_gru", 3), ("bn_lstm", 4)])
def test_each_gate_is_orthogonal_and_input_products_are_normalised_without_a_bias(name, gates):
    layer = encoders.build(name, INPUTS, SIZE, 1).layers[0]
    for gate in layer.recurrent_weight.detach().chunk(gates):
        torch.testing.assert_close(gate.T @ gate, torch.eye(SIZE), atol=1e-5, rtol=0)
    assert layer.bias is None and layer.normalization.num_features == gates * SIZE
    x, lengths = 3 + 5 * torch.randn(8, 20, INPUTS), torch.full((8,), 20)
    drive = layer.drive(x, lengths).flatten(0, 1)
    torch.testing.assert_close(drive.mean(0), torch.zeros(gates * SIZE), atol=1e-4, rtol=0)
    torch.testing.assert_close(drive.std(0), torch.ones(gates * SIZE), atol=1e-2, rtol=0)


@pytest.mark.parametrize("name", ["bn_gru", "bn_lstm"])
def test_the_mask_lies_on_the_candidate_the_same_at_all_frames(name):
    torch.manual_seed(1)
    layer = encoders.build(name, INPUTS, 64, 1, dropout=0.5).layers[0]
    y, _ = layer(torch.randn(3, 9, INPUTS), torch.tensor([9, 9, 9]))
    silent = (y == 0).all(dim=1)  # a unit whose candidate is masked never leaves its zero state
    assert torch.equal(silent, (y[:, 0] == 0)) and 0.3 < silent.float().mean() < 0.7
    assert not torch.equal(silent[0], silent[1])
    assert not (layer.eval()(torch.randn(3, 9, INPUTS), torch.tensor([9, 9, 9]))[0] == 0).any()


@pytest.mark.parametrize("name", ["bn_gru", "bn_lstm"])
def test_nothing_asks_them_for_fewer_events(name):
    layer = encoders.build(name, INPUTS, SIZE, 1).layers[0]
    assert not layer.sends_events and not layer.binary
    assert layer.activity(torch.randn(2, 3, SIZE), torch.tensor([3, 3])) is None
