"""Intervals and p-values with random seeds, against known distributions, classical tests and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from snn_asr.errors import DataError
from snn_asr.scoring import significance
from snn_asr.scoring.alignments import ErrorCounts
from snn_asr.scoring.significance import compare, compare_edits, mean_rate, student_quantile, student_tails


def counts_of(edits: int, reference_length: int = 10) -> ErrorCounts:
    return ErrorCounts(substitutions=edits, reference_length=reference_length, correct=reference_length - edits)


def run_of(*edits: int) -> dict[str, ErrorCounts]:
    return {f"u{index}": counts_of(each) for index, each in enumerate(edits)}


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.7062), (2, 4.30265), (4, 2.77645), (30, 2.04227), (1e4, 1.96020)]
)
def test_quantiles_are_those_of_the_tables(freedom: float, quantile: float) -> None:
    assert student_quantile(0.05, freedom) == pytest.approx(quantile, rel=1e-5)
    assert student_tails(quantile, freedom) == pytest.approx(0.05, rel=1e-4)


def test_tails_of_one_and_two_degrees_have_closed_forms() -> None:
    for statistic in (0.0, 0.3, 2.0, 50.0):
        assert student_tails(statistic, 1) == pytest.approx(1 - 2 / math.pi * math.atan(statistic))
        assert student_tails(statistic, 2) == pytest.approx(1 - statistic / math.sqrt(2 + statistic**2))


def test_where_utterances_do_not_vary_it_is_the_test_of_welch() -> None:
    """All utterances of a seed alike: nothing but the seeds is random. Numbers of Welch's t by hand."""
    a, b = [run_of(*[edits] * 8) for edits in (1, 2, 3)], [run_of(*[edits] * 8) for edits in (4, 4, 7)]
    variances = (100 / 3, 300 / 3)  # of the means of 10, 20, 30 and of 40, 40, 70
    freedom = sum(variances) ** 2 / sum(each**2 / 2 for each in variances)
    found = compare(a, b)
    assert found.value == pytest.approx(20 - 50)
    assert found.p_value == pytest.approx(student_tails(30 / math.sqrt(sum(variances)), freedom))
    reach = student_quantile(0.05, freedom) * math.sqrt(sum(variances))
    assert found.interval == pytest.approx((-30 - reach, -30 + reach))


def test_where_seeds_do_not_vary_it_is_the_paired_t_test() -> None:
    a, b = run_of(3, 1, 4, 2), run_of(1, 1, 1, 2)
    deviation = np.std([20, 0, 30, 0], ddof=1) / 2
    found = compare([a, a, a], [b, b])
    assert found.p_value == pytest.approx(student_tails(12.5 / deviation, 3))


def test_the_order_of_the_sides_changes_the_sign_alone() -> None:
    a, b = [run_of(4, 0, 1), run_of(0, 2, 2)], [run_of(1, 1, 5), run_of(2, 3, 4), run_of(2, 2, 6)]
    there, back = compare(a, b), compare(b, a)
    assert (there.value, there.p_value) == pytest.approx((-back.value, back.p_value))
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))


@pytest.mark.thorough
@pytest.mark.parametrize(("seeds", "utterances", "seed_spread"), [(2, 60, 0.3), (3, 60, 0.3), (5, 200, 0.2)])
def test_without_a_difference_p_is_below_a_twentieth_in_a_twentieth_of_the_cases(
    seeds: int, utterances: int, seed_spread: float
) -> None:
    """Simulated tests of two kinds of network that do not differ, whose seeds and utterances do.

    Each has utterances of its own that it finds hard. With the seeds taken as given, as the bootstrap over utterances
    does it, p would be below 0.05 in a third of these cases or more.
    """
    generator = np.random.default_rng(seeds)
    p_values, covered, cases = [], 0, 1000
    for _ in range(cases):
        lengths = generator.integers(1, 16, utterances)
        hard = generator.normal(0, 1.0, utterances)
        sides = []
        for _side in range(2):
            own = generator.normal(0, 0.5, utterances)
            logits = -2 + hard + own + generator.normal(0, seed_spread, (seeds, 1))
            sides.append(generator.binomial(lengths, 1 / (1 + np.exp(-logits))).astype(float))
        found = compare_edits(*sides, lengths.astype(float))
        p_values.append(found.p_value)
        covered += found.interval[0] <= 0 <= found.interval[1]
    share = float(np.mean(np.array(p_values) < 0.05))
    assert 0.03 <= share <= 0.07
    assert covered / cases == pytest.approx(1 - share), "interval and p-value say the same"


