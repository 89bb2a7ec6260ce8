"""Greedy decoding against a naive collapse, classification at the last frame, times and confidences."""

from __future__ import annotations

import math
from itertools import groupby

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snn_asr.decoding.greedy import Emission, classify, decode, greedy
from snn_asr.network.tasks import BLANK, TASKS

CLASSES = 4
paths = st.lists(st.integers(0, CLASSES - 1), max_size=12)


def logits_of(path: list[int], frames: int, seed: int = 0) -> torch.Tensor:
    """(frames, CLASSES) random logits whose best classes are ``path``; beyond it they are anything."""
    logits = torch.randn(frames, CLASSES, generator=torch.Generator().manual_seed(seed))
    for frame, best in enumerate(path):
        logits[frame, best] = logits[frame].max() + 0.1
    return logits


@given(st.lists(paths, min_size=1, max_size=4), st.integers(0, 3), st.integers(0, 1000))
def test_tokens_are_those_of_a_naive_collapse(batch, padding, seed):
    frames = max(map(len, batch)) + padding
    logits = torch.stack([logits_of(path, frames, seed + row) for row, path in enumerate(batch)])
    decoded = greedy(logits, torch.tensor([len(path) for path in batch]))
    for path, emissions in zip(batch, decoded, strict=True):
        assert [each.token for each in emissions] == [best for best, _ in groupby(path) if best != BLANK]


@given(paths, st.integers(0, 1000))
def test_times_are_the_longest_runs_and_confidences_their_mean_posteriors(path, seed):
    logits = logits_of(path, len(path) + 1, seed)
    (emissions,) = greedy(logits.unsqueeze(0), torch.tensor([len(path)]))
    covered = set()
    for each in emissions:
        run = range(each.start_frame, each.end_frame)
        assert len(run) > 0 and {path[frame] for frame in run} == {each.token}
        assert each.start_frame == 0 or path[each.start_frame - 1] != each.token
        assert each.end_frame == len(path) or path[each.end_frame] != each.token
        covered |= set(run)
        posteriors = []
        for row in logits[each.start_frame : each.end_frame].tolist():
            posteriors.append(math.exp(row[each.token]) / sum(map(math.exp, row)))
        assert each.confidence == pytest.approx(sum(posteriors) / len(posteriors), abs=1e-6)
    assert covered == {frame for frame, best in enumerate(path) if best != BLANK}


def test_an_example_by_hand():
    posteriors = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3], [0.0, 1.0]])
    assert greedy(posteriors.log().unsqueeze(0), torch.tensor([5])) == [
        [Emission(1, 1, 3, pytest.approx(0.7)), Emission(1, 4, 5, pytest.approx(1.0))]
    ]


def test_nothing_gives_nothing():
    assert greedy(torch.zeros(2, 0, 3), torch.tensor([0, 0])) == [[], []]
    assert greedy(torch.ones(0, 4, 3), torch.zeros(0, dtype=torch.long)) == []


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(0, 3), st.integers(0, 1000))
def test_the_last_valid_frame_decides_the_class_and_the_blank_is_none(lengths, padding, seed):
    logits = torch.randn(len(lengths), max(lengths) + padding, CLASSES, generator=torch.Generator().manual_seed(seed))
    logits[..., BLANK] += 9  # the best of nearly all frames
    for row, length, emissions in zip(logits.tolist(), lengths, classify(logits, torch.tensor(lengths)), strict=True):
        if length == 0:
            assert emissions == []
            continue
        words = row[length - 1][1:]
        best = 1 + words.index(max(words))
        confidence = math.exp(max(words)) / sum(map(math.exp, words))
        assert emissions == [Emission(best, 0, length, pytest.approx(confidence, abs=1e-6))]


def test_the_task_chooses_the_decoder():
    logits, lengths = torch.tensor([[[0.0, 3, 0], [9, 0, 0], [0, 0, 3]]]), torch.tensor([3])
    tokens = {task: [each.token for each in decode(task, logits, lengths)[0]] for task in TASKS}
    assert tokens == {"transcription": [1, 2], "classification": [2]}
