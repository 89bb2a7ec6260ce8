"""Bootstrap: intervals of error rates and paired comparisons, over utterances or over whole speakers.

M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004.
Utterances of one speaker are not independent: where there are several a speaker, as in TIMIT, resampling speakers
gives the honest, wider interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snn_asr.errors import DataError
from snn_asr.scoring.alignments import ErrorCounts

CONFIDENCE_PERCENT = 95
SAMPLES_AT_ONCE = 1 << 20  # drawn indices held in memory


@dataclass(frozen=True)
class PairedComparison:
    """Error rate of A minus that of B, its 95 % interval (both in percentage points), and the two-sided p-value."""

    difference: float
    interval: tuple[float, float]
    p_value: float


def bootstrap_interval(
    counts: Mapping[str, ErrorCounts] | Sequence[Mapping[str, ErrorCounts]],
    seed: int = 0,
    resamples: int = 1000,
    *,
    clusters: Mapping[str, str] | None = None,
) -> tuple[float, float] | None:
    """95 % interval in percent of the error rate of one run, or of the mean rate of several (one a seed).

    Utterances (or ``clusters`` of them) are resampled, the seeds taken as given. None with fewer than two
    utterances or without any reference tokens. Raises DataError where the runs differ in utterances or references.
    """
    edits, lengths = _mean_edits(counts, None)
    values = _sum_clusters(np.array([list(edits.values()), list(lengths.values())]).T, list(lengths), clusters)
    if len(values) < 2 or not values[:, 1].any():
        return None
    return _interval(_resampled_rates(values, seed, resamples))


def paired_bootstrap(
    counts_a: Mapping[str, ErrorCounts] | Sequence[Mapping[str, ErrorCounts]],
    counts_b: Mapping[str, ErrorCounts] | Sequence[Mapping[str, ErrorCounts]],
    seed: int = 0,
    resamples: int = 10_000,
    *,
    clusters: Mapping[str, str] | None = None,
) -> PairedComparison:
    """Compare two systems on the same utterances (Bisani & Ney, ICASSP 2004: the same resample for both).

    Each side is the counts of one run or a list of them, one a seed; a side's rate is the mean over its seeds.
    Utterances (or ``clusters`` of them) are drawn jointly, so the result covers the choice of test utterances; the
    seeds are taken as given. The p-value is that of the null-centred bootstrap, P(|d* - d| >= |d|), estimated as
    (k + 1) / (resamples + 1) and therefore never 0.
    Raises DataError where the runs differ in utterances or references, or there is nothing to compare.
    """
    edits_a, lengths = _mean_edits(counts_a, None)
    edits_b, _ = _mean_edits(counts_b, lengths)
    delta = [edits_a[identifier] - edits_b[identifier] for identifier in lengths]
    values = _sum_clusters(np.array([delta, list(lengths.values())]).T, list(lengths), clusters)
    if len(values) < 2 or not values[:, 1].any():
        raise DataError("a paired comparison needs at least two utterances (or clusters) and some reference tokens")
    difference = float(100.0 * values[:, 0].sum() / values[:, 1].sum())
    resampled = _resampled_rates(values, seed, resamples)
    # The margin keeps rounding from deciding a tie, such as between resamples of few utterances.
    extreme = int(np.sum(np.abs(resampled - difference) >= abs(difference) - 1e-9))
    return PairedComparison(difference, _interval(resampled), (extreme + 1) / (len(resampled) + 1))


def _mean_edits(
    runs: Mapping[str, ErrorCounts] | Sequence[Mapping[str, ErrorCounts]], expected: Mapping[str, int] | None
) -> tuple[dict[str, float], dict[str, int]]:
    """Each utterance's edits, averaged over the runs, and its reference length; ``expected`` are the lengths due."""
    runs = [runs] if isinstance(runs, Mapping) else list(runs)
    if not runs:
        raise DataError("an error rate needs at least one run")
    if expected is None:
        expected = {identifier: counts.reference_length for identifier, counts in runs[0].items()}
    for run in runs:
        if {identifier: counts.reference_length for identifier, counts in run.items()} != expected:
            raise DataError("the runs to compare differ in utterances or references", todo="score the same test set")
    edits = {identifier: sum(run[identifier].edits for run in runs) / len(runs) for identifier in expected}
    return edits, dict(expected)


def _sum_clusters(values: np.ndarray, identifiers: list[str], clusters: Mapping[str, str] | None) -> np.ndarray:
    """(utterances, 2) values summed over each cluster: (clusters, 2); unchanged where there are none."""
    if clusters is None:
        return values
    for identifier in identifiers:
        if identifier not in clusters:
            raise DataError(f"utterance '{identifier}' has no speaker", todo="resample utterances instead")
    labels, index = np.unique([clusters[identifier] for identifier in identifiers], return_inverse=True)
    sums = np.zeros((len(labels), values.shape[1]))
    np.add.at(sums, index, values)
    return sums


def _resampled_rates(values: np.ndarray, seed: int, resamples: int) -> np.ndarray:
    """Rates in percent of rows (numerator, denominator) drawn with replacement; undefined rates are left out."""
    generator = np.random.default_rng(seed)
    rows_at_once = max(1, SAMPLES_AT_ONCE // len(values))
    sums = []
    for start in range(0, resamples, rows_at_once):
        shape = (min(rows_at_once, resamples - start), len(values))
        sums.append(values[generator.integers(len(values), size=shape)].sum(axis=1))
    numerators, denominators = np.concatenate(sums).T
    defined = denominators > 0
    return 100.0 * numerators[defined] / denominators[defined]


def _interval(rates: np.ndarray) -> tuple[float, float]:
    tail = (100 - CONFIDENCE_PERCENT) / 2
    low, high = np.percentile(rates, (tail, 100 - tail))
    return float(low), float(high)
