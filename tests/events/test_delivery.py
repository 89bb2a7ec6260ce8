"""Sums of rows of int8 weights: exact whole numbers, whichever instructions the processor has for them."""

from __future__ import annotations

import numpy as np
import pytest

from snn_asr.events.kernels import delivery
from snn_asr.events.kernels.delivery import ROOM
from snn_asr.events.kernels.four_products import FOUR_PRODUCTS

UNITS, UNIT = 30, np.float32(0.25)
WAYS = [
    delivery._add_levels_in_shorts,
    pytest.param(
        delivery._add_levels_in_fours,
        marks=pytest.mark.skipif(not FOUR_PRODUCTS, reason="this processor has no sum of four products of bytes"),
    ),
]


@pytest.mark.parametrize("count", [0, 1, 4, 7, UNITS])
@pytest.mark.parametrize("length", [64, 192, 256, 576])
@pytest.mark.parametrize("lowest", [-127, 0])
@pytest.mark.parametrize("add", WAYS)
def test_sums_are_exact_up_to_the_largest_levels_and_weights(add, lowest, length, count):
    random = np.random.default_rng(length + count)
    weights, levels = random.integers(-127, 128, (UNITS, length)), random.integers(lowest, 128, count)
    weights[:, ::5], levels[: count // 2] = 127, lowest or 127
    index, sent = np.zeros(count + ROOM, np.int32), np.zeros(count + ROOM, np.int8)
    index[:count], sent[:count] = np.sort(random.permutation(UNITS)[:count]), levels
    scales = random.random(length).astype(np.float32)
    line = np.zeros(delivery.SHIFTS + 1, np.int64)
    line[[delivery.UNITS, delivery.ROW, delivery.FIRST]] = UNITS, length, length  # behind a row of another source
    stored = np.concatenate([np.ones(length), weights.ravel()]).astype(np.int8)
    whole, total = np.full(length, 7, np.int32), np.full(length, 7, np.float32)
    add(line, stored, index, sent, count, np.float32(127), UNIT, scales, whole, total)
    expected = levels @ weights[index[:count]]
    assert np.array_equal(total, expected.astype(np.float32) * (UNIT * scales))
