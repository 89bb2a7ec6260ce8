"""Intervals and paired comparisons against full enumeration and against what is known of the bootstrap."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from snn_asr.errors import DataError
from snn_asr.scoring.bootstrap import paired_bootstrap
from snn_asr.scoring.error_rates import ErrorCounts, score


def counts_of(edits: int, reference_length: int) -> ErrorCounts:
    return ErrorCounts(substitutions=edits, reference_length=reference_length, correct=reference_length - edits)


def test_interval_is_that_of_the_binomial():
    """400 one-word utterances, a quarter of them wrong: the rate's standard error is sqrt(p (1 - p) / n)."""
    references = {str(index): "yes" for index in range(400)}
    hypotheses = {str(index): "no" if index % 4 == 0 else "yes" for index in range(400)}
    low, high = score(references, hypotheses, resamples=4000).interval
    half_width = 1.96 * 100 * np.sqrt(0.25 * 0.75 / 400)
    assert (low, high) == pytest.approx((25 - half_width, 25 + half_width), abs=0.5)
    assert score(references, hypotheses, seed=3).interval == score(references, hypotheses, seed=3).interval


def test_interval_over_speakers_is_wider():
    """Whole speakers right or wrong: 10 independent observations, not 200."""
    references = {f"{speaker}-{index}": "yes" for speaker in range(10) for index in range(20)}
    hypotheses = {identifier: "no" if identifier[0] < "5" else "yes" for identifier in references}
    clusters = {identifier: identifier[0] for identifier in references}
    low, high = score(references, hypotheses, clusters=clusters, resamples=4000).interval
    # Correct speakers among 10 drawn: binomial(10, 1/2), whose 2.5 % and 97.5 % quantiles are 2 and 8.
    assert (low, high) == (20.0, 80.0)
    narrow = score(references, hypotheses).interval
    assert high - low > 3 * (narrow[1] - narrow[0])
    with pytest.raises(DataError, match="'9-19' has no speaker"):
        score(references, hypotheses, clusters={key: value for key, value in clusters.items() if key != "9-19"})


def test_no_interval_from_one_utterance():
    assert score({"a": "x y"}, {"a": "x"}).interval is None


def test_paired_bootstrap_equals_full_enumeration():
    """Three utterances have only 27 resamples: their exact distribution is the expectation."""
    edits_a, edits_b, lengths = [3, 1, 4], [1, 1, 1], [4, 5, 7]
    rates = [
        100 * sum(edits_a[i] - edits_b[i] for i in draw) / sum(lengths[i] for i in draw)
        for draw in itertools.product(range(3), repeat=3)
    ]
    difference = 100 * (8 - 3) / 16
    exact = np.mean([abs(rate - difference) >= difference - 1e-9 for rate in rates])
    runs = [
        {str(index): counts_of(*pair) for index, pair in enumerate(zip(edits, lengths, strict=True))}
        for edits in (edits_a, edits_b)
    ]
    comparison = paired_bootstrap(*runs, resamples=20_000)
    assert comparison.difference == pytest.approx(difference)
    assert comparison.p_value == pytest.approx(exact, abs=0.01)
    assert min(rates) - 1e-9 <= comparison.interval[0] < comparison.interval[1] <= max(rates) + 1e-9


def test_paired_bootstrap_never_reports_zero():
    bad, good = ({str(index): counts_of(edits, 10) for index in range(50)} for edits in (5, 1))
    comparison = paired_bootstrap(bad, good, resamples=999)
    assert comparison.difference == pytest.approx(40)
    assert comparison.p_value == 1 / 1000


def test_paired_bootstrap_of_equal_systems():
    run = {str(index): counts_of(index % 3, 10) for index in range(30)}
    comparison = paired_bootstrap(run, run, resamples=99)
    assert (comparison.difference, comparison.interval, comparison.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_paired_bootstrap_pools_seeds():
    """Two seeds on one side, one on the other: a side's rate is the mean over its seeds, its sign that of A - B."""
    first = {"u": counts_of(4, 10), "v": counts_of(0, 10)}
    second = {"u": counts_of(0, 10), "v": counts_of(2, 10)}
    other = {"u": counts_of(1, 10), "v": counts_of(1, 10)}
    comparison = paired_bootstrap([first, second], other, resamples=500)
    assert comparison.difference == pytest.approx(15 - 10)
    mirrored = paired_bootstrap(other, [first, second], resamples=500)
    assert mirrored.difference == -comparison.difference
    assert mirrored.p_value == comparison.p_value


def test_paired_bootstrap_is_calibrated():
    """Between systems that truly do not differ, p < 0.1 comes up in about a tenth of the test sets."""
    generator = np.random.default_rng(5)
    p_values = []
    for _ in range(200):
        edits = generator.binomial(10, 0.2, size=(2, 60)).tolist()
        runs = [{str(index): counts_of(count, 10) for index, count in enumerate(row)} for row in edits]
        p_values.append(paired_bootstrap(*runs, resamples=200).p_value)
    assert 0.04 < np.mean(np.array(p_values) < 0.1) < 0.18


@pytest.mark.parametrize(
    "other",
    [
        {"u": counts_of(1, 10)},
        {"u": counts_of(1, 10), "w": counts_of(1, 10)},
        {"u": counts_of(1, 10), "v": counts_of(1, 11)},
    ],
    ids=["fewer", "other id", "other reference"],
)
def test_paired_bootstrap_wants_the_same_utterances(other):
    run = {"u": counts_of(1, 10), "v": counts_of(1, 10)}
    with pytest.raises(DataError, match="differ in utterances or references"):
        paired_bootstrap(run, [run, other])


def test_paired_bootstrap_needs_something_to_compare():
    with pytest.raises(DataError, match="at least one run"):
        paired_bootstrap([], [])
    with pytest.raises(DataError, match="at least two utterances"):
        paired_bootstrap({"u": counts_of(1, 10)}, {"u": counts_of(2, 10)})
    run = {"u": counts_of(1, 10), "v": counts_of(1, 10)}
    with pytest.raises(DataError, match="at least two utterances"):
        paired_bootstrap(run, run, clusters={"u": "x", "v": "x"})
