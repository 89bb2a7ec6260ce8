"""Averaged weights: the recursion, what is copied, and that swapping leaves no trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from snn_asr.network.layers.gated import GatedLayer
from snn_asr.training.loop.averaging import AveragedWeights


def test_average_is_the_recursion_with_a_rising_decay():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 8.0)
    averaged = AveragedWeights(model, 0.3)
    for step, value in enumerate((4.0, 2.0), start=1):
        nn.init.constant_(model.weight, value)
        averaged.update(step)
    # decay 2/11, then 3/12: 8·2/11 + 4·9/11 = 52/11, then 52/11·1/4 + 2·3/4
    assert float(averaged.average["weight"]) == pytest.approx(52 / 44 + 1.5)
    averaged.update(1000)
    assert float(averaged.average["weight"]) == pytest.approx(0.3 * (52 / 44 + 1.5) + 0.7 * 2)


def test_ranges_are_copied_and_running_statistics_averaged():
    torch.manual_seed(0)
    layer = nn.Sequential(GatedLayer(3, 4, dropout=0.0))
    averaged = AveragedWeights(layer, 0.9)
    layer[0](torch.randn(2, 5, 3), torch.tensor([5, 5]))
    averaged.update(1)
    own = layer.state_dict()
    assert torch.equal(averaged.average["0.tracker.maximum"], own["0.tracker.maximum"])
    assert torch.equal(averaged.average["0.tracker.updates"], own["0.tracker.updates"])
    wanted = own["0.normalization.running_mean"] * 9 / 11  # began at 0
    torch.testing.assert_close(averaged.average["0.normalization.running_mean"], wanted)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_swapping_in_and_out_leaves_no_trace(decay):
    model = nn.Linear(2, 2)
    averaged = AveragedWeights(model, decay)
    nn.init.constant_(model.weight, 3.0)
    averaged.update(1)
    before = model.weight.detach().clone()
    averaged.swap_in()
    assert torch.equal(model.weight, before) == (decay == 0)
    averaged.swap_out()
    assert torch.equal(model.weight, before)
