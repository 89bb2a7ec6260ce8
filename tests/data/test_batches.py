"""Batches for training and evaluation, and groups by length."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from utterance_sets import silent_set, tone_set

from snn_asr.data.batches import BucketedBatches, by_length, collate, evaluation_loader, training_loader


@settings(max_examples=30)
@given(
    frames=st.lists(st.integers(1, 300), min_size=1, max_size=60), batch_frames=st.integers(1, 600),
    epoch=st.integers(1, 5), seed=st.integers(0, 5),
)
def test_every_utterance_is_in_one_batch_and_no_batch_is_too_large(speechbrain, frames, batch_frames, epoch, seed):
    batches = BucketedBatches(silent_set(frames), batch_frames, seed)
    batches.set_epoch(epoch)
    taken = list(batches)
    assert len(taken) == len(batches)
    assert sorted(index for batch in taken for index in batch) == list(range(len(frames)))
    for batch in taken:
        longest = max(frames[index] for index in batch)
        assert len(batch) * longest <= max(batch_frames, max(frames))


def test_batches_ascend_in_the_first_epoch_and_are_shuffled_after_it():
    frames = [10 + 37 * index % 400 for index in range(80)]
    data = silent_set(frames)

    def epoch(number: int, seed: int = 1) -> list[list[int]]:
        batches = BucketedBatches(data, 800, seed)
        batches.set_epoch(number)
        return list(batches)

    longest = [max(frames[index] for index in batch) for batch in epoch(1)]
    assert longest == sorted(longest)
    longest = [max(frames[index] for index in batch) for batch in epoch(2)]
    assert longest != sorted(longest)
    assert epoch(2) == epoch(2)
    assert epoch(2) != epoch(3) and epoch(2) != epoch(2, seed=2)
    assert len(epoch(1)) == len(epoch(2)) == len(epoch(3))  # the learning rate's schedule counts on it


def test_curriculum_takes_the_short_first_and_then_all():
    frames = [10 + 37 * index % 400 for index in range(80)]
    batches = BucketedBatches(silent_set(frames), 800, 1, curriculum=[[100, 2], [200, 1], [5, 1]])
    seen = []
    for epoch in range(1, 6):
        batches.set_epoch(epoch)
        assert len(batches) == len(list(batches))
        seen.append(sorted(frames[index] for batch in batches for index in batch))
    assert seen[0] == seen[1] == sorted(each for each in frames if each <= 100)
    assert seen[2] == sorted(each for each in frames if each <= 200)
    assert seen[3] and seen[3][-1] <= 100  # nothing is as short as 5 frames: the shortest batch
    assert seen[4] == sorted(frames)
    assert batches.full_epoch >= len(batches)


def test_batches_may_be_limited_in_utterances():
    batches = BucketedBatches(silent_set([10 + index for index in range(40)]), 10**6, 1, batch_utterances=4)
    assert max(len(batch) for batch in batches) == 4


def test_an_epoch_does_not_depend_on_those_before():
    """A resumed run begins with a later epoch and must meet the same batches."""
    data = silent_set([10 + 37 * index % 400 for index in range(80)])
    through, resumed = (BucketedBatches(data, 800, 1) for _ in range(2))
    for epoch in (1, 2, 3):
        through.set_epoch(epoch)
        batches = list(through)
    resumed.set_epoch(3)
    assert list(resumed) == batches


def test_equal_lengths_are_shuffled_from_the_first_epoch_in_full_batches():
    batches = BucketedBatches(silent_set([10] * 50), 165, 1)
    epochs = []
    for epoch in (1, 2, 1):
        batches.set_epoch(epoch)
        epochs.append(list(batches))
    assert [sorted(map(len, each)) for each in epochs] == [[2, 16, 16, 16]] * 3
    assert epochs[0] == epochs[2] != epochs[1]
    drawn = [index for batch in epochs[0] for index in batch]
    assert sorted(drawn) == list(range(50)) != drawn


def test_an_epoch_has_whole_groups_of_batches_to_accumulate():
    data = silent_set([10 + index for index in range(40)])
    through = BucketedBatches(data, 10**6, 1, batch_utterances=3)
    groups = BucketedBatches(data, 10**6, 1, batch_utterances=3, accumulation=4)
    assert len(through) % 4 and len(groups) == groups.full_epoch == len(through) // 4 * 4
    few = BucketedBatches(data, 10**6, 1, accumulation=50)
    assert 0 < len(few) == few.full_epoch < 50  # they never step: a recipe that asks for it has too few utterances


def test_batch_size_allows_for_the_slowest_speed():
    batches = BucketedBatches(silent_set([100] * 20, speeds=[0.5, 1.0]), 800, 1)
    assert max(map(len, batches)) == 3  # of some 200 frames; at their own speed it would be 8


def test_a_batch_pads_frames_and_targets_with_zeros(tones):
    data = tone_set(tones)
    batch = collate([data[index] for index in (2, 0, 4)])
    assert [each.id for each in batch.utterances] == ["train-02", "train-00", "train-04"]
    for row, index in enumerate((2, 0, 4)):
        frames, target = data.frames(index), data.targets[index]
        assert batch.lengths[row] == len(frames) and batch.target_lengths[row] == len(target)
        assert torch.equal(batch.frames[row, : len(frames)], frames) and not batch.frames[row, len(frames) :].any()
        assert torch.equal(batch.targets[row, : len(target)], target) and not batch.targets[row, len(target) :].any()


def test_evaluation_takes_everything_once_in_the_order_of_length(tones):
    data = tone_set(tones)
    batches = list(evaluation_loader(data, 400))
    lengths = [length for batch in batches for length in batch.lengths.tolist()]
    assert sorted(lengths) == lengths and sorted(data.frame_counts()) == lengths
    assert {each.id for batch in batches for each in batch.utterances} == {each.id for each in data.utterances}
    assert len(batches) > 3
    assert all(batch.frames.shape[0] * batch.frames.shape[1] <= 400 for batch in batches)


@given(
    lengths=st.lists(st.floats(0, 700), max_size=80), limit=st.floats(1, 1000), most=st.sampled_from([0, 1, 3, 16]),
)
def test_groups_by_length_hold_everything_once_within_the_limit(lengths, limit, most):
    groups = by_length(lengths, limit, most)
    order = [index for group in groups for index in group]
    assert order == sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[index] for index in group) <= limit
        assert len(group) <= most or most == 0


def test_groups_of_ten_thousand_recordings_are_full_and_little_of_them_is_padding():
    lengths = [1 + 599 * math.sin(index) ** 2 for index in range(10000)]  # seconds
    groups = by_length(lengths, 2400)
    padded = sum(len(group) * max(lengths[index] for index in group) for group in groups)
    assert padded < 1.02 * sum(lengths) and len(groups) < 1.3 * sum(lengths) / 2400


def test_no_more_processes_read_ahead_than_there_are_processors(tones, monkeypatch, caplog):
    monkeypatch.setattr("snn_asr.devices.available_processors", lambda: 1)
    dataset = tone_set(tones)
    batches = BucketedBatches(dataset, 1000, seed=1)
    assert training_loader(dataset, batches, 1, "cpu").num_workers == 1 and "loader_workers" not in caplog.text
    assert training_loader(dataset, batches, 1024, "cpu").num_workers == 1
    assert "loader_workers=1024" in caplog.messages[-1] and "1 read ahead" in caplog.messages[-1]
