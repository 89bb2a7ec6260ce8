"""When words are said: spans of tokens, of every kind of token and on both engines, with a beam and live."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tones import speak, tone_times

from snn_asr import load_model
from snn_asr.decoding.beam import BeamSettings
from snn_asr.decoding.greedy import Emission
from snn_asr.decoding.live.stream import WORD
from snn_asr.decoding.segments.spans import REACH_SECONDS, Spans

STEP_SECONDS = 0.03
LABELS = ["<blank>", " ", "a", "b"]
SOUND, QUIET = True, False


def spanned(kind: str, peaks: list[tuple[str, int, int]], loud: list[bool]) -> list[tuple[int, int]]:
    """First and last frame of each token: its label, and the frames of its peak."""
    spans = Spans(kind, LABELS, STEP_SECONDS)
    found = spans.accept([Emission(LABELS.index(label), *peak, 0.9) for label, *peak in peaks], loud, 0)
    return [(each.start_frame, each.end_frame) for each in found]


@pytest.mark.parametrize(
    ("kind", "peaks", "loud", "expected"),
    [
        ("words", [("a", 8, 9)], [SOUND] * 9, [(0, 9)]),
        ("words", [("a", 8, 9)], [QUIET] * 3 + [SOUND] * 6, [(3, 9)]),
        ("words", [("a", 30, 31)], [SOUND] * 31, [(13, 31)]),  # half a second at most
        ("words", [("a", 8, 9), ("b", 20, 22)], [SOUND] * 11 + [QUIET] * 3 + [SOUND] * 8, [(0, 9), (14, 22)]),
        ("words", [("a", 8, 9), ("b", 20, 22)], [SOUND] * 22, [(0, 9), (9, 22)]),
        ("words", [("a", 8, 9), ("b", 14, 15)], [SOUND] * 9 + [QUIET] * 6, [(0, 9), (14, 15)]),
        ("characters", [("a", 8, 9), ("b", 10, 12)], [SOUND] * 12, [(5, 9), (9, 12)]),
        ("characters", [("a", 4, 5), (" ", 7, 8), ("b", 8, 9)], [SOUND] * 12, [(1, 5), (5, 8), (5, 9)]),
        ("phones", [("a", 0, 1), ("b", 1, 2)], [SOUND] * 2, [(0, 1), (1, 2)]),
        ("sentencepiece", [("a", 20, 21)], [SOUND] * 21, [(12, 21)]),
    ],
)
def test_tokens_last_from_the_beginning_of_their_sound_to_the_end_of_their_peak(kind, peaks, loud, expected):
    assert spanned(kind, peaks, loud) == expected


@given(st.data())
def test_spans_hold_their_peaks_reach_no_further_than_their_kind_and_do_not_overlap(data):
    kind = data.draw(st.sampled_from(sorted(REACH_SECONDS)))
    lengths = data.draw(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 3)), min_size=1, max_size=6))
    peaks, place = [], 0
    for blanks, length in lengths:
        peaks.append(("a", place + blanks, place + blanks + length))
        place = peaks[-1][2]
    loud = data.draw(st.lists(st.booleans(), min_size=place, max_size=place))
    previous = 0
    for (first, last), (_, peak, end) in zip(spanned(kind, peaks, loud), peaks, strict=True):
        assert previous <= first <= peak < last == end
        assert (peak - first) * STEP_SECONDS <= REACH_SECONDS[kind] + STEP_SECONDS / 2
        assert first == peak or loud[first]  # no token begins in quiet but at its peak
        previous = last


@pytest.mark.parametrize("way", ["batch", "event", "beam", "stream", "whole"])
def test_words_of_a_trained_network_span_their_sound(way, tone_run):
    recognizer = load_model(tone_run)
    if way == "event":
        recognizer.use_engine("event")
    elif way == "beam":
        recognizer.use_beam(BeamSettings(width=4))
    elif way == "whole":
        recognizer.endpointing = None
    errors = []
    for seed in range(5):
        samples = speak(["low", "high", "mid"], seed)
        if way == "stream":
            stream = recognizer.stream()
            events = [*stream.accept(samples), *stream.finish()]
            found = [(each.start_seconds, each.end_seconds) for each in events if each.kind == WORD]
        else:
            found = [(each.start, each.end) for each in recognizer.transcribe(samples).words]
        expected = tone_times(samples)
        assert len(found) == len(expected) == 3
        errors += (np.array(found) - np.array(expected)).tolist()
    begins, ends = np.abs(np.array(errors)).T
    assert np.median(begins) < 0.05 and begins.max() < 0.15, begins
    assert np.median(ends) < 0.12, ends  # the network is free to be sure of a tone before it ends
