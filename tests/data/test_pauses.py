"""Pauses in training batches: what is added where, that it is drawn again alike, what does not go with them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from snn_asr.data.batches import Batch
from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.features import FeatureExtractor
from snn_asr.data.pauses import SOUNDS, VARIANTS, Pauses, sound_frames
from snn_asr.data.tokens import CharacterTokens, WordTokens
from snn_asr.errors import UsageError
from snn_asr.training.recipes.config import Config

FEATURES = FeatureSettings(sample_rate=8000, mels=10, high_hz=3800, stack=1)
COUNTS, TARGETS = [30, 50, 41], [[1], [2, 1], [1, 1, 2]]


def batch() -> Batch:
    """Three utterances, whose frames are 100, 101 and 102: no sound has them."""
    frames = [torch.full((count, 10), 100.0 + row) for row, count in enumerate(COUNTS)]
    targets = [torch.tensor(each) for each in TARGETS]
    return Batch(
        list("abc"), pad_sequence(frames, batch_first=True), torch.tensor(COUNTS),
        pad_sequence(targets, batch_first=True), torch.tensor([len(each) for each in targets]),
    )


def pauses(share: float = 1.0, tokens=None) -> Pauses:
    return Pauses(share, (0.2, 0.4), FeatureExtractor(FEATURES), tokens or WordTokens(["a", "b"]))


def test_each_utterance_keeps_its_frames_and_a_pause_adds_others():
    torch.manual_seed(0)
    changed, places, make = batch(), set(), pauses()
    for _ in range(20):
        changed = make(batch())
        counts = zip(changed.lengths.tolist(), changed.target_lengths.tolist(), strict=True)
        for row, (length, said) in enumerate(counts):
            frames, target = changed.frames[row, :length, 0], changed.targets[row, :said].tolist()
            parts = [(int(value), int((frames == value).sum())) for value in (100, 101, 102) if (frames == value).any()]
            pause = int((frames < 50).sum())
            assert 20 <= pause <= 40
            first = 0 if frames[0] < 50 else 1 if frames[-1] < 50 else 2
            places.add(first)
            if first < 2:
                assert parts == [(100 + row, COUNTS[row])] and target == TARGETS[row]
            else:
                other = int(frames[-1]) - 100
                assert frames[0] == 100 + row and target == TARGETS[row] + TARGETS[other]
                assert length == COUNTS[row] + pause + COUNTS[other]
    assert places == {0, 1, 2}


def test_characters_of_two_utterances_have_a_space_between():
    torch.manual_seed(1)
    tokens = CharacterTokens([" ", "a"])
    space = tokens.labels.index(" ")
    letters = batch().targets.clamp(max=1) * tokens.labels.index("a")
    make, joined = pauses(tokens=tokens), 0
    for _ in range(6):
        changed = make(replace(batch(), targets=letters))
        for row, count in zip(changed.targets.tolist(), changed.target_lengths.tolist(), strict=True):
            joined += space in row[:count]
            assert row[0] != space != row[count - 1] and row[:count].count(space) <= 1
    assert joined > 3


def test_a_share_of_none_changes_nothing_and_the_same_seed_draws_the_same():
    given = batch()
    assert pauses(0.0)(given) is given
    make, found = pauses(0.5), []
    for _ in range(2):
        torch.manual_seed(7)
        found.append(make(batch()))
    assert torch.equal(found[0].frames, found[1].frames) and torch.equal(found[0].targets, found[1].targets)


def test_sounds_are_finite_and_not_alike():
    frames = sound_frames(FeatureExtractor(FEATURES), 8000)
    assert frames.shape == (len(SOUNDS) * VARIANTS, 98, 10) and frames.isfinite().all()
    assert len({each.sum().item() for each in frames[VARIANTS:]}) == len(frames) - VARIANTS


@pytest.mark.parametrize(
    "values", [{"segments": 10, "stack": 1}, {"normalization": "utterance"}, {"task": "classification"}]
)
def test_what_pauses_do_not_go_with_is_refused(values):
    with pytest.raises(UsageError, match="set pauses=0"):
        Config.read({"pauses": 0.2, **values})
    Config.read(values)


@pytest.mark.parametrize("values", [{"pauses": 1.0}, {"pauses": -0.1}, {"pause_seconds": [3, 1]}, {"pause_seconds": 2}])
def test_values_that_cannot_be_are_refused(values):
    with pytest.raises(UsageError, match="pause"):
        Config.read(values)
