"""Intervals against what is known of the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from snn_asr.errors import DataError
from snn_asr.scoring.error_rates import score


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
