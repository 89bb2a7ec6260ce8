"""The encoder contract, for every registered name: padding, batch order, chunks, state, sizes."""

from __future__ import annotations

import copy
import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trained_encoders import assert_same, trained_encoder

from snn_asr.errors import UsageError
from snn_asr.network import encoders
from snn_asr.network.integrator import low_pass
from snn_asr.network.layers.gated import GatedLayer
from snn_asr.network.lengths import Lengths

NAMES = sorted(encoders.ENCODERS)
PUBLISHED = {
    "lstm": 3_718_000, "gru": 2_788_500, "improved_v2": 1_859_000, "ligru": 1_859_000, "improved_v1": 649_000,
    "lif": 324_500, "spiking_lstm": 3_718_000,
    "bn_gru": 2_788_500, "bn_lstm": 3_718_000,
    "delta_gru": 2_788_500, "adaptive_lif": 324_500, "adlif": 324_500, "rlif": 929_500, "radlif": 929_500,
    "hard_rlif": 929_500,
}
trained = partial(trained_encoder, input_size=9, hidden_size=16)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
@torch.no_grad()
def test_alone_in_a_batch_or_padded_with_anything_a_row_is_the_same(name, bidirectional, smoothing):
    encoder = trained(name, bidirectional, smoothing=smoothing)
    x, lengths = torch.randn(5, 40, 9), torch.tensor([40, 17, 1, 0, 33])
    x[1, 17:] = 1e3  # what stands in the padding must not matter
    together, state = encoder(x, lengths)
    order = torch.tensor([3, 0, 4, 2, 1])
    shuffled, other = encoder(x[order], lengths[order])
    assert_same(name, shuffled, together[order])
    for got, wanted in zip(tensors(other), tensors(state), strict=True):
        assert_same(name, got, wanted[order])
    for row, length in enumerate(lengths.tolist()):
        alone, _ = encoder(x[row : row + 1, :length], lengths[row : row + 1])
        assert_same(name, together[row, :length], alone[0])
        assert not together[row, length:].any()


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(0, 30), max_size=6), name=st.sampled_from(NAMES), smoothing=st.sampled_from([0, 0.5]))
@torch.no_grad()
def test_chunks_with_the_state_are_the_whole(cuts, name, smoothing):
    encoder = trained(name, smoothing=smoothing)
    x, lengths = torch.randn(2, 30, 9), torch.tensor([30, 22])
    whole, final = encoder(x, lengths)
    state, pieces, bounds = None, [], [0, *sorted(cuts), 30]
    for start, end in zip(bounds[:-1], bounds[1:], strict=True):
        piece, state = encoder(x[:, start:end], (lengths - start).clamp(0, end - start), state)
        pieces.append(piece)
    assert_same(name, torch.cat(pieces, dim=1), whole)
    for got, wanted in zip(tensors(state), tensors(final), strict=True):
        assert_same(name, got, wanted)


def tensors(state) -> list[torch.Tensor]:
    if state is None:
        return []
    if isinstance(state, torch.Tensor):
        return [state]
    return [tensor for each in state for tensor in tensors(each)]


@pytest.mark.parametrize("name", NAMES)
def test_training_ignores_padding_too(name):
    """Statistics, gradients and ranges come from valid frames only."""
    results = []
    for padding in (0.0, 1e4):
        torch.manual_seed(1)
        encoder = encoders.build(name, 9, 16, 2, dropout=0.0)
        x, lengths = torch.randn(3, 15, 9), torch.tensor([15, 4, 9])
        for row, length in enumerate(lengths):
            x[row, length:] = padding
        encoder(x, lengths)[0].square().sum().backward()
        results.append([*(each.grad for each in encoder.parameters()), *encoder.buffers()])
    for got, wanted in zip(*results, strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("name", NAMES)
def test_core_parameters_are_the_published_ones(name):
    assert encoders.build(name, 40, 550, 2).core_parameters() == PUBLISHED[name]


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_is_deterministic_and_training_drops(name):
    encoder = trained(name, dropout=0.5)
    x, lengths = torch.randn(2, 8, 9), torch.tensor([8, 8])
    assert torch.equal(encoder(x, lengths)[0], encoder(x, lengths)[0])
    encoder.train()
    assert not torch.equal(encoder(x, lengths)[0], encoder(x, lengths)[0])


def test_leaky_integrator_is_a_running_mean():
    y = torch.tensor([1.0, 0.0, 0.0, 4.0, 9.0]).reshape(1, 5, 1)
    z, state = low_pass(y, torch.tensor([4]), 0.5, torch.tensor([[2.0]]))
    assert z.flatten().tolist() == [1.5, 0.75, 0.375, 2.1875, 0.0]
    assert state.tolist() == [[2.1875]]


def test_leaky_integrator_of_a_silent_unit_ends_at_zero_and_never_hides_what_is_not_a_number():
    """Denormal numbers would make all products with them many times as slow."""
    y = torch.zeros(1, 300, 3)
    y[0, 0], y[0, 2, 1], y[0, 2, 2] = 1, math.nan, math.inf
    z, _ = low_pass(y, torch.tensor([300]), 0.6, None, "cpu")
    found = z[0, :, 0]
    assert found[:150].all() and found[-1] == 0 and found[found != 0].min() >= torch.finfo(torch.float32).tiny
    assert z[0, 2:, 1].isnan().all() and not z[0, 2:, 2].isfinite().any()


@torch.no_grad()
def test_smoothing_a_recurrent_product_asks_nothing_where_there_is_none():
    plain, smoothed = (trained("improved_v1", **options) for options in ({}, {"recurrent_smoothing": 0.5}))
    x, lengths = torch.randn(2, 30, 9), torch.tensor([30, 22])
    assert torch.equal(smoothed(x, lengths)[0], plain(x, lengths)[0])
    for layer, same in zip(smoothed.layers, plain.layers, strict=True):
        assert layer.unit_products == same.unit_products and layer.parts().smoothing == 0


def test_reversal_leaves_the_padding_at_the_end():
    x = torch.arange(10.0).reshape(2, 5, 1)
    assert Lengths.of(torch.tensor([5, 2]), x).reversed(x).flatten().tolist() == [4, 3, 2, 1, 0, 6, 5, 7, 8, 9]


def test_first_batch_starts_from_a_range_of_its_own():
    torch.manual_seed(0)
    layer = GatedLayer(9, 16, range="moving_average", dropout=0.0)
    layer(10 * torch.randn(4, 12, 9), torch.full((4,), 12))
    assert int(layer.tracker.updates) == 2  # one look at the currents, one at the membranes
    assert 0.5 < layer.tracker.value() < 20


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("improved_v3", {}, "did you mean 'improved_v2'"),
        ("improved_v2", {"treshold": 3}, "did you mean 'threshold'"),
        ("gru", {"bits": 3}, "unknown option of encoder gru 'bits'"),
        ("improved_v2", {"candidate": "clip"}, "candidate"),
        ("improved_v2", {"candidate": 3}, "unknown candidate '3'"),
        ("lstm", {"dropout": 1.0}, "dropout"),
    ],
)
def test_mistakes_name_the_nearest_choice(name, options, message):
    with pytest.raises(UsageError, match=message):
        encoders.build(name, 4, 4, 1, **options)