def test_the_interval_of_a_mean_covers_its_expectation() -> None:
    """Of three seeds on 60 utterances: the interval holds the rate that all seeds have on all utterances."""
    generator = np.random.default_rng(8)
    expected = 100 * float(np.mean(1 / (1 + np.exp(-(-2 + generator.normal(0, math.hypot(1, 0.3), 200_000))))))
    covered = 0
    for _ in range(300):
        logits = -2 + generator.normal(0, 1.0, 60) + generator.normal(0, 0.3, (3, 1))
        edits = generator.binomial(10, 1 / (1 + np.exp(-logits)))
        low, high = mean_rate([run_of(*row) for row in edits.tolist()]).interval
        covered += low <= expected <= high
    assert 0.91 <= covered / 300 <= 0.985


def test_an_interaction_that_exceeds_what_contains_it_takes_nothing_away() -> None:
    """By hand: both seeds make three errors in twenty words, the utterances have a mean of 20 and 10 %, and the
    interaction alone would make the variance negative. The variance of the utterances stays, 25, with one degree of
    freedom, and no rate is below 0."""
    found = mean_rate([run_of(3, 0), run_of(1, 2)])
    assert found.value == pytest.approx(15)
    assert found.interval == pytest.approx((0, 15 + 5 * student_quantile(0.05, 1)))
    difference = compare([run_of(3, 0), run_of(1, 2)], [run_of(5, 5), run_of(5, 5)])
    assert difference.p_value == pytest.approx(student_tails(35 / 5, 1))


def test_speakers_as_clusters_make_intervals_wider() -> None:
    edits = [(0, 0, 0, 1), (9, 8, 9, 9), (1, 0, 0, 0), (7, 9, 9, 9), (0, 1, 1, 0), (8, 8, 9, 9)]
    runs = [run_of(*[min(9, each + seed) for row in edits for each in row]) for seed in range(2)]
    clusters = {f"u{index}": f"s{index // 4}" for index in range(24)}
    narrow, wide = mean_rate(runs).interval, mean_rate(runs, clusters).interval
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


def test_what_cannot_be_told_is_a_sentence() -> None:
    one, other = run_of(1, 2, 3), run_of(3, 3, 4)
    assert compare([one], [other, one]) == significance.Estimate(
        pytest.approx(20 - 80 / 3), None, None, significance.ONE_SEED
    )
    single = mean_rate([one])
    assert single.interval is not None and single.why == significance.ONE_SEED
    assert mean_rate([run_of(1), run_of(2)]).why == significance.ONE_UTTERANCE
    assert compare([run_of(1)] * 2, [run_of(2)] * 2).why == significance.ONE_UTTERANCE
    silent = {"u": counts_of(0, 0), "v": counts_of(0, 0)}
    assert mean_rate([silent, silent]).why == compare([silent] * 2, [silent] * 2).why == significance.NO_WORDS
    assert compare([run_of(1, 1)] * 2, [run_of(2, 2)] * 2).why == significance.NO_SPREAD
    same = compare([one, one], [one, one])
    assert (same.value, same.interval, same.p_value) == (0.0, (0.0, 0.0), 1.0)


@pytest.mark.parametrize(
    "other",
    [run_of(1), {"u0": counts_of(1), "w": counts_of(1)}, {"u0": counts_of(1), "u1": counts_of(1, 11)}],
    ids=["fewer", "other id", "other reference"],
)
def test_the_same_utterances_are_wanted(other) -> None:
    run = run_of(1, 1)
    with pytest.raises(DataError, match="differ in utterances or references"):
        compare([run, run], [run, other])
    with pytest.raises(DataError, match="at least one run"):
        mean_rate([])
