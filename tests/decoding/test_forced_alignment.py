"""Forced alignment against every alignment there is, and of recordings with a trained network."""

from __future__ import annotations

import logging
from itertools import groupby, product

import numpy as np
import pytest
import torch
from babbler import babbler
from hypothesis import given
from hypothesis import strategies as st
from test_beam import random_posteriors
from tones import RATE_HZ, speak, tone_times

from snn_asr.decoding.beam import BeamSettings, search
from snn_asr.decoding.forced_alignment import MOST_CELLS, align
from snn_asr.decoding.greedy import Emission
from snn_asr.errors import DataError
from snn_asr.network.encoders import ENCODERS


@given(st.integers(1, 6), st.integers(2, 3), st.integers(0, 10**6))
def test_times_are_those_of_the_best_alignment(frames, size, seed):
    log_posteriors = random_posteriors(frames, size, seed)
    tokens = search(log_posteriors, BeamSettings(4))[0].tokens
    best, path = max(
        (sum(log_posteriors[frame, token] for frame, token in enumerate(path)), path)
        for path in product(range(size), repeat=frames)
        if tuple(token for token, _ in groupby(path) if token) == tokens
    )
    runs, start = [], 0
    for token, run in groupby(path):
        end = start + len(list(run))
        if token:
            confidence = np.exp(log_posteriors[start:end, token]).mean()
            runs.append(Emission(token, start, end, pytest.approx(confidence)))
        start = end
    assert align(log_posteriors, tokens) == runs


def test_times_of_repeated_tokens_and_of_nothing():
    posteriors = np.log(np.array([[0.1, 0.9], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.9, 0.1]]))
    assert align(posteriors, (1, 1)) == [
        Emission(1, 0, 1, pytest.approx(0.9)), Emission(1, 2, 4, pytest.approx(0.8))
    ]
    assert align(posteriors, ()) == align(posteriors[:0], ()) == []


@pytest.mark.parametrize(
    ("frames", "tokens", "said"),
    [(2, (1, 2, 1), "needs 3 frames, and the recording has 2"), (2, (1, 1), "needs 3 frames"), (0, (1,), "has 0")],
)
def test_more_tokens_than_frames_are_refused(frames, tokens, said):
    with pytest.raises(DataError, match=said):
        align(np.zeros((frames, 3)), tokens)


def test_what_the_library_cannot_count_is_refused():
    frames = np.broadcast_to(np.float32(0), (1 << 20, 3))
    with pytest.raises(DataError, match="too many to align at once"):
        align(frames, (1, 2) * (MOST_CELLS >> 22))


def test_words_of_a_transcript_lie_on_their_sound(recognizer):
    for seed in range(3):
        words = ["low", "high", "mid"][seed:] + ["low"]
        samples = speak(words, seed)
        hypothesis = recognizer.align(samples, " ".join(words).upper())
        assert hypothesis.text.split() == [each.text for each in hypothesis.words] == words
        errors = np.array([(each.start, each.end) for each in hypothesis.words]) - np.array(tone_times(samples))
        assert np.abs(errors).max() < 0.2 and np.median(np.abs(errors)) < 0.07, errors


def test_behind_a_long_pause_and_without_segments_it_is_the_same(recognizer):
    first, second = speak(["low", "mid"], 1), speak(["high", "low"], 2)
    samples = torch.cat([first, torch.zeros(5 * RATE_HZ), second])
    found = recognizer.align(samples, "low mid high low").words
    later = (len(first) + 5 * RATE_HZ) / RATE_HZ
    alone = [*recognizer.align(first, "low mid").words, *recognizer.align(second, "high low").words]
    starts = [each.start + (later if index > 1 else 0) for index, each in enumerate(alone)]
    assert [each.start for each in found] == pytest.approx(starts, abs=0.1)


def test_what_is_recognised_is_aligned_with_itself(recognizer):
    samples = speak(["low", "high", "mid"], 4)
    recognised = recognizer.transcribe(samples)
    aligned = recognizer.align(samples, recognised.text)
    assert aligned.text == recognised.text and aligned.duration_seconds == recognised.duration_seconds
    assert [each.end for each in aligned.words] == pytest.approx([each.end for each in recognised.words], abs=0.1)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_encoder_aligns(encoder, bidirectional, tmp_path):
    recognizer = babbler(tmp_path, encoder, bidirectional=bidirectional)
    samples = torch.cat([speak(["low", "high"], 1), torch.zeros(3 * RATE_HZ), speak(["mid"], 2)])
    hypothesis = recognizer.align(samples, "one two three")
    assert hypothesis.text == "one two three"
    places = [place for each in hypothesis.words for place in (each.start, each.end)]
    assert places == sorted(places) and 0 <= places[0] and places[-1] <= len(samples) / RATE_HZ


def test_an_empty_transcript_and_one_that_hardly_fits(recognizer, caplog):
    samples = speak(["low"], 1)
    assert recognizer.align(samples, "  ").words == ()
    with caplog.at_level(logging.WARNING):
        recognizer.align(samples, "high mid high mid high mid")
    assert "hardly fits" in caplog.text
    with pytest.raises(DataError, match="no words token for 'zebra'"):
        recognizer.align(samples, "low zebra")
