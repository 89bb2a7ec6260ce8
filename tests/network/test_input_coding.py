"""Features as events: the coder's sums, the rates of the random codings."""

from __future__ import annotations

import pytest
import torch

from snn_asr.errors import UsageError
from snn_asr.network.coder_settings import CoderSettings
from snn_asr.network.input_coding import build


def test_coder_sends_what_came_in_but_for_the_residue():
    torch.manual_seed(0)
    coder = build("coder", CoderSettings(6, 3, "fixed", 2.0)).eval()
    x, lengths = torch.randn(2, 50, 3, dtype=torch.float64), torch.tensor([50, 20])
    sent, state = coder(x, lengths, None)
    for row, length in enumerate(lengths):
        left = state.membrane[row] - state.output[row]
        torch.testing.assert_close(sent[row, :length].sum(0) + left, x[row, :length].sum(0))
        assert not sent[row, length:].any()
    assert sent.min() < 0 < sent.max()


@pytest.mark.parametrize("kind", ["moving_average", "moving_average_per_frame"])
def test_coder_follows_valid_features_alone(kind):
    ranges = []
    for padding in (0.0, 1e4):
        torch.manual_seed(1)
        x = torch.randn(2, 9, 4)
        x[1, 5:] = padding
        coder = build("coder", CoderSettings(range=kind))
        coder(x, torch.tensor([9, 5]), None)
        ranges.append(coder.tracker.value())
    assert ranges[0] == ranges[1] != 1.0


def tail_of_the_normal_distribution(x: torch.Tensor) -> torch.Tensor:
    """P(|N(0, 1)| > |x|)."""
    return torch.erfc(x.abs() / 2**0.5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("name", "probability"), [("bernoulli", torch.sigmoid), ("noise", tail_of_the_normal_distribution)]
)
def test_random_codings_send_ones_with_their_probability(name, probability, training):
    torch.manual_seed(0)
    coding = build(name, CoderSettings()).train(training)
    x = torch.tensor([-2.0, 0.0, 0.5]).expand(1, 20000, 3)
    sent, _ = coding(x, torch.tensor([20000]), None)
    assert set(sent.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(sent.mean((0, 1)), probability(x[0, 0]), atol=0.015, rtol=0)


def test_training_draws_anew_and_evaluation_repeats():
    x, lengths = torch.randn(1, 30, 5), torch.tensor([30])
    coding = build("noise", CoderSettings())
    assert not torch.equal(coding(x, lengths, None)[0], coding(x, lengths, None)[0])
    coding.eval()
    assert torch.equal(coding(x, lengths, None)[0], coding(x, lengths, None)[0])


def test_unknown_coding_is_named():
    with pytest.raises(UsageError, match="did you mean 'bernoulli'"):
        build("bernouli", CoderSettings())


@torch.no_grad()
def test_delta_holds_features_from_chunk_to_chunk_and_not_into_the_padding():
    x, lengths = torch.randn(3, 40, 5), torch.tensor([40, 0, 17])
    coding = build("delta", CoderSettings(), delta_threshold=0.5)
    whole, final = coding(x, lengths, None)
    assert not whole[1].any() and not whole[2, 17:].any()
    assert ((whole - x).abs() * (torch.arange(40) < lengths[:, None])[..., None]).max() <= 0.5
    assert torch.equal(final[0], whole[0, -1]) and torch.equal(final[2], whole[2, 16]) and not final[1].any()
    state, pieces = None, []
    for part in x.split(13, dim=1):
        y, state = coding(part, (lengths - 13 * len(pieces)).clamp(0, part.shape[1]), state)
        pieces.append(y)
    assert torch.equal(torch.cat(pieces, dim=1), whole) and torch.equal(state, final)
