"""The bootstrap interval of a run's error rate, over utterances or whole speakers.

M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004.
Utterances of one speaker are not independent. If speakers have several, as in TIMIT, resampling speakers gives the
honest, wider interval. The bootstrap cannot tell what another seed would have given; significance.py does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from snn_asr.errors import DataError
from snn_asr.scoring.alignments import ErrorCounts

CONFIDENCE_PERCENT = 95
SAMPLES_AT_ONCE = 1 << 20  # drawn indices held in memory


def bootstrap_interval(
    counts: Mapping[str, ErrorCounts],
    seed: int = 0,
    resamples: int = 1000,
    *,
    clusters: Mapping[str, str] | None = None,
) -> tuple[float, float] | None:
    """The 95 % interval, in percent, of the error rate of one run.

    Utterances (or ``clusters`` of them) are resampled with random numbers from ``seed``. None with fewer than two of
    them or without any reference tokens. Raises DataError for an utterance without a cluster.
    """
    rows = [[float(each.edits), float(each.reference_length)] for each in counts.values()]
    values = sum_clusters(np.array(rows).reshape(-1, 2), list(counts), clusters)
    if len(values) < 2 or not values[:, 1].any():
        return None
    return _interval(_resampled_rates(values, seed, resamples))


def sum_clusters(values: np.ndarray, identifiers: Sequence[str], clusters: Mapping[str, str] | None) -> np.ndarray:
    """The sums (clusters, N) of values (utterances, N) over each cluster; the values themselves without clusters."""
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
    """Rates in percent of rows (numerator, denominator) drawn with replacement, without undefined rates."""
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
