"""The sources of a network: their matrices, where these lead, and what the values of features are."""

from __future__ import annotations

import pytest
import torch
from event_cases import CLASSES, DENSE, FEATURES, SPIKING, build, trained

from snn_asr.errors import UsageError
from snn_asr.events.quantization import grids_of
from snn_asr.events.sources import Values, sources_of

SIZE = 12


@pytest.mark.parametrize("case", [*SPIKING, *DENSE, "delta_gru"])
def test_matrices_have_the_names_and_shapes_of_the_state_dict(case):
    model = build(case, size=SIZE, head="input")
    state, sources = model.state_dict(), sources_of(model)
    named = {name: each.weight.shape for source in sources for name, each in source.matrices.items()}
    weights = [weight for each in model.encoder.layers for weight in each.core_weights()]
    assert named == {name: state[name].shape for name in named}
    assert sum(shape.numel() for shape in named.values()) == sum(each.numel() for each in weights) + CLASSES * SIZE
    assert [each.size.units for each in sources] == [FEATURES, SIZE, SIZE]
    assert sources[-1].names[0] == "head.weight" and sources[0].recurrent is None


def test_a_reset_gate_splits_the_recurrent_weights():
    model = trained("bn_gru", size=SIZE)
    for each in sources_of(model, grids_of(model, "int8"))[1:]:
        parts = each.around, each.within
        assert [len(part.weight) for part in parts] == [2 * SIZE, SIZE]
        assert torch.equal(torch.cat([part.weight for part in parts]), each.recurrent.weight)
        assert torch.equal(torch.cat([part.numbers for part in parts]), each.recurrent.numbers)
    plain = sources_of(trained("gru", size=SIZE))[1]
    assert plain.within is None and torch.equal(plain.around.weight, plain.recurrent.weight)


@torch.no_grad()
def test_values_of_features_are_those_of_their_coding():
    found = {
        coding: sources_of(trained("lif", input_coding=coding, input_delta_threshold=0.3))[0].values
        for coding in ("none", "delta", "bernoulli")
    }
    assert found == {"none": Values(dense=True), "delta": Values(change=0.3), "bernoulli": Values(unit=1.0)}
    shifts = sources_of(trained("lif", input_coding="coder", input_levels="powers_of_two"))[0].values
    assert shifts.unit > 0 and shifts.shifts and not shifts.dense and shifts.smallest_change is None


def test_a_bidirectional_network_has_no_sources():
    with pytest.raises(UsageError, match="needs whole utterances"):
        sources_of(build("gru", bidirectional=True))
