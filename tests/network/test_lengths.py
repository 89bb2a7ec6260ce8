"""Lengths of a batch: masks, positions and what is done with them, beside the plain definitions."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from snn_asr.network import encoders
from snn_asr.network.lengths import Lengths, LengthsOnDevice

BATCHES = [([5, 2, 0, 5], 5), ([3, 3], 3), ([0, 0], 4), ([], 3), ([1], 1)]


@pytest.fixture(params=BATCHES, ids=str)
def batch(request) -> tuple[torch.Tensor, Lengths, list[int]]:
    counts, frames = request.param
    x = torch.arange(len(counts) * frames * 2.0).reshape(len(counts), frames, 2) + 1
    return x, Lengths.of(torch.tensor(counts, dtype=torch.int32), x), counts


def test_packed_frames_are_the_valid_ones_row_by_row(batch):
    x, lengths, counts = batch
    wanted = torch.cat([row[:count] for row, count in zip(x, counts, strict=True)] or [x.flatten(0, 1)])
    assert torch.equal(lengths.pack(x), wanted)
    assert lengths.total == len(wanted) == int(lengths.mask.sum())
    assert lengths.whole == (lengths.total == x.shape[0] * x.shape[1])
    assert lengths.longest == max(counts, default=0)


def test_unpacking_puts_them_back_with_zeros_in_the_padding(batch):
    x, lengths, _ = batch
    wanted = torch.where(lengths.mask.unsqueeze(-1), x, 0)
    assert torch.equal(lengths.unpack(lengths.pack(x)), wanted)
    assert torch.equal(lengths.without_padding(x), wanted)


def test_valid_frames_are_reversed_and_padding_stays(batch):
    x, lengths, counts = batch
    wanted = x.clone()
    for row, count in enumerate(counts):
        wanted[row, :count] = x[row, :count].flip(0)
    assert torch.equal(lengths.reversed(x), wanted)


def test_the_last_valid_frame_or_what_was_before(batch):
    x, lengths, counts = batch
    before = -torch.ones(len(counts), 2)
    rows = [x[row, count - 1] if count else before[row] for row, count in enumerate(counts)]
    assert torch.equal(lengths.last(x, before), torch.stack(rows) if rows else before)


def test_groups_of_frames_drop_what_is_incomplete():
    lengths = Lengths([7, 3, 0], 8, torch.device("cpu"))
    assert lengths.divided(3).counts == (2, 1, 0) and lengths.divided(3).frames == 2
    assert lengths.divided(3).tensor.tolist() == [2, 1, 0]
    assert lengths.divided(3).multiplied(3).counts == (6, 3, 0) and lengths.divided(1) is lengths


@pytest.mark.parametrize("counts", [[4], [-1]])
def test_lengths_beyond_the_frames_are_refused(counts):
    with pytest.raises(ValueError, match="lengths must lie between 0 and the 3 frames given"):
        Lengths(counts, 3, torch.device("cpu")).check()


ON_DEVICE = ("improved_v2", "improved_v1", "lif", "rlif", "adlif", "gru", "lstm")


class TestLengthsThatTheDeviceAloneKnows:
    @pytest.mark.parametrize("encoder", ON_DEVICE)
    def test_a_filled_batch_gives_what_the_plain_one_gives(self, encoder):
        """Rows without frames and frames beyond the lengths change neither outputs nor gradients, nor the statistics
        that batch normalisation follows."""
        torch.manual_seed(1)
        options = {"range": "fixed"} if encoder in ("improved_v2", "improved_v1", "lif") else {}
        build = partial(encoders.build, encoder, 5, 8, 2, dropout=0.0, **options)
        plain, filled = build(), build()
        filled.load_state_dict(plain.state_dict())
        x, counts = torch.randn(3, 9, 5), torch.tensor([9, 4, 7])
        more = torch.full((5, 12, 5), 3.0)
        more[:3, :9] = x
        outputs, _ = plain(x, counts)
        others, _ = filled(more, LengthsOnDevice(torch.tensor([9, 4, 7, 0, 0]), 12))
        assert outputs.abs().sum() > 0
        torch.testing.assert_close(others[:3, :9], outputs)
        assert others[3:].abs().sum() == others[:, 9:].abs().sum() == 0
        weights = torch.randn_like(outputs)
        (outputs * weights).sum().backward()
        (others[:3, :9] * weights).sum().backward()
        for (name, one), (_, other) in zip(plain.named_parameters(), filled.named_parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, msg=name)
        for name, one in plain.state_dict().items():
            torch.testing.assert_close(filled.state_dict()[name], one, msg=name)

    def test_whoever_needs_them_on_the_host_is_told(self):
        lengths = LengthsOnDevice(torch.tensor([2, 1]), 3)
        with pytest.raises(ValueError, match="not known on the host"):
            _ = lengths.divided(1).total

    def test_they_are_divided_and_multiplied_there(self):
        lengths = LengthsOnDevice(torch.tensor([9, 4, 0]), 12)
        assert lengths.divided(4).tensor.tolist() == [2, 1, 0] and lengths.divided(4).frames == 3
        assert lengths.multiplied(2).tensor.tolist() == [18, 8, 0] and lengths.multiplied(2).frames == 24
