"""Intervals and p-values of error rates and their differences, with seeds and utterances as random.

Another seed would have given another network, and another test set other utterances. Both were drawn by chance. An
interval or p-value that takes the seeds as given says something about these few networks only, and nothing about two
kinds of network. So the variance of a mean over n seeds and U utterances is that of the two-way random-effects model

    rate of seed s on utterance u = mean + seed_s + utterance_u + interaction_su
    variance of the mean          = (MS_seeds + MS_utterances - MS_interaction) / (n U)

where MS are the mean squares of the analysis of variance; the interaction is part of both others and is subtracted
once. The difference of two kinds of network depends on the seeds of both and on common utterances. The interval and the
p-value come from Student's t with Satterthwaite's degrees of freedom. Seeds are not resampled as the bootstrap
resamples utterances, because three of them cannot tell how far the tails reach. A rate, a ratio of sums, is linearised
about its mean.

F. E. Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics Bulletin 1946.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snn_asr.errors import DataError
from snn_asr.scoring.alignments import ErrorCounts
from snn_asr.scoring.bootstrap import CONFIDENCE_PERCENT, bootstrap_interval, sum_clusters

Run = Mapping[str, ErrorCounts]

ONE_SEED = "one seed says nothing about another: train two or more of each, better five"
ONE_UTTERANCE = "one utterance (or cluster of them) says nothing about another"
NO_SPREAD = "seeds and utterances differ by nothing, from which nothing can be told"
NO_WORDS = "the references are empty"
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


@dataclass(frozen=True)
class Estimate:
    """An error rate in percent, or a difference of two, with its 95 % interval.

    ``p_value`` is two-sided, against no difference. If it or ``interval`` is None, ``why`` may give the reason.
    """

    value: float
    interval: tuple[float, float] | None
    p_value: float | None = None
    why: str = ""


@dataclass(frozen=True)
class _Spread:
    """The variance of a mean, and the degrees of freedom of its estimate."""

    variance: float
    freedom: float


def mean_rate(runs: Sequence[Run], clusters: Mapping[str, str] | None = None) -> Estimate:
    """The mean error rate of runs that differ in the seed; ``clusters`` groups utterances, for example by speaker.

    With one seed the interval is that of the bootstrap over utterances, which covers only their choice.
    Raises DataError if the runs differ in utterances or references.
    """
    edits, lengths = _matrix(runs, None, clusters)
    if not lengths.any():
        return Estimate(math.nan, None, why=NO_WORDS)
    if len(lengths) < 2:
        return Estimate(_rate(edits, lengths), None, why=ONE_UTTERANCE)
    if len(edits) == 1:
        return Estimate(_rate(edits, lengths), bootstrap_interval(runs[0], clusters=clusters), why=ONE_SEED)
    low, high = _interval(_rate(edits, lengths), _spread([_linear(edits, lengths)]))
    return Estimate(_rate(edits, lengths), (max(0.0, low), high))


def compare(runs_a: Sequence[Run], runs_b: Sequence[Run], clusters: Mapping[str, str] | None = None) -> Estimate:
    """The mean rate of A minus that of B on the same utterances, each over its seeds.

    Raises DataError if the runs differ in utterances or references.
    """
    edits_a, lengths = _matrix(runs_a, None, clusters)
    edits_b, _ = _matrix(runs_b, runs_a[0], clusters)
    return compare_edits(edits_a, edits_b, lengths)


def compare_edits(edits_a: np.ndarray, edits_b: np.ndarray, lengths: np.ndarray) -> Estimate:
    """``compare`` for numbers of edits (seeds, utterances) and reference lengths (utterances,)."""
    if not lengths.any():
        return Estimate(math.nan, None, why=NO_WORDS)
    difference = _rate(edits_a, lengths) - _rate(edits_b, lengths)
    if len(lengths) < 2:
        return Estimate(difference, None, why=ONE_UTTERANCE)
    if min(len(edits_a), len(edits_b)) < 2:
        return Estimate(difference, None, why=ONE_SEED)
    spread = _spread([_linear(edits_a, lengths), -_linear(edits_b, lengths)])
    if spread.variance == 0:
        return Estimate(difference, None, why=NO_SPREAD) if difference else Estimate(0.0, (0.0, 0.0), 1.0)
    p_value = student_tails(abs(difference) / math.sqrt(spread.variance), spread.freedom)
    return Estimate(difference, _interval(difference, spread), p_value)


def student_tails(statistic: float, freedom: float) -> float:
    """P(|t| >= statistic) for Student's t.

    With t = sqrt(freedom) tan(angle) its density becomes cos(angle)^(freedom - 1), which is integrated numerically.
    """
    edge = math.atan(statistic / math.sqrt(freedom))
    return _cosine_power(edge, freedom - 1) / _cosine_power(0.0, freedom - 1)


def student_quantile(tails: float, freedom: float) -> float:
    """The statistic beyond which both tails together hold ``tails``: the inverse of ``student_tails``.

    The tails fall with the angle, ever more slowly, so that Newton's steps from 0 never overshoot.
    """
    whole, angle, step = _cosine_power(0.0, freedom - 1), 0.0, 1.0
    while step > 1e-12:
        step = (_cosine_power(angle, freedom - 1) - tails * whole) / math.cos(angle) ** (freedom - 1)
        angle += step
    return math.sqrt(freedom) * math.tan(angle)


def _cosine_power(start: float, exponent: float) -> float:
    """The integral of cos(angle)^exponent from ``start`` to a right angle, in pieces that are short at the peak."""
    width = 1 / math.sqrt(exponent + 1)  # of the peak about 0
    edges = [start, *(start + width * step for step in (1, 2, 4, 8, 16, 32) if start + width * step < math.pi / 2)]
    total = 0.0
    for low, high in zip(edges, [*edges[1:], math.pi / 2], strict=True):
        angles = (low + high) / 2 + (high - low) / 2 * _NODES
        total += (high - low) / 2 * float(np.sum(_WEIGHTS * np.cos(angles) ** exponent))
    return total


def _interval(value: float, spread: _Spread) -> tuple[float, float]:
    if spread.variance == 0:
        return value, value
    reach = student_quantile(1 - CONFIDENCE_PERCENT / 100, spread.freedom) * math.sqrt(spread.variance)
    return value - reach, value + reach


def _spread(sides: Sequence[np.ndarray]) -> _Spread:
    """The spread of the sum of the means of ``sides`` (seeds, utterances), which have utterances in common but no
    seeds."""
    utterances = sides[0].shape[1]
    together = sum(side.mean(axis=0) for side in sides)
    parts = [(float(np.var(together, ddof=1)) / utterances, utterances - 1)]
    for side in sides:
        seeds = len(side)
        means = side.mean(axis=1)
        rest = side - means[:, None] - side.mean(axis=0) + side.mean()
        interaction = float(np.sum(rest**2)) / ((seeds - 1) * (utterances - 1) * seeds * utterances)
        parts += [(float(np.var(means, ddof=1)) / seeds, seeds - 1), (-interaction, (seeds - 1) * (utterances - 1))]
    # By chance the interaction may exceed the terms that contain it, so the variance is at least each of these.
    variance = max(sum(part for part, _ in parts), parts[0][0], sum(part for part, _ in parts[1::2]))
    if variance == 0:
        return _Spread(0.0, 1.0)
    return _Spread(variance, max(1.0, variance**2 / sum(part**2 / freedom for part, freedom in parts)))


def _linear(edits: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Values (seeds, utterances) whose means over utterances are the rates of the seeds minus their mean, in
    percent."""
    common = edits.sum(axis=1).mean() / lengths.sum()
    return 100.0 * (edits - common * lengths) * len(lengths) / lengths.sum()


def _rate(edits: np.ndarray, lengths: np.ndarray) -> float:
    return float(100.0 * edits.sum(axis=1).mean() / lengths.sum())


def _matrix(
    runs: Sequence[Run], expected: Run | None, clusters: Mapping[str, str] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Edits (seeds, utterances or clusters) and reference lengths. All runs need the utterances of ``expected``."""
    if not runs:
        raise DataError("an error rate needs at least one run")
    due = {name: counts.reference_length for name, counts in (expected or runs[0]).items()}
    for run in runs:
        if {name: counts.reference_length for name, counts in run.items()} != due:
            raise DataError("the runs to compare differ in utterances or references", todo="score the same test set")
    rows = [[float(run[name].edits) for name in due] for run in runs]
    values = sum_clusters(np.array([*rows, [float(each) for each in due.values()]]).T, list(due), clusters).T
    return values[:-1], values[-1]