@pytest.mark.parametrize("size", [0, -1, 8.0, "8", None])
def test_sizes_are_whole_numbers(size):
    with pytest.raises(UsageError, match=r"hidden_size=.* must be a whole number from 1"):
        encoders.build("gru", 4, size, 1)


@pytest.mark.parametrize("lengths", [torch.tensor([3, 9]), torch.tensor([0.5, 1.0]), torch.tensor([3])])
def test_relative_or_wrong_lengths_are_refused(lengths):
    with pytest.raises(ValueError, match="lengths"):
        trained("gru")(torch.randn(2, 8, 9), lengths)


@pytest.mark.parametrize("coding", ["coder", "bernoulli", "noise"])
@torch.no_grad()
def test_coded_features_are_the_same_whole_padded_batched_or_in_chunks(coding):
    encoder = trained("improved_v1", input_coding=coding, input_bits=4, input_threshold=1)
    x, lengths = torch.randn(2, 600, 9), torch.tensor([600, 270])
    whole, final = encoder(x, lengths)
    assert torch.equal(whole, encoder(x, lengths)[0])
    alone, _ = encoder(x[1:, :270], lengths[1:])
    assert torch.equal(alone[0], whole[1, :270])
    state, pieces = None, []
    for start, end in ((0, 100), (100, 255), (255, 257), (257, 600)):
        piece, state = encoder(x[:, start:end], (lengths - start).clamp(0, end - start), state)
        pieces.append(piece)
    assert torch.equal(torch.cat(pieces, dim=1), whole)
    assert all(torch.equal(*pair) for pair in zip(tensors(state), tensors(final), strict=True))


def test_learned_integrator_moves_and_starts_where_it_is_told():
    torch.manual_seed(0)
    encoder = encoders.build("improved_v2", 9, 16, 2, smoothing=0.6, learn_smoothing=True)
    x, lengths = torch.randn(3, 12, 9), torch.tensor([12, 5, 9])
    learned, fixed = (encoders.build("gru", 9, 16, 1, smoothing=0.6, learn_smoothing=each) for each in (True, False))
    fixed.load_state_dict(learned.state_dict(), strict=False)
    torch.testing.assert_close(learned.eval()(x, lengths)[0], fixed.eval()(x, lengths)[0])
    encoder(x, lengths)[0].square().sum().backward()
    assert [float(each.coefficient.detach()) for each in encoder.integrators] == pytest.approx([0.6, 0.6])
    assert all(each.logit.grad.abs() > 0 for each in encoder.integrators)
    assert "learn_smoothing" in encoder.options


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(encoders.ENCODERS))
def test_a_compiled_encoder_trains_as_it_would_by_itself(name):
    torch.manual_seed(1)
    encoder = encoders.build(name, 12, 8, 2, dropout=0.0)
    x, lengths, start = torch.randn(3, 10, 12), torch.tensor([10, 7, 4]), copy.deepcopy(encoder.state_dict())
    results = []
    for each in (encoder, torch.compile(encoder, backend="aot_eager")):
        encoder.load_state_dict(start)
        encoder.zero_grad()
        outputs, _ = each(x, lengths)
        outputs.square().sum().backward()
        results.append((outputs.detach(), [parameter.grad.clone() for parameter in encoder.parameters()]))
    torch._dynamo.reset()
    torch.testing.assert_close(results[1][0], results[0][0], rtol=0, atol=0)
    torch.testing.assert_close(results[1][1], results[0][1])
